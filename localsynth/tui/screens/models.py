"""The models: what there is, what is here, how to get it, whether it is fit, and how to be rid of it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import DataTable, Input, Static

from localsynth import paths
from localsynth.errors import LocalsynthError
from localsynth.printable import one_line
from localsynth.tui.job_screen import JobScreen
from localsynth.tui.model_words import card_words
from localsynth.tui.stock import SHOWS, Line, Show
from localsynth.tui.widgets.key_line import KeyLine
from localsynth.tui.widgets.model_table import ModelTable
from localsynth.tui.widgets.title import TitleBar

_SHOWN = {"all": "all", "here": "what is here", "fits": "what fits this machine"}


class ModelsScreen(JobScreen):
    """Lists the catalogue, what is on disk whoever put it there, and the servers that answer."""

    CSS_PATH = "models.tcss"
    TITLE = "Models"
    HELP = (
        "● on disk, ◐ half fetched, ↓ being fetched, ✗ too large for this machine's memory, * suggested for it, "
        "✓ checked by the doctor here; otherwise Magpie is the catalogue's word. Sizes in memory are estimates. "
        "Files of other tools are used where they are and never changed. Fetching goes on when the UI is left; "
        "other jobs end with it."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pull", "Pull", id="models.pull", tooltip="Fetch this model, or the rest of it"),
        Binding("d", "doctor", "Doctor", id="models.doctor", tooltip="Check whether it is fit for Magpie: minutes"),
        Binding(
            "o",
            "optimise",
            "Optimise",
            show=False,
            id="models.optimise",
            tooltip="Make a copy that this CPU runs faster",
        ),
        Binding("c", "convert", "Convert", show=False, id="models.convert", tooltip="Turn a GGUF file into MLX's form"),
        Binding("X", "cancel_job", "Cancel", show=False, id="models.cancel", tooltip="Cancel the job that is at work"),
        Binding("f", "filter", "Filter", id="models.filter", tooltip="Show all, what is here, or what fits"),
        Binding("slash", "search", "Search", id="models.search", tooltip="Find by name, maker, family or licence"),
        Binding("r,delete", "remove", "Remove", id="models.remove", tooltip="Delete its files, after asking"),
        Binding("escape", "leave", "Back", show=False, id="models.leave", tooltip="End the search, or go to the runs"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._filter: Show = "all"

    def compose(self) -> ComposeResult:
        yield TitleBar("models", self.ui.store.name)
        yield Static("", id="model-status", markup=False)
        search = Input(placeholder="name, maker, family or licence", id="model-search", compact=True)
        search.display = False
        yield search
        yield ModelTable()
        yield Static("", id="jobs", markup=False)
        with VerticalScroll(id="model-box"):
            yield Static("", id="model-about", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        self.query_one("#jobs").display = False
        self.query_one(ModelTable).focus()

    @property
    def table(self) -> ModelTable:
        """The models."""
        return self.query_one(ModelTable)

    def refused(self, group: str, error: LocalsynthError) -> None:
        if group == "stock" and self.stock is None:
            self.query_one("#model-about", Static).update(Content(f"{error.message}\n{error.hint}"))

    def stock_taken(self) -> None:
        self._show()

    def jobs_moved(self) -> None:
        self._show()

    def on_data_table_row_highlighted(self) -> None:
        self._about()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        del event
        line = self.table.line
        if line is not None:
            self._use(line)

    def on_input_changed(self) -> None:
        self._show()

    def on_input_submitted(self) -> None:
        self.table.focus()

    def action_pull(self) -> None:
        if (line := self.table.line) is not None:
            self.pull(line)

    def action_doctor(self) -> None:
        line = self._local("The doctor looks at models that are here: p fetches this one.")
        if line is not None and not line.generates:
            self.ui.say(f"{line.name} writes no text: there is nothing to check.")
        elif line is not None:
            self.check(line.name)

    def action_optimise(self) -> None:
        line = self._file("Only a GGUF file on this machine can be optimised.")
        if line is not None:
            self.start_job(f"optimise {line.name}", f"Optimising {line.name}", ["models", "optimize", line.name])
            self.ui.say("The copy is compared with the original: 600 questions. X cancels; it ends with the UI.")

    def action_convert(self) -> None:
        line = self._file("Only a GGUF file on this machine can be turned into MLX's form.")
        if line is not None and line.entry is not None and line.entry.path is not None:
            out = str(paths.converted_dir() / line.entry.path.stem)
            self.start_job(f"convert {line.name}", f"Converting {line.name}", ["models", "convert", line.name, out])

    def action_remove(self) -> None:
        if (line := self.table.line) is not None:
            self.remove_model(line)

    def action_filter(self) -> None:
        self._filter = SHOWS[(SHOWS.index(self._filter) + 1) % len(SHOWS)]
        self._show()

    def action_search(self) -> None:
        field = self.query_one("#model-search", Input)
        field.display = True
        field.focus()

    def action_leave(self) -> None:
        field = self.query_one("#model-search", Input)
        if field.display:
            field.display = False
            field.value = ""
            self.table.focus()
        else:
            self.app.switch_mode("runs")

    def _use(self, line: Line) -> None:
        if line.pullable:
            self.pull(line)
        elif not line.generates:
            self.ui.say(f"{line.name} writes no text: it is a {', '.join(line.card.roles) if line.card else 'file'}.")
        else:
            self.ui.new_run(line.name)

    def _local(self, otherwise: str) -> Line | None:
        line = self.table.line
        if line is None or line.entry is None or line.entry.path is None:
            self.ui.say(otherwise)
            return None
        return line

    def _file(self, otherwise: str) -> Line | None:
        line = self.table.line
        path = line.entry.path if line is not None and line.entry is not None else None
        if path is None or path.suffix != ".gguf":
            self.ui.say(otherwise)
            return None
        return line

    def _show(self) -> None:
        if self.stock is None:
            return
        search = self.query_one("#model-search", Input).value
        lines = self.stock.chosen(self._filter, search)
        self.table.show(lines, self.jobs)
        here = self.stock.machine
        found = f", found by {one_line(search, 30)}" if search.strip() else ""
        count = sum(line.here for line in lines)
        status = f"{len(lines)} models, {count} here  showing {_SHOWN[self._filter]}{found}"
        self.query_one("#model-status", Static).update(
            Content(f"{status}  {here.usable_gb:.0f} GB for a model, {here.cores} cores")
        )
        self._about()

    def _about(self) -> None:
        line = self.table.line
        text = Content("Nothing is found: f shows more, escape ends a search.")
        if line is not None and self.stock is not None:
            text = card_words(line, self.stock.machine)
        self.query_one("#model-about", Static).update(text)
