"""A chat template, compiled once, and how one conversation is put to it."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import TemplateSyntaxError, meta, nodes
from jinja2.environment import Template

from localsynth.chat.limits import MAX_SOURCE, spending
from localsynth.chat.sandbox import Sandbox, one_line, run
from localsynth.errors import TemplateRefused

Turns = Sequence[tuple[str, str]]
_SANDBOX = functools.cache(Sandbox)
_SEARCHING = frozenset({"split", "rsplit", "replace", "find", "rfind", "index", "partition", "rpartition", "count"})


@dataclass(frozen=True)
class Compiled:
    """A template and what can be read from its source.

    `variables`: names it takes from its caller. `constants`: every string in it. `triggers`: those of them that it
    may be looking for in a message, so that a message which has none is copied as it stands. `choices`: for each
    variable the strings it is compared with or set to.
    """

    source: str
    template: Template
    variables: frozenset[str]
    constants: frozenset[str]
    triggers: tuple[str, ...]
    choices: Mapping[str, frozenset[str]]
    dated: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.source.encode("utf-8", "surrogatepass")).hexdigest()

    def copies(self, text: str) -> bool:
        """Whether the template surely writes `text` as it is: nothing to trim, nothing in it to look for."""
        if not text or text[0].isspace() or text[-1].isspace() or text in self.constants:
            return False
        return not any(trigger in text for trigger in self.triggers)


@functools.lru_cache(maxsize=128)
def compile_template(source: str) -> Compiled:
    """Compile; TemplateRefused for what is no template, or too long to be one."""
    if len(source) > MAX_SOURCE:
        raise TemplateRefused(f"the template has {len(source):,} characters; {MAX_SOURCE:,} are the most that is read")
    if not source.strip():
        raise TemplateRefused("the chat template is empty", "a base model has none: choose an instruct model")
    sandbox = _SANDBOX()
    try:
        tree = sandbox.parse(source)
        _check_size(tree)
        variables = meta.find_undeclared_variables(tree)
        template = sandbox.from_string(tree)
    except TemplateSyntaxError as error:
        reason = f"the template is not valid Jinja: {one_line(error.message)} (line {error.lineno})"
        raise TemplateRefused(reason) from None
    except (RecursionError, MemoryError, SyntaxError, ValueError):
        raise TemplateRefused("the template is nested too deeply to compile") from None
    constants = frozenset(str(node.value) for node in tree.find_all(nodes.Const) if isinstance(node.value, str))
    return Compiled(
        source=source,
        template=template,
        variables=frozenset(variables),
        constants=constants,
        triggers=_triggers(tree, constants),
        choices=_choices(tree),
        dated=any(node.name == "strftime_now" for node in tree.find_all(nodes.Name)),
    )


def _check_size(tree: nodes.Template) -> None:
    # Real templates have up to 1,300 nodes, 28 deep. The compiler's time grows with a power of the depth, and Python
    # takes 20 loops within each other at most.
    todo: list[tuple[nodes.Node, int, int]] = [(tree, 0, 0)]
    count = 0
    while todo:
        node, depth, loops = todo.pop()
        count += 1
        loops += isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock)
        if depth > 80 or loops > 20:
            raise TemplateRefused("the template is nested too deeply to compile")
        if count > 10_000:
            raise TemplateRefused("the template has too many parts to compile")
        todo.extend((child, depth + 1, loops) for child in node.iter_child_nodes())


def _triggers(tree: nodes.Template, constants: frozenset[str]) -> tuple[str, ...]:
    # Any string with punctuation may reach a search through a variable; plain words and blanks only where one is seen.
    found = {text for text in constants if len(text) > 1 and not text.isspace() and not text.isidentifier()}
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Getattr) and call.node.attr in _SEARCHING:
            found |= {arg.value for arg in call.args if isinstance(arg, nodes.Const) and isinstance(arg.value, str)}
    for compare in tree.find_all(nodes.Compare):
        if compare.ops[0].op in {"in", "notin"} and isinstance(compare.expr, nodes.Const):
            found |= {compare.expr.value} if isinstance(compare.expr.value, str) else set()
    for name in tree.find_all(nodes.Filter):
        if name.name == "replace":
            found |= {arg.value for arg in name.args if isinstance(arg, nodes.Const) and isinstance(arg.value, str)}
    found.discard("")
    return tuple(sorted(found, key=lambda text: (len(text), text)))


def _choices(tree: nodes.Template) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for compare in tree.find_all(nodes.Compare):
        if isinstance(compare.expr, nodes.Name):
            values = {c.value for c in compare.ops[0].expr.find_all(nodes.Const) if isinstance(c.value, str)}
            own = compare.ops[0].expr
            values |= {own.value} if isinstance(own, nodes.Const) and isinstance(own.value, str) else set()
            found.setdefault(compare.expr.name, set()).update(values)
    return {name: frozenset(values) for name, values in found.items()}


@dataclass(frozen=True)
class Script:
    """One way of putting conversations to a template: its variables, the system message, the shape of contents.

    `parts`: contents are lists of {"type": "text"} parts. `system` None: no system message is sent.
    """

    compiled: Compiled
    variables: Mapping[str, Any]
    date: dt.date
    system: str | None = None
    parts: bool = False
    switches: Mapping[str, Any] = field(default_factory=dict)

    def render(self, turns: Turns, *, prompt: bool = True) -> str:
        """The conversation as text; `prompt`: up to where the assistant's next answer begins."""
        texts = [*turns] if self.system is None else [("system", self.system), *turns]
        messages = [{"role": role, "content": self._content(text)} for role, text in texts]
        variables: dict[str, object] = {
            "strftime_now": self._strftime,
            **self.variables,
            **self.switches,
            "messages": messages,
            "add_generation_prompt": prompt,
        }
        with spending(sum(len(text) for _, text in texts)):
            return run(self.compiled.template, variables)

    def _content(self, text: str) -> str | list[dict[str, str]]:
        return [{"type": "text", "text": text}] if self.parts else text

    def _strftime(self, form: str) -> str:
        if len(form) > 100:
            raise TemplateRefused("the template formats a date with a pattern of over 100 characters")
        return dt.datetime.combine(self.date, dt.time()).strftime(form)
