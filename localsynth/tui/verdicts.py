"""Verdicts on their way into the store: one thread, in the order they were given, none lost without a word."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from localsynth.errors import LocalsynthError
from localsynth.records import Review
from localsynth.store import ReviewRow, SampleRow, Store

Done = Callable[[Review, LocalsynthError | None], None]


class Verdicts:
    """Saves reviews one by one on a thread of its own; `done` is called there with each and what went wrong."""

    def __init__(self, store: Path, done: Done) -> None:
        self._path, self._done = store, done
        self._store: Store | None = None
        self._lost: list[LocalsynthError] = []
        self._closing = threading.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="verdicts")

    def give(self, review: Review) -> None:
        """Save one review; returns at once."""
        self._thread.submit(self._save, review)

    def close(self) -> list[LocalsynthError]:
        """Wait for what is on its way; the errors that nobody could be shown any more."""
        self._closing.set()
        self._thread.submit(self._close)
        self._thread.shutdown()
        return self._lost

    def _save(self, review: Review) -> None:
        error: LocalsynthError | None = None
        try:
            self._opened().save([review])
        except LocalsynthError as fault:
            error = fault
        self._note(error)
        self._done(review, error)

    def _opened(self) -> Store:
        if self._store is None:
            self._store = Store.open(self._path, create=False)
        return self._store

    def _note(self, error: LocalsynthError | None) -> None:
        if error is not None and self._closing.is_set():
            self._lost.append(error)

    def _close(self) -> None:
        if self._store is not None:
            try:
                self._store.close()
            except LocalsynthError as error:
                self._lost.append(error)


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
