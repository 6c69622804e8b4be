"""What can be taken back: one entry for each thing that was said, the latest first."""

from __future__ import annotations

from dataclasses import dataclass

from localsynth.records import Review


@dataclass(frozen=True, slots=True)
class Given:
    """Something said about one row: `before` puts it back. `what`: the verdict, the edit, the tags, the note."""

    run: str
    index: int
    what: str
    before: Review


@dataclass(frozen=True, slots=True)
class GivenMany:
    """A bulk action, by its batch."""

    batch: str


class Undoing:
    """The stack. It lives as long as the screen; the store keeps every review."""

    def __init__(self) -> None:
        self._given: list[Given | GivenMany] = []

    def push(self, given: Given | GivenMany) -> None:
        """Something was said."""
        self._given.append(given)

    def pop(self) -> Given | GivenMany | None:
        """The latest that was not taken back; None when there is none."""
        return self._given.pop() if self._given else None

    def forget(self, sample: int) -> None:
        """What was said about a row did not get into the store: nothing of it can be taken back."""
        self._given = [each for each in self._given if isinstance(each, GivenMany) or each.before.sample != sample]
