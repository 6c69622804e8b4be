"""Review: the rows of a run beside one of them in full; a key gives a verdict and goes on to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Static

from localsynth.store import Facets, Query, Reader
from localsynth.store.ranking import ORDER
from localsynth.tui.answering import AnsweringScreen
from localsynth.tui.list_words import order_name
from localsynth.tui.reviewing import facets
from localsynth.tui.screens.choose import Choose
from localsynth.tui.screens.filter_panel import FilterPanel
from localsynth.tui.widgets.key_line import KeyLine
from localsynth.tui.widgets.pane import ConversationPane
from localsynth.tui.widgets.sample_list import SampleList
from localsynth.tui.widgets.title import TitleBar


class ReviewScreen(AnsweringScreen):
    """Works while a run goes on: new rows come in below, the cursor stays on its row."""

    CSS_PATH = "review.tcss"
    TITLE = "Review"
    HELP = (
        "✓ kept   ✗ rejected   … unfinished   ! failed or damaged   • by you   ✎ edited   ▌ selected. Accepting keeps "
        "what a rule had rejected. While a search or a filter is on, the list holds nothing else: j and k go from hit "
        "to hit."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "judge('accept')", "Accept", id="review.accept", tooltip="Keep this row, go to the next"),
        Binding("x", "judge('reject')", "Reject", id="review.reject", tooltip="Reject this row, go to the next"),
        Binding("z", "undo", "Undo", id="review.undo", tooltip="Take back the last verdict, edit, tags or note"),
        Binding("e", "edit", "Edit", id="review.edit", tooltip="Edit the turns here"),
        Binding("E", "edit_outside", "Editor", show=False, id="review.editor", tooltip="Edit the turns in $EDITOR"),
        Binding("t", "tag", "Tag", show=False, id="review.tag", tooltip="Set the tags of this row"),
        Binding("n", "note", "Note", show=False, id="review.note", tooltip="Write a note on this row"),
        Binding("f", "filter", "Filter", id="review.filter", tooltip="Choose which rows to show"),
        Binding("o", "order", "Order", show=False, id="review.order", tooltip="Choose the order of the rows"),
        Binding("slash", "search", "Find", key_display="/", id="review.search", tooltip="Search the text"),
        Binding(
            "m", "show('source')", "Source", show=False, id="review.source", tooltip="Show the text as it is stored"
        ),
        Binding("T", "show('thinking')", "Thinking", show=False, id="review.thinking", tooltip="Unfold the thinking"),
        Binding(
            "D", "show('differences')", "Changes", show=False, id="review.differences", tooltip="Show what you edited"
        ),
        Binding("right,l", "page(1)", "Read on", show=False, id="review.page", tooltip="Scroll the text on"),
        Binding("left,h", "page(-1)", "Read back", show=False, id="review.page-back", tooltip="Scroll the text back"),
        Binding("g,home", "first", "First row", show=False, id="review.first", tooltip="Go to the first row"),
        Binding("G,end", "last", "Last row", show=False, id="review.last", tooltip="Go to the last row"),
        Binding("escape", "leave", "All rows", show=False, id="review.leave", tooltip="End selection, search, filter"),
    ]

    def compose(self) -> ComposeResult:
        yield TitleBar("review", self.ui.store.name)
        yield Static("", id="status", markup=False)
        yield Input(
            placeholder="words to find: enter searches, escape ends it", id="search", max_length=200, compact=True
        )
        with Horizontal():
            yield SampleList(id="list")
            yield ConversationPane(id="pane")
        yield KeyLine()

    def on_mount(self) -> None:
        self.query_one("#search").display = False
        self.list.focus()

    # Finding

    def action_filter(self) -> None:
        query = self.query_in_hand
        if query is not None:
            self.ask("facets", partial(facets, self.ui.store, query.run), self._ask_filter)

    def action_order(self) -> None:
        query = self.query_in_hand
        if query is not None:
            self.ask("facets", partial(facets, self.ui.store, query.run), self._ask_order)

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

    def action_leave(self) -> None:
        """End the innermost of: search field, selection, search, cell of the map, filter; the cursor stays."""
        field, query, row = self.query_one("#search", Input), self.query_in_hand, self.list.row
        typing = self.focused is field
        field.value = ""
        field.display = False
        self.list.focus()
        if query is None:
            return
        if self.list.marked and not typing:
            self.list.unmark()
        elif query.search:
            self.open(replace(query, search=""), at=row.id if row else None)
        elif query.chosen is not None and not typing:
            self.open(replace(query, chosen=None), at=row.id if row else None)
        elif query.narrowed and not typing:
            self.open(Query(query.run, order=query.order, descending=query.descending), at=row.id if row else None)

    def _ask_filter(self, known: Facets) -> None:
        query, row = self.query_in_hand, self.list.row

        def then(wanted: Query | None) -> None:
            if wanted is not None and wanted != query:
                self.open(wanted, at=row.id if row else None)

        if query is not None:
            self.app.push_screen(FilterPanel(query, known, self._count_rows), then)

    def _count_rows(self, query: Query, then: Callable[[int], None]) -> None:
        self.ask("filter", partial(_count, self.ui.store, query), then)

    def _ask_order(self, known: Facets) -> None:
        query = self.query_in_hand
        if query is None:
            return
        plain = [replace(query, order="", descending=descending) for descending in (False, True)]
        scores = [score for score in known.scores if score != ORDER]
        scored = [replace(query, order=score, descending=down) for score in scores for down in (False, True)]
        useful = [replace(query, order=ORDER, descending=True)] if ORDER in known.scores else []
        orders = [*plain, *useful, *scored]

        def then(chosen: str | None) -> None:
            if chosen is not None and orders[int(chosen[1:])] != query:
                self.open(orders[int(chosen[1:])])

        choices = [(f"n{at}", order_name(order)) for at, order in enumerate(orders)]
        current = next((at for at, order in enumerate(orders) if order == query), 0)
        about = "Rows without the score come last."
        self.app.push_screen(Choose("Order of the rows", about, choices, f"n{current}"), then)

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

    def action_show(self, what: Literal["thinking", "source", "differences"]) -> None:
        self.pane.toggle(what)


def _count(store: Path, query: Query) -> int:
    with Reader.open(store) as reader:
        return reader.query_count(query)
