"""The models as a table that keeps its cursor while the figures change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from localsynth.printable import one_line
from localsynth.tui import model_words
from localsynth.tui.jobs import JobView
from localsynth.tui.stock import Line

_COLUMNS = ("Model", "On disk", "Memory", "Magpie", "Licence")


class ModelTable(DataTable[Text]):
    """One model a row. `line` is the one under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Use", id="models.use", tooltip="Make a new run with this model"),
        Binding("j", "cursor_down", "Down", show=False, id="models.down", tooltip="Next model"),
        Binding("k", "cursor_up", "Up", show=False, id="models.up", tooltip="Model before"),
        Binding("g", "scroll_top", "First", show=False, id="models.first", tooltip="First model"),
        Binding("G", "scroll_bottom", "Last", show=False, id="models.last", tooltip="Last model"),
        Binding("ctrl+d", "page_down", "Page down", show=False, id="models.page-down", tooltip="A page down"),
        Binding("ctrl+u", "page_up", "Page up", show=False, id="models.page-up", tooltip="A page up"),
    ]

    def __init__(self) -> None:
        super().__init__(cursor_type="row")
        self._lines: dict[str, Line] = {}

    def on_mount(self) -> None:
        self.add_columns(*_COLUMNS)

    @property
    def line(self) -> Line | None:
        """The model under the cursor."""
        return list(self._lines.values())[self.cursor_row] if 0 <= self.cursor_row < len(self._lines) else None

    def copy_text(self) -> str:
        """The name of the model under the cursor."""
        return self.line.name if self.line else ""

    def show(self, lines: Sequence[Line], jobs: Mapping[str, JobView], keep: str = "") -> None:
        """Show these; the cursor stays on its model, or goes to the one named `keep`."""
        before = self.line
        wanted = keep or (before.name if before else "")
        new = {line.name: line for line in lines}
        same, self._lines = list(self._lines) == list(new), new
        if not same:
            self.clear()
            for line in lines:
                self.add_row(*self._cells(line, jobs), key=line.name)
            names = list(new)
            self.move_cursor(row=names.index(wanted) if wanted in new else 0)
            return
        for y, line in enumerate(lines):
            for x, cell in enumerate(self._cells(line, jobs)):
                if self.get_cell_at((y, x)) != cell:  # type: ignore[arg-type]
                    self.update_cell_at((y, x), cell, update_width=True)  # type: ignore[arg-type]
        if keep in new:
            self.move_cursor(row=list(new).index(keep))

    def _cells(self, line: Line, jobs: Mapping[str, JobView]) -> list[Text]:
        muted = "" if line.fits else "dim"
        name = one_line(line.name, 200)
        short = name if len(name) <= 28 else f"…{name[-27:]}"
        licence = line.card.licence if line.card else line.entry.origin if line.entry else "server"
        return [
            Text(f"{'*' if line.suggested else ' '} {short}", style=muted),
            Text(model_words.where(line, jobs.get(f"pull {line.name}"))),
            Text(model_words.memory(line), justify="right", style=muted),
            Text(model_words.magpie(line), style=muted),
            Text(one_line(licence, 10), style=muted),
        ]
