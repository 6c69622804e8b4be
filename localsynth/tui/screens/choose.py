"""One of a few values to choose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from localsynth.printable import one_line, printable


class ChoiceList(OptionList):
    """A list that moves as lists move elsewhere."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "select", "Choose", id="choose.take", tooltip="Choose this one"),
        Binding("j", "cursor_down", "Down", show=False, id="choose.down", tooltip="Next"),
        Binding("k", "cursor_up", "Up", show=False, id="choose.up", tooltip="The one before"),
        Binding("g", "first", "First", show=False, id="choose.first", tooltip="First"),
        Binding("G", "last", "Last", show=False, id="choose.last", tooltip="Last"),
    ]


class Choose(ModalScreen[str]):
    """The id of what was chosen, None for nothing. `choices`: ids with what is shown of them."""

    CSS_PATH = "modal.tcss"
    HELP = "enter takes the one under the cursor."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Cancel", id="choose.cancel", tooltip="Change nothing"),
    ]

    def __init__(self, title: str, about: str, choices: Sequence[tuple[str, str]], current: str) -> None:
        super().__init__()
        self._title, self._about, self._choices, self._current = title, about, choices, current

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Static(one_line(self._title, 200), classes="heading", markup=False)
            yield Static(printable(self._about, 2000), markup=False)
            yield ChoiceList(
                *(Option(Content(printable(shown, 200)), id=id_) for id_, shown in self._choices), compact=True
            )
            yield Static("enter takes it, escape goes back", classes="hint")

    def on_mount(self) -> None:
        choices = self.query_one(ChoiceList)
        ids = [id_ for id_, _ in self._choices]
        choices.highlighted = ids.index(self._current) if self._current in ids else 0
        choices.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)
