"""Sampling by one's own figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from localsynth.config import plan_from
from localsynth.errors import PlanError
from localsynth.printable import printable
from localsynth.records import Sampling

_ABOUT = {
    "temperature": "Temperature (0 is greedy)",
    "top_p": "Top-p (1 is off)",
    "top_k": "Top-k (0 is off)",
    "min_p": "Min-p (0 is off)",
    "repeat_penalty": "Repeat penalty (1 is off)",
    "max_tokens": "Longest text, in tokens",
}
_WHOLE = {"top_k", "max_tokens"}


class Figures(ModalScreen[dict[str, Any]]):
    """The figures that were typed; None when nothing is to be changed. `role` is "ask" or "answer"."""

    CSS_PATH = "modal.tcss"
    HELP = "tab goes to the next figure; enter takes them all."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Cancel", id="figures.cancel", tooltip="Change nothing"),
        Binding("down", "app.focus_next", "Next", show=False, id="figures.next", tooltip="Next figure"),
        Binding("up", "app.focus_previous", "Before", show=False, id="figures.before", tooltip="Figure before"),
    ]

    def __init__(self, role: str, values: Mapping[str, Any]) -> None:
        super().__init__()
        self._role, self._values = role, values

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Static(f"Sampling of {'questions' if self._role == 'ask' else 'answers'}", classes="heading")
            with Grid(classes="figures"):
                for name, about in _ABOUT.items():
                    yield Label(about)
                    value = self._values.get(name, getattr(Sampling(), name))
                    yield Input(f"{value:g}" if isinstance(value, int | float) else "", id=name, compact=True)
            yield Static("", id="fault", markup=False)
            yield Static("enter takes them, escape goes back", classes="hint")

    def on_mount(self) -> None:
        self.query(Input).first().focus()

    def on_input_changed(self) -> None:
        self.query_one("#fault", Static).update(printable(self._typed()[1], 300))

    def on_input_submitted(self) -> None:
        found, fault = self._typed()
        if not fault:
            self.dismiss(found)

    def _typed(self) -> tuple[dict[str, Any], str]:
        found: dict[str, Any] = {}
        for name, about in _ABOUT.items():
            text = self.query_one(f"#{name}", Input).value.strip().replace(",", ".")
            try:
                found[name] = int(text) if name in _WHOLE else float(text)
            except ValueError:
                return {}, f"{about}: type a {'whole ' if name in _WHOLE else ''}number"
        try:
            plan_from({self._role: {"sampling": [found]}})
        except PlanError as error:
            return {}, error.message
        return found, ""
