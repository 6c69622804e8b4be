"""How many pairs a new run shall write; everything else is the default."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from localsynth.config import Plan
from localsynth.errors import LocalsynthError
from localsynth.printable import one_line
from localsynth.tui.messages import ModelFound

_MOST = 10_000_000


class NewRun(ModalScreen[int]):
    """The number of pairs; None when nothing is to be made."""

    CSS_PATH = "modal.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Cancel", id="new-run.cancel"),
    ]

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Static("New run", classes="heading")
            yield Static("How many pairs shall be kept?")
            yield Input(str(Plan().target), type="integer", id="target", max_length=8)
            yield Static("", id="fault", markup=False)
            yield Static("Model: ...", id="model", markup=False)
            yield Static("enter starts it, escape goes back", classes="hint")

    def on_mount(self) -> None:
        field = self.query_one(Input)
        field.focus()
        field.action_select_all()
        self.run_worker(
            self._find_model, thread=True, exit_on_error=False, group="model", description="looking for the model"
        )

    def _find_model(self) -> None:
        from localsynth.catalog import resolve

        try:
            found = resolve(Plan().ask.model)
        except LocalsynthError as error:
            self.post_message(ModelFound(f"No model: {error.message}. {error.hint}"))
        else:
            name = found.card.id if found.card else found.path.name
            self.post_message(ModelFound(f"Model: {name}{', the built-in starter' * found.starter}"))

    def on_model_found(self, message: ModelFound) -> None:
        self.query_one("#model", Static).update(Content(one_line(message.text, 200)))

    def on_input_changed(self) -> None:
        self.query_one("#fault", Static).update("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        typed = event.value.strip()
        target = int(typed) if typed.isdecimal() else 0
        if 1 <= target <= _MOST:
            self.dismiss(target)
        else:
            self.query_one("#fault", Static).update(f"Type a number from 1 to {_MOST:,}.")
