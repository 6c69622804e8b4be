"""Choices and what can be done with them, as one list: a name and a value a line, and lines that start something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.cells import cell_len, set_cell_size
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Resize
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from localsynth.printable import one_line

_LABEL = 11


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `given`: the value is not the usual one. `fault`: what is wrong with it, "" for nothing."""

    id: str
    label: str
    value: str = ""
    given: bool = False
    fault: str = ""
    kind: Literal["heading", "value", "action"] = "value"


class FormList(OptionList):
    """Posts OptionSelected with the id of the line, OptionHighlighted as the cursor moves."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "select", "Change", id="form.take", tooltip="Change this value, or do this"),
        Binding("j", "cursor_down", "Down", show=False, id="form.down", tooltip="Next line"),
        Binding("k", "cursor_up", "Up", show=False, id="form.up", tooltip="Line before"),
        Binding("g", "first", "First", show=False, id="form.first", tooltip="First line"),
        Binding("G", "last", "Last", show=False, id="form.last", tooltip="Last line"),
        Binding("ctrl+d", "page_down", "Page down", show=False, id="form.page-down", tooltip="A page down"),
        Binding("ctrl+u", "page_up", "Page up", show=False, id="form.page-up", tooltip="A page up"),
    ]

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id, compact=True)
        self._shown: tuple[Line, ...] = ()

    @property
    def here(self) -> str:
        """The id of the line under the cursor, "" where there is none."""
        option = self.highlighted_option
        return (option.id or "") if option is not None else ""

    def show(self, lines: Sequence[Line]) -> None:
        """Show these; the cursor stays on its line."""
        if tuple(lines) != self._shown:
            self._shown = tuple(lines)
            self._draw()

    def on_resize(self, event: Resize) -> None:
        del event
        self._draw()

    def _draw(self) -> None:
        here = self.here
        self.clear_options()
        self.add_options(
            Option(self._text(line), id=line.id or None, disabled=line.kind == "heading") for line in self._shown
        )
        ids = [line.id for line in self._shown if line.kind != "heading"]
        wanted = here if here in ids else ids[0] if ids else ""
        if wanted:
            self.highlighted = self.get_option_index(wanted)

    def _text(self, line: Line) -> Content:
        if line.kind == "heading":
            return Content.styled(line.label, "bold $text-muted")
        if line.kind == "action":
            text = Content.styled(f" ▶ {one_line(line.label, 200)}", "bold")
        else:
            room = max(8, self.size.width - _LABEL - 4)
            value = one_line(line.value, 400)
            if cell_len(value) > room:
                value = f"{set_cell_size(value, room - 1).rstrip()}…"
            text = Content.assemble(
                f" {set_cell_size(line.label, _LABEL)} ", (value, "bold" if line.given else "$text-muted")
            )
        return text + Content.styled(f"\n   ✗ {one_line(line.fault, 300)}", "$text-error") if line.fault else text
