"""The table of runs: what fits the width, moved in as lists are moved in elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.message import Message
from textual.widgets import DataTable

from localsynth.printable import fit, one_line
from localsynth.tui.watching import RunView
from localsynth.tui.wording import day, moment, number, short, span_of

# Colours of the theme: they are readable on its ground, and as greys where there is no colour.
_COLOURS = {
    "running": "text-success",
    "starting": "text-success",
    "draining": "text-warning",
    "paused": "text-warning",
    "died": "text-error",
    "failed": "text-error",
}
_KEPT_WIDTH = 11
_WIDE = 110  # columns from which times and names are written out


@dataclass(frozen=True, slots=True)
class _Column:
    """`width` 0: what is left of the line."""

    title: str
    width: int
    text: Callable[[RunView], str]
    right: bool = False


def _started(view: RunView) -> str:
    return view.row.started or view.row.created


def _left(view: RunView) -> str:
    progress = view.progress
    return span_of(progress.eta_low, progress.eta_high) if view.live and progress.kept < progress.target else ""


def _kept(view: RunView) -> str:
    kept, target = view.progress.kept, view.progress.target
    # An import is all that there was: it has no target of its own.
    if view.row.method == "import":
        return number(kept)
    whole = f"{number(kept)}/{number(target)}"
    return whole if len(whole) <= _KEPT_WIDTH else f"{short(kept)}/{short(target)}"


def _what(view: RunView) -> str:
    return "imported" if view.row.method == "import" else one_line(view.row.model, 60) or "starter"


_FIRST = (
    _Column("#", 3, lambda view: str(view.row.number), right=True),
    _Column("State", 8, lambda view: view.state),
    _Column("Kept", _KEPT_WIDTH, _kept, right=True),
    _Column("Tok/s", 5, lambda view: short(view.rate) if view.rate else "", right=True),
    _Column("Left", 9, _left),
)
_NARROW = (
    *_FIRST,
    _Column("Began", 6, lambda view: day(_started(view))),
    _Column("Name, model", 0, lambda view: ", ".join(filter(None, (one_line(view.row.name or "", 60), _what(view))))),
)
_SPACIOUS = (
    *_FIRST,
    _Column("Began", 16, lambda view: moment(_started(view))),
    _Column("Name", 24, lambda view: one_line(view.row.name or "", 60)),
    _Column("Model", 0, _what),
)


class RunTable(DataTable[Text]):
    """Shows views of runs; only cells that changed are painted again."""

    @dataclass
    class Moved(Message):
        """The cursor is on another run. `run`: its id."""

        run: str

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Watch", id="runs.monitor", tooltip="Watch this run"),
        Binding("j", "cursor_down", "Down", show=False, id="runs.down", tooltip="The next run"),
        Binding("k", "cursor_up", "Up", show=False, id="runs.up", tooltip="The run before"),
        Binding("g", "scroll_top", "First", show=False, id="runs.first", tooltip="The first run of the list"),
        Binding("G", "scroll_bottom", "Last", show=False, id="runs.last", tooltip="The last run of the list"),
        Binding("ctrl+d", "half(1)", "Half down", show=False, id="runs.half-down", tooltip="Half a screen down"),
        Binding("ctrl+u", "half(-1)", "Half up", show=False, id="runs.half-up", tooltip="Half a screen up"),
    ]

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(cursor_type="row", id=id)
        self._views: Sequence[RunView] = ()
        self._layout: tuple[_Column, ...] = ()
        self._laid_out = 0

    def on_mount(self) -> None:
        self._lay_out(self.app.size.width)

    def on_resize(self, event: Resize) -> None:
        del event
        if self.size.width and self.size.width != self._laid_out:
            row = self.cursor_row
            self._lay_out(self.size.width)
            self._fill(row)

    def show(self, views: Sequence[RunView], wanted: str | None) -> None:
        """Show these runs. The cursor goes to the run `wanted`, or stays where it is when that is not among them."""
        before, self._views = self._views, views
        if [view.row.id for view in before] != [view.row.id for view in views]:
            rows = [view.row.id for view in views]
            self._fill(rows.index(wanted) if wanted in rows else min(self.cursor_row, len(rows) - 1))
            return
        for y, (old, view) in enumerate(zip(before, views, strict=True)):
            if view is not old:  # one that stands still is the same object as before
                for x, cell in enumerate(self._cells(view)):
                    if self.get_cell_at((y, x)) != cell:  # type: ignore[arg-type]
                        self.update_cell_at((y, x), cell)  # type: ignore[arg-type]

    def copy_text(self) -> str:
        """The run under the cursor, nothing cut."""
        views = self._views[self.cursor_row : self.cursor_row + 1]
        return "\t".join(column.text(view) for view in views for column in _SPACIOUS)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        if event.row_key.value is not None and self.is_mounted and event.cursor_row == self.cursor_row:
            self.post_message(self.Moved(event.row_key.value))

    def action_half(self, direction: int) -> None:
        """Move the cursor by half of what is seen."""
        step = max(1, (self.size.height - 1) // 2)
        self.move_cursor(row=max(0, min(self.row_count - 1, self.cursor_row + direction * step)))

    def _lay_out(self, width: int) -> None:
        self._laid_out = width
        self._layout = _SPACIOUS if width >= _WIDE else _NARROW
        self.clear(columns=True)
        taken = sum(column.width for column in self._layout) + 2 * self.cell_padding * len(self._layout)
        for column in self._layout:
            title = Text(column.title, justify="right" if column.right else "left")
            self.add_column(title, width=column.width or max(10, width - taken - 2))

    def _fill(self, row: int) -> None:
        self.clear()
        for view in self._views:
            self.add_row(*self._cells(view), key=view.row.id)
        self.move_cursor(row=max(0, row))

    def _cells(self, view: RunView) -> list[Text]:
        cells = []
        for column, laid in zip(self._layout, self.columns.values(), strict=True):
            text = fit(column.text(view), laid.width).rstrip()
            colour = self.app.theme_variables.get(_COLOURS.get(view.state, ""), "") if column.title == "State" else ""
            style = f"bold {colour}" if colour else ""
            cells.append(Text(text, style=style, justify="right" if column.right else "left"))
        return cells
