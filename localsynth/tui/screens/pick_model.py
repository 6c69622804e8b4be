"""One model to choose for a role."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import DataTable, Input, Static

from localsynth.tui.screens.field import AskValue
from localsynth.tui.stock import SHOWS, Show, Stock
from localsynth.tui.widgets.model_table import ModelTable

_SHOWN = {"all": "all models", "here": "what is here", "fits": "what is here or fits this machine"}


class PickModel(ModalScreen[str]):
    """The name of the model, "" for the starter, or a server's address; None when nothing is to be changed."""

    CSS_PATH = "modal.tcss"
    HELP = "enter takes the model; one that is not here is fetched first, after a question."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "filter", "Filter", id="pick.filter", tooltip="Show all, what is here, or what fits"),
        Binding("slash", "search", "Search", id="pick.search", tooltip="Find by name, maker, family or licence"),
        Binding("o", "other", "Other", id="pick.other", tooltip="Type a path, or a name that is not in the list"),
        Binding("escape", "leave", "Cancel", id="pick.cancel", tooltip="End the search, or change nothing"),
    ]

    def __init__(self, title: str, stock: Stock, current: str) -> None:
        super().__init__()
        self._title, self._stock, self._current = title, stock, current
        self._filter: Show = "fits"

    def compose(self) -> ComposeResult:
        with Vertical(classes="box widest"):
            yield Static(self._title, classes="heading", markup=False)
            yield Static("", id="shown", markup=False)
            search = Input(placeholder="name, maker, family or licence", id="pick-search", compact=True)
            search.display = False
            yield search
            yield ModelTable()
            yield Static(
                "● here  ✗ too large  * suggested   f filter  / search  o other path",
                classes="hint",
            )

    def on_mount(self) -> None:
        self._show(self._current)
        self.query_one(ModelTable).focus()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        line = self.query_one(ModelTable).line
        if event.row_key.value is not None and line is not None:
            self.dismiss(line.name)

    def on_input_changed(self) -> None:
        self._show()

    def on_input_submitted(self) -> None:
        self.query_one(ModelTable).focus()

    def action_filter(self) -> None:
        self._filter = SHOWS[(SHOWS.index(self._filter) + 1) % len(SHOWS)]
        self._show()

    def action_search(self) -> None:
        field = self.query_one("#pick-search", Input)
        field.display = True
        field.focus()

    def action_other(self) -> None:
        about = "A .gguf file, a folder, OWNER/NAME that was pulled, or nothing for the built-in starter."
        self.app.push_screen(AskValue("Another model", about, "", lambda _: ""), self._other)

    def action_leave(self) -> None:
        field = self.query_one("#pick-search", Input)
        if field.display:
            field.display, field.value = False, ""
            self.query_one(ModelTable).focus()
        else:
            self.dismiss(None)

    def _other(self, typed: str | None) -> None:
        if typed is not None:
            self.dismiss(typed.strip())

    def _show(self, keep: str = "") -> None:
        lines = self._stock.chosen(self._filter, self.query_one("#pick-search", Input).value, generators=True)
        room = self._stock.machine.usable_gb
        self.query_one("#shown", Static).update(f"{_SHOWN[self._filter]}: {len(lines)}; {room:.0f} GB for a model here")
        self.query_one(ModelTable).show(lines, {}, keep)
