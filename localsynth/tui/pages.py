"""A window on the samples of a query: some pages around the cursor, read by key, never the whole table.

Runs on worker threads. A window is frozen: the screen swaps one for the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from localsynth.store import Key, Query, Reader, SampleRow, Show

PAGE = 100
SHOWS: tuple[Show, ...] = ("all", "kept", "rejected", "unreviewed", "unfinished", "failed")
_MOST = 500  # rows in memory; far more than a screen shows, far less than a store holds

__all__ = ["PAGE", "SHOWS", "Query", "Show", "Window", "first", "grow", "last", "refresh"]


@dataclass(frozen=True, slots=True)
class Window:
    """Neighbouring rows of a query with their keys. `at_start`, `at_end`: there was nothing before, after them."""

    query: Query
    rows: tuple[SampleRow, ...] = ()
    keys: tuple[Key, ...] = ()
    at_start: bool = True
    at_end: bool = True

    def index(self, sample: int) -> int | None:
        """Where a sample stands in the window."""
        return next((index for index, row in enumerate(self.rows) if row.id == sample), None)


def first(store: Path, query: Query, at: int | None = None) -> Window:
    """The first page, or the one that begins at a sample; the last page where nothing comes after it."""
    with Reader.open(store) as reader:
        start = None if at is None else reader.key(query, at)
        keys = reader.page(query, limit=PAGE, after=start, including=True)
        window = _window(reader, query, keys)
    if at is not None and not window.rows:
        return last(store, query)
    return replace(window, at_start=at is None, at_end=len(keys) < PAGE)


def last(store: Path, query: Query) -> Window:
    """The last page."""
    with Reader.open(store) as reader:
        keys = reader.page(query, limit=PAGE, backwards=True)
        window = _window(reader, query, keys[::-1])
    return replace(window, at_start=len(keys) < PAGE)


def grow(store: Path, window: Window, *, down: bool) -> Window:
    """The window with one more page at one end, cut at the other when it becomes too long."""
    if not window.rows:
        return first(store, window.query)
    query = window.query
    with Reader.open(store) as reader:
        keys, ended = _beyond(reader, window, down=down)
        more = _window(reader, query, keys if down else keys[::-1])
    room = len(window.rows) + len(more.rows) <= _MOST
    if down:
        rows, known = window.rows + more.rows, window.keys + more.keys
        return Window(query, rows[-_MOST:], known[-_MOST:], window.at_start and room, ended)
    rows, known = more.rows + window.rows, more.keys + window.keys
    return Window(query, rows[:_MOST], known[:_MOST], ended, window.at_end and room)


def refresh(store: Path, window: Window) -> Window:
    """The same rows as they are now, and those that came in between or at the open end.

    A row that the query no longer matches stays where it was: a list that loses rows under the cursor cannot be read.
    """
    query, room = window.query, len(window.rows) + PAGE
    with Reader.open(store) as reader:
        start = None if window.at_start or not window.keys else window.keys[0]
        fresh = reader.page(query, limit=room, after=start, including=True)
        whole = len(fresh) < room
        if not window.at_end and window.keys:
            known = set(window.keys)  # what follows the last of them is read when the window grows
            fresh = fresh[: max((place for place, key in enumerate(fresh, 1) if key in known), default=0)]
        keys = _merged(window.keys, fresh)
        kept = keys[: max(_MOST, keys.index(window.keys[-1]) + 1 if window.keys else 0)]  # none that is known goes
        found = _window(reader, query, kept)
    return replace(found, at_start=window.at_start, at_end=window.at_end and whole and len(kept) == len(keys))


def _beyond(reader: Reader, window: Window, *, down: bool) -> tuple[list[Key], bool]:
    """Keys of samples behind an edge that the window lacks, and whether these are the last: some moved in the order."""
    there, edge = {sample for _, sample in window.keys}, window.keys[-1 if down else 0]
    while True:
        page = reader.page(window.query, limit=PAGE, after=edge, backwards=not down)
        keys = [key for key in page if key[1] not in there]
        if keys or len(page) < PAGE:
            return keys, len(page) < PAGE
        edge = page[-1]


def _merged(known: Sequence[Key], fresh: Sequence[Key]) -> list[Key]:
    """Both in one order: what is known keeps its place, what is new stands behind what it follows."""
    there = {sample for _, sample in known}
    places = {key: place for place, key in enumerate(known)}
    behind: dict[int, list[Key]] = {}
    place = -1
    for key in fresh:
        if key in places:
            place = places[key]
        elif key[1] not in there:
            behind.setdefault(place, []).append(key)
    merged = list(behind.get(-1, []))
    for place, key in enumerate(known):
        merged.append(key)
        merged += behind.get(place, [])
    return merged


def _window(reader: Reader, query: Query, keys: Sequence[Key]) -> Window:
    """The rows of these keys, those that are there."""
    rows = {row.id: row for row in reader.rows([sample for _, sample in keys])}
    there = [key for key in keys if key[1] in rows]
    return Window(query, tuple(rows[sample] for _, sample in there), tuple(there))
