"""The half of the review screen that finds and reads rows; the other half gives verdicts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from textual.content import Content
from textual.widgets import Static

from localsynth.engine import launch
from localsynth.engine.answer_again import answers
from localsynth.errors import LocalsynthError
from localsynth.printable import one_line
from localsynth.records import Review
from localsynth.store import Counts, Reader, SampleRow
from localsynth.tui import pages
from localsynth.tui.asking import AskingScreen
from localsynth.tui.list_words import conditions, nothing, order_name
from localsynth.tui.pages import Query, Window
from localsynth.tui.verdicts import judged
from localsynth.tui.watching import Watcher
from localsynth.tui.widgets.conversation import Rendered, rendered
from localsynth.tui.widgets.pane import ConversationPane
from localsynth.tui.widgets.sample_list import SampleList
from localsynth.tui.wording import number

_QUICK = 0.1  # seconds; a count that takes less is made after every verdict


@dataclass(frozen=True, slots=True)
class Tally:
    """Figures of the status line. `reviews`: samples by verdict; `seconds`: what counting cost."""

    run_id: str
    run: int
    counts: Counts
    reviews: Mapping[str, int]
    seconds: float


class BrowsingScreen(AskingScreen):
    """Keeps a window on the rows of the run in hand up to date. `pending`: verdicts that are not stored yet."""

    def __init__(self) -> None:
        super().__init__()
        self.query_in_hand: Query | None = None
        self.window: Window | None = None
        self.pending: dict[int, Review] = {}
        self._tally: Tally | None = None
        self._count_after = 0.0
        self._stale = True
        self._opening = False
        self._was_live = False
        self.outdated = False  # the list lacks what a job over many rows wrote

    @property
    def list(self) -> SampleList:
        """The rows on the left."""
        return self.query_one(SampleList)

    @property
    def pane(self) -> ConversationPane:
        """The row in full on the right."""
        return self.query_one(ConversationPane)

    def look(self) -> None:
        run = self.ui.run_id
        if run is None:
            self.ask("run", partial(_newest, self.ui.store), self._found, patient=True)
            return
        if self.query_in_hand is None or self.query_in_hand.run != run:
            self._tally, self._count_after = None, 0.0
            self._open_asked_for(run)
        elif self.ui.sample is not None or self.ui.chosen is not None:
            self._open_asked_for(run)
        elif self.window is not None:
            self._reread(self.window, patient=True)
        if time.monotonic() >= self._count_after:
            self.ask("counts", partial(_count, self.ui.store, run), self._counted, patient=True)

    def _open_asked_for(self, run: str) -> None:
        """The row, or the rows, that another screen sent here; all of the run where none did."""
        sample, self.ui.sample = self.ui.sample, None
        chosen, self.ui.chosen = self.ui.chosen, None
        self.open(Query(run, chosen=chosen), at=sample)

    def on_screen_resume(self) -> None:
        self._stale = True

    def refused(self, group: str, error: LocalsynthError) -> None:
        if group == "rows":
            self._opening, self._stale = False, True
        if group in {"run", "rows"} and (self.window is None or not self.window.rows):
            self.list.show_rows((), 0)
            self.pane.say(f"{error.message}\n\n{error.hint}")

    def open(self, query: Query, *, at: int | None = None, end: bool = False) -> None:
        """Show a query from its first row, from the sample `at`, or at its end."""
        if self.query_in_hand is not None and self.query_in_hand.run != query.run:
            self.list.unmark()
        self.query_in_hand = query
        self.pane.find(query.search)
        self.show_status()
        store = self.ui.store
        job = partial(pages.last, store, query) if end else partial(pages.first, store, query, at)
        self._opening = True
        self.ask("rows", job, lambda window: self._opened(window, len(window.rows) - 1 if end else 0))

    def written(self) -> None:
        """Something was saved: rows that are being read now may lack it, the others are read again in time."""
        if self._tally is not None and self._tally.seconds < _QUICK:
            self.ask("counts", partial(_count, self.ui.store, self._tally.run_id), self._counted)
        self._stale = True
        # A list that is just being opened must not be overtaken by the one before; it is read again when it is there.
        if self.window is not None and "rows" in self._busy and not self._opening:
            self._reread(self.window, patient=False)

    def reread(self) -> None:
        """Show what the store has."""
        self._stale = True
        if self.window is not None and not self._opening:
            self._reread(self.window, patient=False)

    def put(self, row: SampleRow) -> None:
        """Show this row as it will be, before the store says so."""
        if self.window is not None:
            rows = tuple(row if each.id == row.id else each for each in self.window.rows)
            self._follow(replace(self.window, rows=rows))

    def show_status(self) -> None:
        query, tally = self.query_in_hand, self._tally
        if query is not None:
            self.query_one("#status", Static).update(_status(query, tally, len(self.list.marked)))

    def on_sample_list_wanted(self, message: SampleList.Wanted) -> None:
        window = self.window
        if window is None or (window.at_end if message.down else window.at_start):
            return
        self.ask("rows", partial(pages.grow, self.ui.store, window, down=message.down), self._follow, patient=True)

    def on_sample_list_marked(self) -> None:
        self.show_status()

    def on_sample_list_range_lost(self) -> None:
        self.ui.say("The row where v began is not in the list any more: the range begins here.")

    def on_sample_list_moved(self, message: SampleList.Moved) -> None:
        self.pane.show(message.row)
        if message.row is not None:
            self.read_detail(message.row.id)

    def read_detail(self, sample: int) -> None:
        """Read everything known about a sample for the right pane."""
        self.ask("sample", partial(_sample, self.ui.store, sample, self.pending.get(sample)), self._detailed)

    def _detailed(self, found: tuple[SampleRow, Rendered]) -> None:
        self.pane.add_detail(*found)

    def _found(self, run: str | None) -> None:
        if run is None:
            self.list.show_rows((), 0, "No run yet: press 1, then n")
        else:
            self.ui.run_id = run
            self.look()

    def _reread(self, window: Window, *, patient: bool) -> None:
        job: Callable[[], tuple[bool, Window | None]]
        job = partial(_reread, self.ui.store, window, forced=self._stale or self._was_live or self.outdated)
        if not patient or "rows" not in self._busy:
            self._stale = False
            self.ask("rows", job, self._take, patient=patient)

    def _take(self, answer: tuple[bool, Window | None]) -> None:
        self._was_live, window = answer
        if window is not None:
            self.outdated = False
            self._follow(window)
        else:  # what was wanted while this was read was left out
            self.list.want()

    def _follow(self, window: Window) -> None:
        """The next state of the same list: the cursor stays on its sample, on its place where that is gone."""
        row = self.list.row
        index = window.index(row.id) if row else None
        self._set(window, self.list.cursor if index is None else index)

    def _opened(self, window: Window, cursor: int) -> None:
        self._opening = False
        self._set(window, cursor)
        if self._stale:
            self._reread(window, patient=False)
        else:
            self.outdated = False

    def _set(self, window: Window, cursor: int) -> None:
        pending = self.pending
        rows = tuple(judged(row, pending[row.id]) if row.id in pending else row for row in window.rows)
        self.window = replace(window, rows=rows)
        self.list.show_rows(rows, cursor, nothing(window.query))

    def _counted(self, tally: Tally) -> None:
        self._tally = tally
        # A million rows take seconds to count, and the cores belong to the run.
        self._count_after = time.monotonic() + 20 * tally.seconds
        self.show_status()


def _newest(store: Path) -> str | None:
    view = Watcher(store).run(None, {})
    return view.row.id if view else None


def _sample(store: Path, sample: int, pending: Review | None) -> tuple[SampleRow, Rendered]:
    with Reader.open(store) as reader:
        row = reader.sample(sample)
    row = row if pending is None else judged(row, pending)
    row = replace(row, candidates=(*answers(store, sample), *row.candidates))
    return row, rendered(row)


def _reread(store: Path, window: Window, *, forced: bool) -> tuple[bool, Window | None]:
    """Whether the run is live, and the window as it is now where it may have changed."""
    live = launch.alive(store, window.query.run)
    return live, pages.refresh(store, window) if live or forced else None


def _count(store: Path, run: str) -> Tally:
    began = time.monotonic()
    with Reader.open(store) as reader:
        row, counts, reviews = reader.run(run), reader.counts(run), reader.review_counts(run)
    return Tally(run, row.number, counts, reviews, time.monotonic() - began)


def _status(query: Query, tally: Tally | None, marked: int) -> Content:
    parts: list[str | tuple[str, str]] = []
    if tally is not None:
        counts, mine = tally.counts, tally.reviews
        waiting = counts.asked + counts.ready
        parts += [
            (f"Run {tally.run}", "bold"),
            f"  {number(counts.kept)} kept  {number(counts.rejected)} rejected",
            f"  {number(waiting)} unfinished" if waiting else "",
            f"  {number(counts.failed)} failed" if counts.failed else "",
            f"  you: {number(mine.get('accept', 0))} ✓ {number(mine.get('reject', 0))} ✗",
        ]
    parts.append((f"  showing {query.show}", "bold" if query.show != "all" else ""))
    if query.chosen is not None:
        parts.append((f"  the {number(len(query.chosen))} rows of a cell of the map", "bold"))
    if query.search:
        parts.append((f"  found by {one_line(query.search, 40)}", "bold"))
    if asked := conditions(query):
        parts.append((f"  {', '.join(asked)}", "bold"))
    if marked:
        parts.append((f"  {number(marked)} selected", "bold"))
    if query.order or query.descending:
        parts.append((f"  {order_name(query)}", "bold"))
    return Content.assemble(*parts)
