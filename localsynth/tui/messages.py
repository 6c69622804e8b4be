"""What worker threads tell the screens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual.message import Message

from localsynth.errors import LocalsynthError
from localsynth.records import Review


@dataclass
class Answered(Message, bubble=False):
    """A job of one group is done: `apply` shows its result. `serial` tells an answer that is out of date.

    `wrote`: it changed something, so it is never out of date.
    """

    group: str
    serial: int
    apply: Callable[[], None]
    wrote: bool = False


@dataclass
class Refused(Message, bubble=False):
    """A job of one group could not be done. `wrote`: it was to change something."""

    group: str
    serial: int
    error: LocalsynthError
    wrote: bool = False


@dataclass
class VerdictSaved(Message, bubble=False):
    """A verdict is in the store, or is not: then `error` says why."""

    review: Review
    error: LocalsynthError | None
