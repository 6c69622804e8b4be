"""Review: the rows of a run beside one of them in full; a key gives a verdict and goes on to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Footer, Input, Static

from localsynth.errors import LocalsynthError
from localsynth.records import Review
from localsynth.tui.browsing import BrowsingScreen
from localsynth.tui.messages import VerdictSaved
from localsynth.tui.pages import SHOWS
from localsynth.tui.verdicts import Verdicts, judged, restoring, verdict_on
from localsynth.tui.widgets.pane import ConversationPane
from localsynth.tui.widgets.sample_list import SampleList
from localsynth.tui.widgets.title import TitleBar


@dataclass(frozen=True, slots=True)
class _Given:
    """A verdict that can be taken back: `before` puts things as they were."""

    run: str
    index: int
    before: Review


class ReviewScreen(BrowsingScreen):
    """Works while a run goes on: new rows come in below, the cursor stays on its row."""

    CSS_PATH = "review.tcss"
    TITLE = "Review"
    HELP = "✓ kept   ✗ rejected   … unfinished   ! failed   • by you. Accepting keeps what a rule had rejected."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "judge('accept')", "Accept", id="review.accept", tooltip="Keep this row, go to the next"),
        Binding("x", "judge('reject')", "Reject", id="review.reject", tooltip="Reject this row, go to the next"),
        Binding("z", "undo", "Undo", id="review.undo", tooltip="Take the last verdict back"),
        Binding("f", "filter", "Filter", id="review.filter", tooltip="Show all, kept, rejected, unreviewed"),
        Binding("slash", "search", "Search", key_display="/", id="review.search", tooltip="Search the text"),
        Binding("space", "page(1)", "Read on", show=False, id="review.page", tooltip="Scroll the text on"),
        Binding("b", "page(-1)", "Read back", show=False, id="review.page-back", tooltip="Scroll the text back"),
        Binding("t", "thinking", "Thinking", show=False, id="review.thinking", tooltip="Unfold or fold the thinking"),
        Binding("g,home", "first", "First row", show=False, id="review.first"),
        Binding("G,end", "last", "Last row", show=False, id="review.last"),
        Binding("escape", "leave_search", "End the search", show=False, id="review.leave-search"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._verdicts: Verdicts | None = None
        self._given: list[_Given] = []

    def compose(self) -> ComposeResult:
        yield TitleBar("review", self.ui.store.name)
        yield Static("", id="status", markup=False)
        yield Input(
            placeholder="words to find: enter searches, escape ends it", id="search", max_length=200, compact=True
        )
        with Horizontal():
            yield SampleList(id="list")
            yield ConversationPane(id="pane")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.query_one("#search").display = False
        self._verdicts = Verdicts(self.ui.store, self._saved)
        self.list.focus()

    def on_unmount(self) -> None:
        if self._verdicts is not None:
            for error in self._verdicts.close():
                self.ui.farewell.append(f"a verdict was not saved: {error.message}")

    # Verdicts

    def action_judge(self, verdict: Literal["accept", "reject"]) -> None:
        row = self.list.row
        if row is None:
            return
        if row.state != "done":
            self.ui.say("This row failed." if row.state == "failed" else "This row waits for its answer.")
            return
        self._given.append(_Given(row.run, row.index, restoring(row)))
        self._give(verdict_on(row, verdict))
        self.list.action_move(1)

    def action_undo(self) -> None:
        if not self._given:
            self.ui.say("There is no verdict to take back.")
            return
        last = self._given.pop()
        self._give(last.before)
        self._go_to(last)
        self.ui.say(f"The verdict on row {last.index} is taken back.")

    def on_verdict_saved(self, message: VerdictSaved) -> None:
        sample = message.review.sample
        if self.pending.get(sample) is message.review:
            del self.pending[sample]
        if message.error is not None:
            self._given = [given for given in self._given if given.before.sample != sample]
            self.ui.complain(LocalsynthError(f"not saved: {message.error.message}", message.error.hint))
            self.reread()
        else:
            self.written()

    def _give(self, review: Review) -> None:
        assert self._verdicts is not None
        self.pending[review.sample] = review
        self._verdicts.give(review)
        index = self.window.index(review.sample) if self.window else None
        if self.window is not None and index is not None:
            self.put(judged(self.window.rows[index], review))

    def _saved(self, review: Review, error: LocalsynthError | None) -> None:
        self.post_message(VerdictSaved(review, error))

    def _go_to(self, given: _Given) -> None:
        if self.window is None or self.query_in_hand is None or given.run != self.query_in_hand.run:
            return
        index = self.window.index(given.before.sample)
        if index is None:
            self.open(self.query_in_hand, at=given.before.sample)
        else:
            self.list.go(index)

    # Finding

    def action_filter(self) -> None:
        query, row = self.query_in_hand, self.list.row
        if query is not None:
            show = SHOWS[(SHOWS.index(query.show) + 1) % len(SHOWS)]
            self.open(replace(query, show=show), at=row.id if row else None)

    def action_search(self) -> None:
        field = self.query_one("#search", Input)
        field.display = True
        field.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if self.query_in_hand is not None:
            self.open(replace(self.query_in_hand, search=event.value.strip()))
        if not event.value.strip():
            self.query_one("#search").display = False
        self.list.focus()

    def action_leave_search(self) -> None:
        field, query, row = self.query_one("#search", Input), self.query_in_hand, self.list.row
        field.value = ""
        field.display = False
        self.list.focus()
        if query is not None and query.search:
            self.open(replace(query, search=""), at=row.id if row else None)

    # Moving

    def action_first(self) -> None:
        if self.window is None or self.window.at_start:
            self.list.go(0)
        else:
            self.open(self.window.query)

    def action_last(self) -> None:
        if self.window is None or self.window.at_end:
            self.list.go(len(self.window.rows) - 1 if self.window else 0)
        else:
            self.open(self.window.query, end=True)

    def action_page(self, direction: int) -> None:
        self.pane.page(direction)

    def action_thinking(self) -> None:
        self.pane.toggle_thinking()
