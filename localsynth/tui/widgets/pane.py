"""The right pane: one sample in full, to be scrolled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from localsynth.printable import printable
from localsynth.records import Candidate
from localsynth.store import SampleRow
from localsynth.tui.widgets.conversation import Rendered, View, conversation, other_answer


class ConversationPane(VerticalScroll):
    """Shows a row at once with what a list knows of it; scores and neighbours follow with `add_detail`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Scroll down", show=False, id="pane.down", tooltip="Scroll down"),
        Binding("k", "scroll_up", "Scroll up", show=False, id="pane.up", tooltip="Scroll up"),
        Binding("ctrl+d", "page_down", "Page down", show=False, id="pane.page-down", tooltip="A page down"),
        Binding("ctrl+u", "page_up", "Page up", show=False, id="pane.page-up", tooltip="A page up"),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._row: SampleRow | None = None
        self._detail: SampleRow | None = None
        self._view = View()

    def compose(self) -> ComposeResult:
        yield Static("", id="text", markup=False)

    def show(self, row: SampleRow | None) -> None:
        """Show this row, from its beginning where it is another one than before."""
        other = self._row is None or row is None or self._row.id != row.id
        self._row = row
        self._draw()
        if other:
            self.scroll_home(animate=False, immediate=True)

    def say(self, text: str) -> None:
        """Show a text of our own instead of a row; it may quote a path."""
        self._row = None
        self.query_one("#text", Static).update(Content(printable(text)))

    def add_detail(self, detail: SampleRow, rendered: Rendered) -> None:
        """Everything known about a row; it is left out where another one is shown by now."""
        if self._row is not None and self._row.id == detail.id:
            self._detail = detail
            self._view = replace(self._view, rendered=rendered)
            self._draw()

    def find(self, search: str) -> None:
        """Mark the words of a search; "" for none."""
        if search != self._view.search:
            self._view = replace(self._view, search=search)
            if self._row is not None:
                self._draw()

    def page(self, direction: int) -> None:
        """Scroll most of a screen."""
        self.scroll_relative(y=direction * max(1, self.size.height - 2), animate=False)

    def toggle(self, what: Literal["thinking", "source", "differences"]) -> None:
        """Change one side of how rows are shown."""
        change: dict[str, Any] = {what: not getattr(self._view, what)}
        self._view = replace(self._view, **change)
        self._draw()

    def other_answer(self) -> Candidate | None:
        """The answer that is shown beside the row's own."""
        return other_answer(self._detail) if self._detail and self._row and self._detail.id == self._row.id else None

    def copy_text(self) -> str:
        """The turns of the row, edits applied."""
        return turns_text(self._row) if self._row else ""

    def _draw(self) -> None:
        row, detail = self._row, self._detail
        if row is not None and detail is not None and detail.id == row.id:
            row = replace(row, scores=detail.scores, neighbours=detail.neighbours, candidates=detail.candidates)
        self.query_one("#text", Static).update("" if row is None else conversation(row, self._view))


def turns_text(row: SampleRow) -> str:
    """The turns of a row as plain text, for the clipboard."""
    return "\n\n".join(f"{message.role}:\n{message.content}" for message in row.messages)
