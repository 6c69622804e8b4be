"""The turns of one row to be edited in place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static, TextArea

from localsynth.store import SampleRow
from localsynth.tui import turns_file
from localsynth.tui.screens.confirm import Confirm
from localsynth.tui.spelling import spelled, unspelled
from localsynth.tui.widgets.key_line import KeyLine

LONGEST = 50_000  # characters of one row; a field with more of them lags behind the keys
_NAMES = {"system": "System", "user": "User", "assistant": "Assistant"}


class EditTurns(ModalScreen[Mapping[int, str]]):
    """The edits by position once they are saved; None when nothing is to be changed."""

    CSS_PATH: ClassVar[list[str | PurePath]] = ["modal.tcss", "reviewing.tcss"]
    HELP = "⟦U+202E⟧ is a character that nobody would see: it is saved as that character. Taking a change back by hand \
leaves no edit."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Save", priority=True, id="edit.save", tooltip="Save the edits of this row"),
        Binding(
            "escape", "leave", "Cancel", priority=True, id="edit.leave", tooltip="Go back, and ask if text was changed"
        ),
        Binding("ctrl+t", "app.focus_next", "Next turn", id="edit.next", tooltip="Go to the next turn"),
    ]

    def __init__(self, row: SampleRow) -> None:
        super().__init__()
        self._row = row

    def compose(self) -> ComposeResult:
        with Vertical(classes="box editor"):
            yield Static(f"Edit row {self._row.index}", classes="heading", markup=False)
            with VerticalScroll():
                for turn, message in zip(self._row.turns, self._row.messages, strict=True):
                    yield Static(_NAMES.get(turn.role, turn.role), classes="role", markup=False)
                    yield TextArea(spelled(message.content), id=f"turn-{turn.position}", tab_behavior="indent")
            yield KeyLine()

    def on_mount(self) -> None:
        self.query(TextArea).last().focus()

    def action_save(self) -> None:
        self.dismiss(turns_file.edits(self._row, self._texts()))

    def action_leave(self) -> None:
        now = {turn.position: each.content for turn, each in zip(self._row.turns, self._row.messages, strict=True)}
        if self._texts() == now:
            self.dismiss(None)
        else:
            self.app.push_screen(Confirm("Throw away what you changed in this row?", "Throw away"), self._leave)

    def _leave(self, sure: bool | None) -> None:
        if sure:
            self.dismiss(None)

    def _texts(self) -> dict[int, str]:
        fields = {turn.position: self.query_one(f"#turn-{turn.position}", TextArea) for turn in self._row.turns}
        return {position: unspelled(field.text) for position, field in fields.items()}
