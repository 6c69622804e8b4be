"""A window on the samples of a run: some pages around the cursor, read by key, never the whole table.

Runs on worker threads. A window is frozen: the screen swaps one for the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from localsynth.store import Reader, SampleRow

Show = Literal["all", "kept", "rejected", "unreviewed"]
SHOWS: tuple[Show, ...] = ("all", "kept", "rejected", "unreviewed")
PAGE = 100
_MOST = 500  # rows in memory; far more than a screen shows, far less than a store holds

_WHERE: Mapping[Show, Mapping[str, Any]] = {
    "all": {},
    "kept": {"kept": True},
    "rejected": {"kept": False},
    "unreviewed": {"reviewed": False},
}


@dataclass(frozen=True, slots=True)
class Query:
    """Which samples of which run."""

    run: str
    show: Show = "all"
    search: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """Neighbouring rows of a query, by id. `at_start`, `at_end`: there was nothing before, after them."""

    query: Query
    rows: tuple[SampleRow, ...] = ()
    at_start: bool = True
    at_end: bool = True

    def index(self, sample: int) -> int | None:
        """Where a sample stands in the window."""
        return next((index for index, row in enumerate(self.rows) if row.id == sample), None)


def first(store: Path, query: Query, at: int | None = None) -> Window:
    """The first page, or the one that begins at a sample; the last page where nothing comes after it."""
    with Reader.open(store) as reader:
        rows = _read(reader, query, PAGE, after=None if at is None else at - 1)
    if at is not None and not rows:
        return last(store, query)
    return Window(query, rows, at_start=at is None, at_end=len(rows) < PAGE)


def last(store: Path, query: Query) -> Window:
    """The last page."""
    with Reader.open(store) as reader:
        rows = _read(reader, query, PAGE, backwards=True)
    return Window(query, rows, at_start=len(rows) < PAGE, at_end=True)


def grow(store: Path, window: Window, *, down: bool) -> Window:
    """The window with one more page at one end, cut at the other when it becomes too long."""
    if not window.rows:
        return first(store, window.query)
    edge = window.rows[-1 if down else 0].id
    with Reader.open(store) as reader:
        more = _read(reader, window.query, PAGE, after=edge, backwards=not down)
    ended = len(more) < PAGE
    if down:
        rows = window.rows + more
        return Window(window.query, rows[-_MOST:], window.at_start and len(rows) <= _MOST, ended)
    rows = more + window.rows
    return Window(window.query, rows[:_MOST], ended, window.at_end and len(rows) <= _MOST)


def refresh(store: Path, window: Window) -> Window:
    """The same rows as they are now, and those that came in between or at the open end.

    A row that the query no longer matches stays: a list that loses rows under the cursor cannot be read.
    """
    ids = [row.id for row in window.rows]
    after = None if window.at_start else ids[0] - 1
    with Reader.open(store) as reader:
        found = {row.id: row for row in reader.rows(ids)}
        room = len(ids) + PAGE
        fresh = _read(reader, window.query, room, after=after)
    if not window.at_end:
        fresh = tuple(row for row in fresh if row.id <= ids[-1])
    found |= {row.id: row for row in fresh}
    rows = tuple(found[number] for number in sorted(found))
    at_end = window.at_end and len(fresh) < room and len(rows) <= _MOST
    return replace(window, rows=rows[:_MOST], at_end=at_end)


def _read(
    reader: Reader, query: Query, limit: int, *, after: int | None = None, backwards: bool = False
) -> tuple[SampleRow, ...]:
    rows = reader.samples(
        query.run,
        search=query.search or None,
        order="newest" if backwards else "oldest",
        limit=limit,
        after=after,
        **_WHERE[query.show],
    )
    return tuple(reversed(rows)) if backwards else tuple(rows)
