"""One value to type, with what is wrong with it beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from localsynth.printable import one_line, printable


class AskValue(ModalScreen[str]):
    """What was typed; None when nothing is to be changed. `check` gives what is wrong with a text, "" for nothing."""

    CSS_PATH = "modal.tcss"
    HELP = "enter takes what is typed; nothing typed is the usual value."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Cancel", id="field.cancel", tooltip="Change nothing"),
    ]

    def __init__(self, title: str, about: str, value: str, check: Callable[[str], str]) -> None:
        super().__init__()
        self._title, self._about, self._value, self._check = title, about, value, check

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Static(one_line(self._title, 200), classes="heading", markup=False)
            yield Static(printable(self._about, 2000), markup=False)
            yield Input(printable(self._value), id="value")
            yield Static("", id="fault", markup=False)
            yield Static("enter takes it, escape goes back", classes="hint")

    def on_mount(self) -> None:
        field = self.query_one(Input)
        field.focus()
        field.action_select_all()

    def on_input_changed(self, event: Input.Changed) -> None:
        self.query_one("#fault", Static).update(printable(self._check(event.value), 300))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        fault = self._check(event.value)
        if fault:
            self.query_one("#fault", Static).update(printable(fault, 300))
        else:
            self.dismiss(event.value)
