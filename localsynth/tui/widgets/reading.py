"""A part of the screen that scrolls by the keys of a list, and leaves a person who reads in it alone."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll


class Reading(VerticalScroll):
    """With a title in its border where one is given."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "Down", show=False, id="reading.down", tooltip="Scroll down"),
        Binding("k", "scroll_up", "Up", show=False, id="reading.up", tooltip="Scroll up"),
        Binding("g", "scroll_home", "Top", show=False, id="reading.top", tooltip="Go to the top"),
        Binding("G", "scroll_end", "End", show=False, id="reading.end", tooltip="Go to the end"),
        Binding("ctrl+d", "page(1)", "Half down", show=False, id="reading.half-down", tooltip="Half a screen down"),
        Binding("ctrl+u", "page(-1)", "Half up", show=False, id="reading.half-up", tooltip="Half a screen up"),
    ]

    def __init__(self, title: str = "", *, id: str) -> None:  # noqa: A002
        super().__init__(id=id, classes="titled" if title else "")
        if title:
            self.border_title = title

    def action_page(self, direction: int) -> None:
        self.scroll_relative(y=direction * max(1, self.size.height // 2), animate=False)
