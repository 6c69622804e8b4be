"""Jinja as `transformers` sets it up, for templates nobody has read: immutable, and bounded in time and memory."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from types import BuiltinMethodType
from typing import Any, cast

from jinja2 import TemplateError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.environment import Template
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from localsynth.chat.foresee import foresee_filter, foresee_format, foresee_method, foresee_power, foresee_product
from localsynth.chat.limits import built, foresee, pay, too_large, weigh
from localsynth.errors import TemplateRefused

# What these types offer to templates; each entry takes time and memory in proportion to its arguments at most.
_TEXT = frozenset(
    """
    capitalize casefold center count endswith find format index isalnum isalpha isascii isdecimal isdigit isidentifier
    islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip partition removeprefix removesuffix
    replace rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase title upper zfill
    """.split()  # noqa: SIM905 - a table of names reads better than sixty quotes
)
_OFFERED: tuple[tuple[type | tuple[type, ...], frozenset[str]], ...] = (
    (str, _TEXT),
    (dict, frozenset({"copy", "get", "items", "keys", "values"})),
    ((list, tuple), frozenset({"copy", "count", "index", "grouper", "list"})),
    ((bytes, int, float, complex, range, type(None)), frozenset()),
)
_MAX_RANGE = 10_000
# Left out: filters that work by regular expression on any text, that print foreign objects, or that draw lots.
_FILTERS = frozenset(
    """
    abs attr batch capitalize center count d default dictsort e escape first float forceescape format groupby indent
    int items join last length list lower map max min reject rejectattr replace reverse round safe select selectattr
    slice sort string sum title trim truncate unique upper wordcount
    """.split()  # noqa: SIM905 - a table of names reads better than sixty quotes
)


class _Generator(CodeGenerator):
    """Writes the payments into the compiled template, where no hook of the environment would see the work."""

    def blockvisit(self, nodes: Iterable[nodes.Node], frame: Frame) -> None:
        body = list(nodes)
        self.writeline(f"environment.pay({sum(map(_literal_length, body))})")
        super().blockvisit(body, frame)

    def visit_For(self, node: nodes.For, frame: Frame) -> None:  # noqa: N802
        if node.test is not None:
            passes = nodes.Call(nodes.EnvironmentAttribute("pay"), [], [], None, None, lineno=node.lineno)
            node.test = nodes.And(passes, node.test, lineno=node.lineno)
        super().visit_For(node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:  # noqa: N802
        if node.ctx == "load":
            self._paid(super().visit_Tuple, node, frame)
        else:
            super().visit_Tuple(node, frame)

    def visit_List(self, node: nodes.List, frame: Frame) -> None:  # noqa: N802
        self._paid(super().visit_List, node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802
        self._paid(super().visit_Dict, node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        self._paid(super().visit_Concat, node, frame)

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:  # noqa: N802
        self._paid(super().visit_Compare, node, frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802
        if isinstance(node.arg, nodes.Slice):
            self._paid(super().visit_Getitem, node, frame)
        else:
            super().visit_Getitem(node, frame)

    def _paid(self, visit: Callable[[Any, Frame], None], node: nodes.Expr, frame: Frame) -> None:
        self.write("environment.built(")
        visit(node, frame)
        self.write(")")

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:
        # An expression of constants would be computed while compiling, outside every bound.
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)


def _literal_length(node: nodes.Node) -> int:
    if not isinstance(node, nodes.Output):
        return 0
    return sum(len(child.data) for child in node.nodes if isinstance(child, nodes.TemplateData))


class _Generation(Extension):
    """`{% generation %}` marks the assistant's tokens for training; what is inside renders as if it were not there."""

    tags = {"generation"}  # noqa: RUF012 - declared so by Jinja

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Namespace(Namespace):
    """Prints as nothing but its kind: namespaces may hold each other in circles."""

    def __repr__(self) -> str:
        return "<Namespace>"


class Sandbox(ImmutableSandboxedEnvironment):
    """One per process; `transformers`' settings, with every operation paid for."""

    code_generator_class = _Generator
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    pay = staticmethod(pay)
    built = staticmethod(built)

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            finalize=built,
            extensions=[_Generation, "jinja2.ext.loopcontrols"],
        )
        self.filters = {name: _bounded(name, self.filters[name]) for name in _FILTERS}
        self.filters["tojson"] = _bounded("tojson", _tojson)
        self.tests = {name: _bounded("", cast("Callable[..., Any]", test)) for name, test in self.tests.items()}
        del self.globals["lipsum"]
        self.globals["namespace"] = _Namespace
        self.globals["range"] = _range
        self.globals["raise_exception"] = _raise_exception

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        for kind, names in _OFFERED:
            if isinstance(obj, kind):
                return attr in names
        return super().is_safe_attribute(obj, attr, value)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        method = getattr(obj, "__wrapped__", obj)
        if isinstance(method, BuiltinMethodType) and isinstance(method.__self__, str):
            foresee_method(method.__name__, method.__self__, args, kwargs)
        else:
            pay()
        return built(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "+":
            foresee(weigh(left) + weigh(right))
        elif operator == "*":
            foresee_product(left, right)
        elif operator == "**":
            foresee_power(left, right)
        elif operator == "%" and isinstance(left, str):
            foresee_format(left, right if isinstance(right, tuple) else (right,))
        return built(super().call_binop(context, operator, left, right))


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter or test `function`, with its arguments looked at before and its result paid for after."""
    skip = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        values = [*args[skip:], *kwargs.values()]
        pay(sum(map(weigh, values)))
        if name == "join" and not isinstance(values[0], str | dict):
            args = (*args[:skip], list(values[0]), *args[skip + 1 :])
            values[0] = args[skip]
        if name:
            foresee_filter(name, values)
        return built(function(*args, **kwargs))

    return guarded


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own escapes <, >, & and ' for HTML, which models were not trained on.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > _MAX_RANGE:
        raise too_large()
    return numbers


def _raise_exception(message: object) -> None:
    raise TemplateRefused(f"the template refuses this conversation: {one_line(message)}")


def one_line(message: object) -> str:
    """A message from a template as at most 200 printable characters on one line."""
    words = " ".join(str(message).split())
    return "".join(letter for letter in words if letter.isprintable())[:200]


def run(template: Template, variables: dict[str, object]) -> str:
    """Render, inside `limits.spending`; whatever goes wrong in the template comes out as TemplateRefused."""
    try:
        return "".join(template.root_render_func(template.new_context(variables)))
    except TemplateRefused:
        raise
    except RecursionError:
        raise TemplateRefused("the template calls itself without end") from None
    except TemplateError as error:
        raise TemplateRefused(f"the template cannot be rendered: {one_line(error.message or error)}") from None
    except Exception as error:
        raise TemplateRefused(f"the template fails: {type(error).__name__}: {one_line(error)}") from None
