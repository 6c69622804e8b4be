"""Verdicts on their way into the store: one thread, in the order they were given, none lost without a word."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from localsynth.errors import LocalsynthError
from localsynth.records import Review
from localsynth.store import ReviewRow, SampleRow, Store
from localsynth.tui.writes import Writes

_WHAT = "a verdict"

Done = Callable[[Review, LocalsynthError | None], None]


class Verdicts:
    """Saves reviews one by one on a thread of its own; `done` is called there with each and what went wrong.

    Leaving waits for them by `writes`, and tells of those that failed when nobody could see it any more.
    """

    def __init__(self, store: Path, writes: Writes, done: Done) -> None:
        self._path, self._writes, self._done = store, writes, done
        self._store: Store | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="verdicts")

    def give(self, review: Review) -> None:
        """Save one review; returns at once."""
        self._writes.begin(_WHAT)
        self._thread.submit(self._save, review)

    def close(self) -> None:
        """Let go of the store when what is on its way is saved; returns at once."""
        self._thread.submit(self._close)
        self._thread.shutdown(wait=False)

    def _save(self, review: Review) -> None:
        error: LocalsynthError | None = None
        try:
            self._opened().save([review])
        except LocalsynthError as fault:
            error = fault
        except Exception as fault:  # a fault of our own: unsaid, the row would show for ever what is not stored
            error = LocalsynthError(f"{type(fault).__name__}: {fault}", "this is a fault of localsynth: please report")
        self._writes.end(_WHAT, error)
        self._done(review, error)

    def _opened(self) -> Store:
        if self._store is None:
            self._store = Store.open(self._path, create=False)
        return self._store

    def _close(self) -> None:
        if self._store is not None:
            with suppress(LocalsynthError):  # every verdict is in by now
                self._store.close(wait=False)


def judged(row: SampleRow, review: Review) -> SampleRow:
    """The row as the store will show it once the review is in: what the view `verdicts` says."""
    kept = {
        "accept": row.state == "done",
        "reject": False,
        "undecided": row.state == "done" and row.rule is None,
    }[review.verdict]
    stored = ReviewRow(0, row.id, review.verdict, review.note, review.edits, "", review.tags, review.batch)
    return replace(row, kept=kept, by="rule" if review.verdict == "undecided" else "review", review=stored)


def changed(row: SampleRow, **changes: Any) -> Review:
    """A new review that leaves everything else that was said about a row as it is: the latest review wins whole."""
    return replace(_standing(row), batch=None, **changes)


def restoring(row: SampleRow) -> Review:
    """The review that puts a row back to how it stands now."""
    return _standing(row)


def _standing(row: SampleRow) -> Review:
    before = row.review
    if before is None:
        return Review(row.id, "undecided")
    return Review(row.id, before.verdict, before.note, before.edits, before.tags, before.batch)
