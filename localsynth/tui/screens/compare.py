"""Which set is laid under the map: another run, or a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from localsynth.printable import one_line
from localsynth.store import RunRow
from localsynth.tui.screens.choose import ChoiceList

OFF = "-"


class Compare(ModalScreen[str]):
    """The id of a run, the path of a file, OFF to take the set away; None to change nothing."""

    CSS_PATH = "modal.tcss"
    HELP = "tab goes from the runs to the field for a file and back; enter takes what is in focus."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Cancel", id="compare.cancel", tooltip="Change nothing"),
        Binding("tab", "app.focus_next", "Other part", show=False, id="compare.focus", tooltip="Runs, or a file"),
    ]

    def __init__(self, runs: Sequence[RunRow], laid: bool) -> None:
        super().__init__()
        self._runs, self._laid = runs, laid

    def compose(self) -> ComposeResult:
        options = [Option("none: take the other set away", id=OFF)] if self._laid else []
        options += [Option(Content(_named(row)), id=row.id) for row in reversed(self._runs)]
        with Vertical(classes="box"):
            yield Static("Lay a set under the map", classes="heading")
            if options:
                yield Static("A run of this store:")
                yield ChoiceList(*options, compact=True)
            yield Static("\nA file or a folder, in any form that localsynth import reads:")
            yield Input(placeholder="path, then enter", id="file", max_length=4000, compact=True)
            yield Static("enter takes it, tab goes to the other part, escape goes back", classes="hint")

    def on_mount(self) -> None:
        lists = self.query(ChoiceList)
        (lists.first() if lists else self.query_one(Input)).focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(event.value.strip())


def _named(row: RunRow) -> str:
    facts = row.plan.get("import") if row.method == "import" else None
    source = facts.get("source") if isinstance(facts, dict) else row.model
    return one_line(f"run {row.number}  {row.name or ''}  {row.method} {source or ''}", 90)
