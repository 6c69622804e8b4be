"""All runs of the store, the newest first."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import DataTable, Footer, Static

from localsynth.errors import LocalsynthError
from localsynth.printable import one_line
from localsynth.tui.controls import ControlScreen
from localsynth.tui.watching import RunView, Watcher
from localsynth.tui.widgets.title import TitleBar
from localsynth.tui.wording import moment, number

_COLUMNS = ("#", "State", "Kept", "Tokens/s", "Started", "Model", "Name")
# Colours of the theme: they are readable on its ground, and as greys where there is no colour.
_COLOURS = {
    "running": "text-success",
    "starting": "text-success",
    "draining": "text-warning",
    "paused": "text-warning",
    "died": "text-error",
    "failed": "text-error",
}


class RunTable(DataTable[Text]):
    """A table of runs that moves as lists move elsewhere."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Watch", id="runs.monitor", tooltip="Watch this run"),
        Binding("j", "cursor_down", "Down", show=False, id="runs.down"),
        Binding("k", "cursor_up", "Up", show=False, id="runs.up"),
        Binding("g", "scroll_top", "First", show=False, id="runs.first"),
        Binding("G", "scroll_bottom", "Last", show=False, id="runs.last"),
    ]


class RunsScreen(ControlScreen):
    """Lists runs; the one under the cursor is the run in hand for every screen."""

    CSS_PATH = "runs.tcss"
    TITLE = "Runs"
    HELP = "died: its process is gone without a word; nothing that was stored is lost, and s goes on from there."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "app.switch_mode('review')", "Review", id="runs.review", tooltip="Review the pairs of this run"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._views: list[RunView] = []
        self._watcher: Watcher | None = None

    def compose(self) -> ComposeResult:
        yield TitleBar("runs", self.ui.store.name)
        yield RunTable(cursor_type="row", id="runs")
        yield Static("", id="about", markup=False)
        yield Static("", id="welcome", classes="welcome", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        table = self.query_one(RunTable)
        table.add_columns(*_COLUMNS)
        table.display = False
        self._watcher = Watcher(self.ui.store)

    @property
    def run_in_hand(self) -> RunView | None:
        return next((view for view in self._views if view.row.id == self.ui.run_id), None)

    def look(self) -> None:
        if self._watcher is not None and not self.ui.launcher.making:
            self.ask("runs", partial(self._watcher.runs, self.ui.launcher.starting()), self._show, patient=True)

    def refused(self, group: str, error: LocalsynthError) -> None:
        if group == "runs" and not self._views:
            self._welcome(f"{error.message}\n\n{error.hint}")

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        if event.row_key.value is not None:
            self.ui.run_id = event.row_key.value
            self._about()

    def on_data_table_row_selected(self) -> None:
        self.app.switch_mode("monitor")

    def _show(self, views: list[RunView]) -> None:
        self._views = views
        if not views:
            store = one_line(self.ui.store.name, 60)
            self._welcome(
                f"There is no run in {store} yet.\n\n"
                "Press n, type how many pairs you want, and press enter.\n"
                "The built-in starter model writes them in the background; this screen only watches, "
                "and you may leave it at any time with q.\n\n"
                "Then: enter watches the run, r reviews what it keeps, ? shows all keys."
            )
            return
        table = self.query_one(RunTable)
        self.query_one("#welcome").display = False
        shown = [key.value for key in table.rows]
        if shown != [view.row.id for view in views]:
            self._fill(table, views)
        else:
            for y, view in enumerate(views):
                for x, cell in enumerate(self._cells(view)):
                    if table.get_cell_at((y, x)) != cell:  # type: ignore[arg-type]
                        table.update_cell_at((y, x), cell, update_width=True)  # type: ignore[arg-type]
        self._about()

    def _fill(self, table: RunTable, views: list[RunView]) -> None:
        wanted = self.ui.run_id or views[0].row.id
        table.clear()
        for view in views:
            table.add_row(*self._cells(view), key=view.row.id)
        rows = [view.row.id for view in views]
        table.display = True
        table.move_cursor(row=rows.index(wanted) if wanted in rows else 0)
        table.focus()

    def _cells(self, view: RunView) -> list[Text]:
        row, progress = view.row, view.progress
        colour = self.app.theme_variables.get(_COLOURS.get(view.state, ""), "")
        return [
            Text(str(row.number), justify="right"),
            Text(view.state, style=f"bold {colour}" if colour else ""),
            Text(f"{number(progress.kept)}/{number(progress.target)}", justify="right"),
            Text(number(view.rate) if view.rate else "", justify="right"),
            Text(moment(row.started or row.created)),
            Text(one_line(row.model, 28) or "starter"),
            Text(one_line(row.name or "", 24)),
        ]

    def _welcome(self, text: str) -> None:
        self.query_one(RunTable).display = False
        welcome = self.query_one("#welcome", Static)
        welcome.display = True
        welcome.update(Content(text))

    def _about(self) -> None:
        view = self.run_in_hand
        self.query_one("#about", Static).update(Content(_about(view)) if view else "")


def _about(view: RunView) -> str:
    """One line on the run under the cursor: what happened to it, and what can be done."""
    said = f" {one_line(view.trouble, 200)}" if view.trouble else ""
    who = f"Run {view.row.number}"
    return {
        "died": f"{who} died: its process is gone. Nothing stored is lost; s goes on.{said}",
        "failed": f"{who} failed.{said} s tries again.",
        "stopped": f"{who} was stopped before its target; s goes on.",
        "created": f"{who} was never started; s starts it.{said}",
        "paused": f"{who} is paused; s goes on.",
        "starting": f"{who} is coming up: its model is being loaded.",
        "draining": f"{who} finishes what is being written, then stops.",
    }.get(view.state, "")
