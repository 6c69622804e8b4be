"""A part of the screen that is drawn from data to fit its size, and painted again only where it looks otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from textual.content import Content
from textual.widget import Widget

Data = TypeVar("Data")


class Drawn(Widget, Generic[Data]):
    """`draw` makes the text for a width and a height in cells. The size comes from the styles, never from the text."""

    def __init__(self, draw: Callable[[Data, int, int], Content], *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._draw = draw
        self._data: Data | None = None
        self._painted = Content("")

    def show(self, data: Data) -> None:
        """Draw these data from now on."""
        self._data = data
        if not self._drawn().is_same(self._painted):
            self.refresh()

    def render(self) -> Content:
        self._painted = self._drawn()
        return self._painted

    def _drawn(self) -> Content:
        width, height = self.content_size
        if self._data is None or not width or not height:
            return Content("")
        return self._draw(self._data, width, height)
