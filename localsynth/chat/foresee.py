"""What an operation would make, estimated from above before it runs: those of Python cannot be stopped half-way."""

from __future__ import annotations

import re
from typing import Any

from localsynth.chat.limits import foresee, pay, too_large, weigh
from localsynth.errors import TemplateRefused

_MAX_NUMBER = 10_000  # the largest integer that may be a width, a count, a precision or the bits of a power
_WIDTHS = re.compile(r"\d+")
_NESTED = re.compile(r"\{[^{}]*\{")
_SIZED_FILTERS = frozenset({"batch", "center", "indent", "round", "slice", "tojson", "truncate"})
_SIZED_METHODS = frozenset({"center", "ljust", "rjust", "zfill"})


def foresee_power(base: Any, exponent: Any) -> None:
    """Bound `base ** exponent`."""
    if not all(isinstance(side, int | float) for side in (base, exponent)):
        raise TypeError("only numbers have powers")
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > _MAX_NUMBER:
        raise too_large()


def foresee_product(left: Any, right: Any) -> None:
    """Bound a text or list times a number."""
    for side, times in ((left, right), (right, left)):
        if isinstance(side, str | bytes | list | tuple) and isinstance(times, int):
            foresee((weigh(side) + 1) * max(times, 0))


def foresee_method(name: str, text: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Bound the call of a method of `text`."""
    values = (*args, *kwargs.values())
    pay(len(text) + weigh(values))
    if name in _SIZED_METHODS and any(isinstance(value, int) and value > _MAX_NUMBER for value in values):
        raise too_large()
    if name in {"format", "format_map"}:
        foresee_format(text, values)
    elif name == "replace" and len(args) > 1:
        foresee(len(text) + (text.count(args[0]) if args[0] else len(text) + 1) * len(args[1]))
    elif name == "join" and args and isinstance(args[0], str | list | tuple | dict):
        foresee(weigh(args[0]) + len(args[0]) * len(text))


def foresee_format(template: str, values: tuple[object, ...]) -> None:
    """Bound the result of `%` and of `str.format`: each width and precision, and each value at each place."""
    if _NESTED.search(template.replace("{{", "")):
        # The width would come from a value, as deep inside it as the template likes.
        raise TemplateRefused("the template formats with a width taken from a value")
    widths = [int(digits[:12]) for digits in _WIDTHS.findall(template)]
    places = template.count("%") + template.count("{")
    largest = max((abs(value) for value in values if isinstance(value, int)), default=0) if "*" in template else 0
    foresee(len(template) + sum(widths) + places * (weigh(values) + largest))


def foresee_filter(name: str, values: list[Any]) -> None:
    """Bound a filter; `values` are what it filters, then its arguments."""
    subject, options = values[0], values[1:]
    numbers = [abs(value) for value in options if isinstance(value, int)]
    if name in _SIZED_FILTERS and max(numbers, default=0) > _MAX_NUMBER:
        raise too_large()
    size, texts = weigh(subject), [len(value) for value in options if isinstance(value, str)]
    if name in {"indent", "tojson"}:
        lines = str(subject).count("\n") + 1 if name == "indent" else size
        foresee(size + lines * max([*numbers, *texts], default=0))
    elif name == "replace":
        old = str(options[0]) if options else ""
        foresee(size + (str(subject).count(old) if old else size + 1) * max(texts, default=0))
    elif name == "join":
        foresee(size + len(subject) * max(texts, default=0))
    elif name == "format":
        foresee_format(str(subject), tuple(options))
    elif name == "sum" and any(not isinstance(start, int | float | str) for start in options):
        raise TypeError("only numbers are summed")
