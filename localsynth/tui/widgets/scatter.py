"""A scatter of points in braille, with a cursor that stands on one cell of it.

Drawn from a grid of counts that is made elsewhere: a repaint costs the cells of the screen, not the points. Measured
on a million points, `textual-plot` takes 1.4 s for each repaint on the thread of the UI, since it draws point by point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from localsynth.tui.colouring import LETTERS, MOST
from localsynth.tui.gridding import SHADES, Frame, Grid, View, levels

Look = Literal["dots", "density", "letters"]
UNDER = "+"
# The last one is for "other" where there are more classes than colours.
COLOURS = (
    "$text-primary",
    "$text-success",
    "$text-warning",
    "$text-error",
    "$foreground",
    "$primary-darken-2",
    "$success-darken-2",
    "$text-muted",
)
_NO_CLASS = "·"
_EDGE = "at the edge the map moves"


class ScatterPlot(Widget, can_focus=True):
    """Shows a grid, and says which part of the plane it wants to show and where its cursor is."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "scatter--cursor",
        "scatter--none",
        "scatter--both",
        "scatter--under",
        *(f"scatter--class-{number}" for number in range(MOST)),
    }
    DEFAULT_CSS = "\n".join(
        f"ScatterPlot > .scatter--class-{number} {{ color: {colour}; }}" for number, colour in enumerate(COLOURS)
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("h,left", "move(-1, 0)", "Left", show=False, id="map.left", tooltip=f"Left; {_EDGE}"),
        Binding("l,right", "move(1, 0)", "Right", show=False, id="map.right", tooltip=f"Right; {_EDGE}"),
        Binding("j,down", "move(0, 1)", "Down", show=False, id="map.down", tooltip=f"Down; {_EDGE}"),
        Binding("k,up", "move(0, -1)", "Up", show=False, id="map.up", tooltip=f"Up; {_EDGE}"),
        Binding("H", "pan(-1, 0)", "Map left", show=False, id="map.pan-left", tooltip="Half a screen left"),
        Binding("L", "pan(1, 0)", "Map right", show=False, id="map.pan-right", tooltip="Half a screen right"),
        Binding("J,ctrl+d", "pan(0, 1)", "Map down", show=False, id="map.pan-down", tooltip="Half a screen down"),
        Binding("K,ctrl+u", "pan(0, -1)", "Map up", show=False, id="map.pan-up", tooltip="Half a screen up"),
        Binding("plus,equals_sign", "zoom(1)", "Nearer", key_display="+", id="map.nearer", tooltip="Zoom in"),
        Binding("minus", "zoom(-1)", "Farther", key_display="-", id="map.farther", tooltip="Zoom out"),
        Binding("g,home", "whole", "Whole map", show=False, id="map.whole", tooltip="Show the whole map"),
        Binding("n", "peak(1)", "Next peak", show=False, id="map.next", tooltip="Go to the next densest cell"),
        Binding("N", "peak(-1)", "Peak before", show=False, id="map.before", tooltip="Go to the densest cell before"),
        Binding("enter", "open", "Open", id="map.open", tooltip="Review the rows of the cell under the cursor"),
    ]  # fmt: skip

    @dataclass
    class Wanted(Message):
        """Another part of the plane is wanted; the whole of it for None."""

        view: View | None

    @dataclass
    class Resized(Message):
        """There is another number of cells."""

    @dataclass
    class Moved(Message):
        """The cursor stands on another cell, or on another grid."""

    @dataclass
    class Opened(Message):
        """The rows of the cell under the cursor are wanted."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.grid: Grid | None = None
        self.cursor = (0, 0)
        self._look: Look = "dots"
        self._levels = np.empty((0, 0), np.int64)
        self._peak = -1
        self._dragged: tuple[int, int] | None = None
        self._styles: dict[str, Style] = {}

    @property
    def frame(self) -> Frame | None:
        """The frame that is shown."""
        return self.grid.frame if self.grid else None

    @property
    def count(self) -> int:
        """Points in the cell under the cursor."""
        grid, (across, down) = self.grid, self.cursor
        return int(grid.counts[down, across]) if grid is not None and self._inside(across, down) else 0

    def show(self, grid: Grid, look: Look) -> None:
        """Show this grid. The cursor stays on its place of the plane where that is still to be seen."""
        before = self.frame
        self.grid, self._look, self._levels = grid, look, levels(grid.counts)
        if before is None:
            self.cursor = (grid.frame.width // 2, grid.frame.height // 2)
            self._go_to_peak(0)
        elif before.view != grid.frame.view or (before.width, before.height) != (grid.frame.width, grid.frame.height):
            self._peak = -1
            self.cursor = self._carried(before, grid.frame)
        self._styles.clear()
        self.refresh()
        self.post_message(self.Moved())

    def clear(self) -> None:
        """Forget the grid: the next one is of another map, and the cursor begins on its densest cell."""
        self.grid = None

    def action_move(self, across: int, down: int) -> None:
        frame = self.frame
        if frame is None:
            return
        column, row = self.cursor[0] + across, self.cursor[1] + down
        if self._inside(column, row):
            self._put(column, row)
        else:
            self.post_message(self.Wanted(frame.view.moved(across / 4, down / 4)))

    def action_pan(self, across: int, down: int) -> None:
        if self.frame is not None:
            self.post_message(self.Wanted(self.frame.view.moved(across / 2, down / 2)))

    def action_zoom(self, direction: int) -> None:
        self._zoom(direction, *self.cursor)

    def action_whole(self) -> None:
        self.post_message(self.Wanted(None))

    def action_peak(self, step: int) -> None:
        self._go_to_peak(self._peak + step)

    def action_open(self) -> None:
        self.post_message(self.Opened())

    def on_resize(self) -> None:
        self.post_message(self.Resized())

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self._zoom(1, event.x, event.y)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self._zoom(-1, event.x, event.y)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self._dragged = (event.x, event.y)
        self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._dragged is None or self.frame is None:
            return
        across, down = event.x - self._dragged[0], event.y - self._dragged[1]
        if across or down:
            self._dragged = (event.x, event.y)
            view = self.frame.view
            self.post_message(self.Wanted(view.moved(-across / self.frame.width, -down / self.frame.height)))

    def on_mouse_up(self) -> None:
        self._dragged = None
        self.release_mouse()

    def on_click(self, event: events.Click) -> None:
        self._put(event.x, event.y)
        if event.chain == 2:
            self.action_open()

    def render_line(self, y: int) -> Strip:
        grid = self.grid
        if grid is None or y >= grid.frame.height:
            return Strip.blank(self.size.width, self.rich_style)
        counts, under, classes = grid.counts[y].tolist(), grid.under[y].tolist(), grid.classes[y].tolist()
        signs = self._signs(y)
        segments = []
        for column, (count, below, kind) in enumerate(zip(counts, under, classes, strict=True)):
            style = self._style((f"class-{kind}" if kind >= 0 else "none") if count else "under")
            if count and below:  # the underline tells it where there is no colour, or the colour is that of a class
                style = (style if kind >= 0 else self._style("both")) + Style(underline=True)
            if (column, y) == self.cursor:
                style += self._style("cursor")
            segments.append(Segment(signs[column] if count else UNDER if below else " ", style))
        return Strip(segments).simplify().adjust_cell_length(self.size.width, self.rich_style)

    def _signs(self, y: int) -> str:
        grid = self.grid
        assert grid is not None
        if self._look == "density":
            return "".join(SHADES[level] for level in self._levels[y].tolist())
        if self._look == "letters":
            return "".join(LETTERS[kind] if kind >= 0 else _NO_CLASS for kind in grid.classes[y].tolist())
        return "".join(chr(0x2800 + bits) for bits in grid.dots[y].tolist())

    def _style(self, name: str) -> Style:
        if name not in self._styles:
            self._styles[name] = self.get_component_rich_style(f"scatter--{name}")
        return self._styles[name]

    def notify_style_update(self) -> None:
        self._styles.clear()
        super().notify_style_update()

    def _zoom(self, direction: int, across: int, down: int) -> None:
        frame = self.frame
        if frame is not None:
            shares = (across + 0.5) / frame.width, (down + 0.5) / frame.height
            self.post_message(self.Wanted(frame.view.zoomed(1.5**direction, *shares)))

    def _go_to_peak(self, number: int) -> None:
        grid = self.grid
        if grid is None or not grid.counts.any():
            return
        ranked = np.argsort(-grid.counts, axis=None, kind="stable")[: int((grid.counts > 0).sum())]
        self._peak = number % len(ranked)
        down, across = divmod(int(ranked[self._peak]), grid.frame.width)
        self.cursor = (across, down)
        self.refresh()
        self.post_message(self.Moved())

    def _put(self, across: int, down: int) -> None:
        if self._inside(across, down):
            self.cursor = (across, down)
            self.refresh()
            self.post_message(self.Moved())

    def _inside(self, across: int, down: int) -> bool:
        frame = self.frame
        return frame is not None and 0 <= across < frame.width and 0 <= down < frame.height

    def _carried(self, before: Frame, after: Frame) -> tuple[int, int]:
        """Where the cursor's place of the plane lies in another frame; at its edge where it lies outside."""
        old, new = before.view, after.view
        x = old.x + (self.cursor[0] + 0.5) / before.width * old.width
        y = old.y + old.height * (1 - (self.cursor[1] + 0.5) / before.height)
        across = math.floor((x - new.x) / new.width * after.width)
        down = math.floor((1 - (y - new.y) / new.height) * after.height)
        return min(max(across, 0), after.width - 1), min(max(down, 0), after.height - 1)
