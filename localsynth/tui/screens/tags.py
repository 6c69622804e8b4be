"""The tags of one row, typed with commas between them; those known in the run are offered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input, Static

from localsynth.printable import one_line


class TagSuggester(Suggester):
    """Completes the tag that is being typed."""

    def __init__(self, known: Sequence[str]) -> None:
        super().__init__(case_sensitive=True)
        self._known = known

    async def get_suggestion(self, value: str) -> str | None:
        before, comma, last = value.rpartition(",")
        begun = last.lstrip()
        taken = set(split(before))
        found = [tag for tag in self._known if tag.startswith(begun) and tag != begun and tag not in taken]
        return f"{before}{comma}{last}{found[0][len(begun) :]}" if begun and found else None


class Tags(ModalScreen[tuple[str, ...]]):
    """The tags that the row is to have; None when nothing is to be changed."""

    CSS_PATH: ClassVar[list[str | PurePath]] = ["modal.tcss", "reviewing.tcss"]
    HELP = "Tags stand between commas. right takes the tag that is offered, enter saves, nothing typed means no tag."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Cancel", id="tags.cancel", tooltip="Change no tag"),
    ]

    def __init__(self, title: str, tags: Sequence[str], known: Sequence[str]) -> None:
        super().__init__()
        self._title, self._tags, self._known = title, tags, known

    def compose(self) -> ComposeResult:
        known = ", ".join(self._known)
        with Vertical(classes="box"):
            yield Static(self._title, classes="heading", markup=False)
            yield Input(
                ", ".join([*self._tags, ""]),
                id="value",
                suggester=TagSuggester(self._known),
                max_length=400,
                select_on_focus=False,
            )
            said = f"in this run: {one_line(known, 400)}" if known else "no tag in this run yet"
            yield Static(said, classes="hint", markup=False)
            yield Static("commas between tags; enter saves, escape goes back", classes="hint")

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(split(event.value))


def split(text: str) -> tuple[str, ...]:
    """The tags in a text, each once, in their order."""
    return tuple(dict.fromkeys(tag for part in text.split(",") if (tag := " ".join(part.split()))))
