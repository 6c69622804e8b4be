"""All runs of the store, the newest first."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import DataTable, Input, Static

from localsynth.errors import LocalsynthError
from localsynth.printable import one_line, printable
from localsynth.store import Store
from localsynth.tui.controls import ControlScreen
from localsynth.tui.first_steps import FirstSteps, find_first_steps, first_steps
from localsynth.tui.screens.field import AskValue
from localsynth.tui.watching import RunView, Watcher
from localsynth.tui.widgets.key_line import KeyLine
from localsynth.tui.widgets.run_table import RunTable
from localsynth.tui.widgets.title import TitleBar
from localsynth.tui.wording import duration, moment, number, percent, span

_NAME = 60  # characters


class RunsScreen(ControlScreen):
    """Lists runs; the one under the cursor is the run in hand for every screen."""

    CSS_PATH = "runs.tcss"
    TITLE = "Runs"
    AUTO_FOCUS = ""
    HELP = (
        "died: its process is gone without a word; nothing that was stored is lost, and s goes on from there. "
        "Tok/s: of the last seconds while a run is at work, of all its time otherwise. Left: nine times of ten."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Find", key_display="/", id="runs.filter", tooltip="Show runs by name or model"),
        Binding("e", "rename", "Rename", show=False, id="runs.rename", tooltip="Give this run a name"),
        Binding(
            "r",
            "app.switch_mode('review')",
            "Review",
            show=False,
            id="runs.review",
            tooltip="Review the pairs of this run",
        ),
        Binding("m", "better", "Better model", show=False, id="runs.better", tooltip="New run, with what fits here"),
        Binding("escape", "leave_filter", "All runs", show=False, id="runs.all", tooltip="Show all runs again"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._views: list[RunView] = []
        self._watcher: Watcher | None = None
        self._steps: FirstSteps | None = None

    def compose(self) -> ComposeResult:
        yield TitleBar("runs", self.ui.store.name)
        yield Input(
            placeholder="part of a name, a model or a state: enter keeps it, escape shows all",
            id="filter",
            max_length=100,
            compact=True,
        )
        yield RunTable(id="runs")
        yield Static("", id="about", markup=False)
        yield Static("", id="welcome", classes="welcome", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        self.query_one(RunTable).display = False
        self.query_one("#filter").display = False
        self._watcher = Watcher(self.ui.store)

    @property
    def run_in_hand(self) -> RunView | None:
        return next((view for view in self._views if view.row.id == self.ui.run_id), None)

    def look(self) -> None:
        if self._watcher is not None and not self.ui.launcher.making:
            self.ask_often("runs", partial(self._watcher.runs, self.ui.launcher.starting()), self._show)

    def refused(self, group: str, error: LocalsynthError) -> None:
        if group == "runs":
            if self._views:
                self._say_below(printable(f"What is shown is old. {error.message}: {error.hint}"))
            else:
                self._welcome(f"{error.message}\n\n{error.hint}")

    def on_run_table_moved(self, message: RunTable.Moved) -> None:
        self.ui.run_id = message.run
        self._about()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        self.ui.run_id = event.row_key.value
        self.app.switch_mode("monitor")

    # Finding

    def action_filter(self) -> None:
        if self._views:
            field = self.query_one("#filter", Input)
            field.display = True
            field.focus()

    def action_leave_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.value = ""
        field.display = False
        if self._views:
            self.query_one(RunTable).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._views:
            self._show(self._views)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one("#filter").display = bool(event.value.strip())
        self.query_one(RunTable).focus()

    # A name

    def action_rename(self) -> None:
        view = self.run_in_hand
        if view is None:
            self.ui.say("There is no run to name.")
            return
        about = "It is shown here, and commands take it: `localsynth status NAME`."
        title = f"A name for run {view.row.number}"
        self.app.push_screen(AskValue(title, about, view.row.name or "", _fault), partial(self._rename, view))

    def _rename(self, view: RunView, name: str | None) -> None:
        if name is None or name.strip() == (view.row.name or ""):
            return

        def write() -> None:
            with Store.open(self.ui.store, create=False) as store:
                store.update_run(view.row.id, name=name.strip() or None)

        self.ask("name", write, lambda _: self.look(), writes=f"the name of run {view.row.number}")

    # The first run

    def action_better(self) -> None:
        """A new run with the model that fits this machine best."""
        if self._steps is None:
            self.ask("steps", find_first_steps, self._begin_better)
        else:
            self._begin_better(self._steps)

    def _begin_better(self, steps: FirstSteps) -> None:
        self._steps = steps
        if steps.better:
            self.ui.new_run(steps.better)
        else:
            self.ui.say("The catalogue has no model that fits this machine better than the starter.")

    def _take_steps(self, steps: FirstSteps) -> None:
        self._steps = steps
        if not self._views:
            self._welcome(first_steps(self.ui.store.name, steps))

    # Showing

    def _show(self, views: list[RunView]) -> None:
        self._views = views
        if not views:
            self._welcome(first_steps(self.ui.store.name, self._steps))
            if self._steps is None:
                self.ask("steps", find_first_steps, self._take_steps, patient=True)
            return
        table = self.query_one(RunTable)
        words = self.query_one("#filter", Input).value.lower().split()
        table.show([view for view in views if _matches(view, words)], self.ui.run_id)
        if not table.display:
            table.display = True
            self.query_one("#welcome").display = False
            table.focus()
        self._about()

    def _welcome(self, text: str) -> None:
        self.query_one(RunTable).display = False
        welcome = self.query_one("#welcome", Static)
        welcome.display = True
        welcome.update(Content(printable(text)))
        self._say_below("")

    def _about(self) -> None:
        view = self.run_in_hand
        shown = self.query_one(RunTable).row_count
        if not shown:
            self._say_below("No run has that in its name, model or state: escape shows all.")
        else:
            self._say_below(_about(view) if view else "")

    def _say_below(self, text: str) -> None:
        about = self.query_one("#about", Static)
        if str(about.content) != text:
            about.update(Content(text))


def _matches(view: RunView, words: list[str]) -> bool:
    row = view.row
    text = f"{row.number} {row.name or ''} {row.model or 'starter'} {view.state} {row.method}".lower()
    return all(word in text for word in words)


def _fault(name: str) -> str:
    if len(name.strip()) > _NAME:
        return f"at most {_NAME} characters"
    return "a number would be taken for a run's own" if name.strip().isdecimal() else ""


def _about(view: RunView) -> str:
    """Two lines on the run under the cursor: how it stands; what happened to it, and what can be done."""
    row, progress = view.row, view.progress
    rejected = sum(progress.rejected.values())
    left = span(progress.eta_low, progress.eta_high) if view.live and progress.kept < progress.target else ""
    seconds = progress.pace.seconds if progress.pace else progress.elapsed
    figures = [
        f"Run {row.number}{f' {one_line(row.name, _NAME)}' if row.name else ''}: {number(progress.kept)} kept",
        f"{percent(rejected / progress.asked)} rejected" if progress.asked else "",
        f"at work for {duration(seconds)}" if seconds else "",
        f"{left} left" if left else "",
        f"began {moment(row.started)}" if row.started else "",
        one_line(row.model, 60),
    ]
    said = f" {one_line(view.trouble, 200)}" if view.trouble else ""
    note = one_line(progress.note, 200) if view.live else ""
    what = {
        "died": f"Its process is gone; nothing stored is lost, and s goes on.{said}",
        "failed": f"It failed; s tries again.{said}",
        "stopped": "It was stopped before its target; s goes on.",
        "created": f"It was never started; s starts it.{said}",
        "paused": "It is paused; s goes on.",
        "starting": "It is coming up: its model is being loaded.",
        "draining": "It finishes what is being written, then stops.",
    }.get(view.state, "")
    return "\n".join(filter(None, (", ".join(filter(None, figures)), f"{what} {note}".strip())))
