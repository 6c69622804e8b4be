"""One line per sample, drawn only where it is seen: a window of rows that grows as the cursor nears its edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from localsynth.printable import one_line
from localsynth.store import SampleRow
from localsynth.tui.widgets.pane import turns_text

_EDGE = 25  # rows from the edge of the window at which more are wanted


class SampleList(ScrollView, can_focus=True):
    """Shows rows that it is given, and says when the cursor moves and when more rows are wanted."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "sample-list--cursor",
        "sample-list--kept",
        "sample-list--rejected",
        "sample-list--waiting",
        "sample-list--number",
        "sample-list--marked",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "Next row", show=False, id="list.next", tooltip="Next row"),
        Binding("k,up", "move(-1)", "Row before", show=False, id="list.before", tooltip="Row before"),
        Binding("ctrl+d,pagedown", "page(1)", "Down", show=False, id="list.page-down", tooltip="Half a screen down"),
        Binding("ctrl+u,pageup", "page(-1)", "Up", show=False, id="list.page-up", tooltip="Half a screen up"),
        Binding("space", "mark", "Select", show=False, id="list.mark", tooltip="Select this row, go to the next"),
        Binding(
            "v",
            "mark_range",
            "Range",
            show=False,
            id="list.range",
            tooltip="Select from here to where v is pressed again",
        ),
    ]

    @dataclass
    class Moved(Message):
        """The cursor stands on another row, or on none."""

        row: SampleRow | None

    @dataclass
    class Marked(Message):
        """Another number of rows is selected."""

        count: int

    @dataclass
    class RangeLost(Message):
        """The row where a range began is no longer among the rows: another range began here."""

    @dataclass
    class Wanted(Message):
        """The cursor is near an edge of the rows."""

        down: bool

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._rows: tuple[SampleRow, ...] = ()
        self._cursor = 0
        self._empty = ""
        self._anchor: int | None = None
        self.marked: set[int] = set()

    @property
    def cursor(self) -> int:
        """The place of the row under the cursor."""
        return self._cursor

    @property
    def row(self) -> SampleRow | None:
        """The row under the cursor."""
        return self._rows[self._cursor] if self._rows else None

    def show_rows(self, rows: tuple[SampleRow, ...], cursor: int, empty: str = "") -> None:
        """Show these rows with the cursor on one of them, which stays on its line of the screen.

        `empty` is said where there is none.
        """
        line = self._cursor - round(self.scroll_offset.y)
        before = self.row
        self._rows, self._empty = rows, empty
        self._cursor = max(0, min(cursor, len(rows) - 1))
        self.virtual_size = Size(self.size.width, len(rows))
        self.scroll_to(y=self._cursor - line, animate=False, force=True)
        self._settle(before)

    def unmark(self) -> None:
        """Select nothing."""
        self.marked.clear()
        self._anchor = None
        self._mark_changed()

    def copy_text(self) -> str:
        """The turns of the row under the cursor."""
        return turns_text(self.row) if self.row else ""

    def action_mark(self) -> None:
        if self.row is not None:
            self.marked ^= {self.row.id}
            self._mark_changed()
            self.action_move(1)

    def action_mark_range(self) -> None:
        if self.row is None:
            return
        places = {row.id: place for place, row in enumerate(self._rows)}
        start = places.get(self._anchor) if self._anchor is not None else None
        if start is None:
            if self._anchor is not None:
                self.post_message(self.RangeLost())
            self._anchor = self.row.id
            self.marked.add(self.row.id)
        else:
            first, last = sorted((start, self._cursor))
            self.marked |= {row.id for row in self._rows[first : last + 1]}
            self._anchor = None
        self._mark_changed()

    def _mark_changed(self) -> None:
        self.refresh()
        self.post_message(self.Marked(len(self.marked)))

    def go(self, index: int) -> None:
        """Put the cursor on a row."""
        if self._rows:
            before = self.row
            self._cursor = max(0, min(index, len(self._rows) - 1))
            self._settle(before)

    def action_move(self, rows: int) -> None:
        self.go(self._cursor + rows)

    def action_page(self, direction: int) -> None:
        self.go(self._cursor + direction * max(1, self.size.height // 2))

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is not None and offset.y + round(self.scroll_offset.y) < len(self._rows):
            self.go(offset.y + round(self.scroll_offset.y))

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._rows))
        self._into_view()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        index = y + round(self.scroll_offset.y)
        if index >= len(self._rows):
            text = self._empty if y == 0 and not self._rows else ""
            return _strip([Segment(text, self._style("waiting"))], width, self.rich_style)
        row = self._rows[index]
        sign, kind = mark(row)
        style = self.rich_style
        segments = [
            Segment("▌" if row.id in self.marked else " ", self._style("marked")),
            Segment(sign, self._style(kind)),
            Segment(f"{row.index:>{self._digits}} ", self._style("number")),
            Segment(_words(row, 4 * width), style),
        ]
        if index == self._cursor:
            style = self._style("cursor")
            segments = [Segment(segment.text, style) for segment in segments]
        return _strip(segments, width, style)

    @property
    def _digits(self) -> int:
        return len(str(max(self._rows[0].index, self._rows[-1].index)))

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"sample-list--{name}")

    def _settle(self, before: SampleRow | None) -> None:
        self._into_view()
        self.refresh()
        if self.row != before:
            self.post_message(self.Moved(self.row))
        self.want()

    def want(self) -> None:
        """Ask for more rows where the cursor is near an edge."""
        if self._rows and self._cursor >= len(self._rows) - _EDGE:
            self.post_message(self.Wanted(down=True))
        if self._rows and self._cursor < _EDGE:
            self.post_message(self.Wanted(down=False))

    def _into_view(self) -> None:
        self.scroll_to_region(Region(0, self._cursor, 1, 1), animate=False, force=True, immediate=True)


def mark(row: SampleRow) -> tuple[str, str]:
    """Two signs: kept, rejected, failed or in work, and whether a person said so; with the name of their style."""
    if row.state == "failed" or row.fault:
        return "! ", "rejected"
    if row.state != "done":
        return "… ", "waiting"
    edited = row.review is not None and bool(row.review.edits)
    person = "✎" if edited else "•" if row.by == "review" else " "
    return (f"✓{person}", "kept") if row.kept else (f"✗{person}", "rejected")


def _words(row: SampleRow, limit: int) -> str:
    if row.fault:
        return f"(damaged) {one_line(row.instruction or row.fault, limit)}"
    return one_line(row.instruction, limit) or "(no instruction)"


def _strip(segments: list[Segment], width: int, style: Style) -> Strip:
    return Strip(segments).adjust_cell_length(width, style)
