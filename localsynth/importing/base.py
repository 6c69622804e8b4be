"""What every reader of foreign data gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from localsynth.records import Role


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `raw` is the text as it stood in the file, where `content` differs from it."""

    role: Role
    content: str
    thinking: str | None = None
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """One row of a file: `line` counts lines of text, or rows of Parquet, from 1.

    `messages` end with `chosen` where the row is a preference. `label` False marks an answer as a bad one. `extra`
    holds what else the row said, untouched.
    """

    messages: tuple[Message, ...]
    source: str
    line: int
    extra: Mapping[str, object] = field(default_factory=dict)
    chosen: str | None = None
    rejected: str | None = None
    label: bool | None = None

    @property
    def answered(self) -> bool:
        """Whether the last turn is an answer."""
        return self.messages[-1].role == "assistant"


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was left out, and why."""

    source: str
    line: int
    reason: str


class UnknownShape(Exception):
    """A record of no known shape; `keys` are what it has."""

    def __init__(self, keys: list[str]) -> None:
        super().__init__(f"unknown shape: {', '.join(keys) or 'no keys'}")
        self.keys = keys


class Unfit(Exception):
    """A record of a known shape that makes no row; the message says why."""


def shown(text: str, limit: int = 60) -> str:
    """Foreign text for a message: one line, printable, short."""
    line = "".join(character if character.isprintable() else " " for character in text[: 2 * limit])
    line = " ".join(line.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
