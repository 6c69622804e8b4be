"""The bound on one rendering: every step and every character a template makes is paid for from one purse."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import GeneratorType
from typing import Any, cast

from localsynth.errors import TemplateRefused

MAX_SOURCE = 60_000  # characters; the largest template known to us has 17,000
MAX_VALUE = 200_000  # characters and items in one value, beyond what the conversation itself brings
_WORK = 4_000_000  # units of one purse; real templates spend a few thousand on a rendering
_STEP = 16  # units of one loop pass, call or operation
_ITEM = 8  # units of one item of a list
_SECONDS = 0.5  # processor time of this thread, so that a busy or sleeping machine refuses nothing
_MAX_BITS = 4096  # of an integer: division takes quadratic time
_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))


class Purse:
    """What may still be spent on the renderings made inside `spending`; `extra` is the length of the real texts."""

    __slots__ = ("deadline", "left", "max_value", "ticks")

    def __init__(self, extra: int = 0) -> None:
        self.left = _WORK + 200 * extra
        self.max_value = MAX_VALUE + 8 * extra
        self.deadline = time.thread_time() + _SECONDS + extra / 1_000_000
        self.ticks = 0

    def pay(self, units: int) -> None:
        """Take one step that costs `units` more."""
        self.left -= units + _STEP
        self.ticks += 1
        if self.left < 0:
            raise TemplateRefused("the template does too much work to render a conversation")
        if self.ticks % 32 == 0 and time.thread_time() > self.deadline:
            raise TemplateRefused("the template takes too long to render a conversation")


_purse: ContextVar[Purse | None] = ContextVar("purse", default=None)


@contextmanager
def spending(extra: int = 0) -> Iterator[None]:
    """Give everything rendered inside one common purse, unless an outer one is open."""
    if _purse.get() is not None:
        yield
        return
    token = _purse.set(Purse(extra))
    try:
        yield
    finally:
        _purse.reset(token)


def _open_purse() -> Purse:
    purse = _purse.get()
    if purse is None:
        raise RuntimeError("nothing is rendered outside `spending`")
    return purse


def pay(units: int = 0) -> bool:
    """Pay for one step; True, so that it can stand in a condition."""
    _open_purse().pay(units)
    return True


def weigh(value: object) -> int:
    """The size of a value with everything in it counted as often as it would be printed."""
    if value is None or value is True or value is False:
        return 0
    limit, total, todo = _open_purse().max_value, 0, [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str | bytes):
            total += len(item)
        elif isinstance(item, int):
            total += 1
            if item.bit_length() > _MAX_BITS:
                raise too_large()
        elif isinstance(item, dict):
            todo.extend(item.keys())
            todo.extend(item.values())
            total += _ITEM * len(item)
        elif isinstance(item, list | tuple) or type(item) in _VIEWS:
            held = cast("Collection[object]", item)
            todo.extend(held)
            total += _ITEM * len(held)
        if total + len(todo) > limit:
            raise too_large()
    return total


def built(value: Any) -> Any:
    """Pay for a value that the template has made; lazy ones are paid for item by item."""
    if isinstance(value, GeneratorType):
        return _metered(value)
    pay(weigh(value))
    return value


def _metered(items: Iterable[object]) -> Iterator[object]:
    for item in items:
        pay(weigh(item))
        yield item


def foresee(size: int) -> None:
    """Refuse, before it is made, a value of `size` characters or items that is too large."""
    if size > _open_purse().max_value:
        raise too_large()


def too_large() -> TemplateRefused:
    return TemplateRefused("the template builds a value that is too large")
