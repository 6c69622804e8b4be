"""Points put into the cells of a screen: dots of braille, counts and the commonest class of each cell.

Counting with numpy costs about 20 ms for a million points, whatever the screen; it is done on worker threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

SHADES: Final = "·░▒▓█"
_MARGIN: Final = 0.03
# Bits of a braille character by row and column of its dots.
_BRAILLE: Final = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.int64)

Places = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class View:
    """The part of the plane on the screen: its lower left corner and its size."""

    x: float
    y: float
    width: float
    height: float

    def zoomed(self, factor: float, across: float, down: float) -> View:
        """`factor` times as near; the point at these shares of the view (0 to 1, from the upper left) stays put."""
        width, height = self.width / factor, self.height / factor
        x = self.x + across * (self.width - width)
        y = self.y + (1 - down) * (self.height - height)
        return View(x, y, width, height)

    def moved(self, across: float, down: float) -> View:
        """Moved by these shares of itself."""
        return replace(self, x=self.x + across * self.width, y=self.y - down * self.height)


@dataclass(frozen=True, slots=True)
class Frame:
    """A view on a screen of so many cells."""

    view: View
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Grid:
    """What the cells of a frame hold, all [height, width].

    `dots`: braille bits; `counts`: points; `classes`: the commonest class, -1 for none; `under`: whether a point of the
    set below lies there.
    """

    frame: Frame
    dots: NDArray[np.int64]
    counts: NDArray[np.int64]
    classes: NDArray[np.int64]
    under: NDArray[np.bool_]


def around(*sets: Places) -> View:
    """The view of all points, with a margin."""
    filled = [places for places in sets if len(places)]
    if not filled:
        return View(-1, -1, 2, 2)
    low = np.min([places.min(axis=0) for places in filled], axis=0)
    high = np.max([places.max(axis=0) for places in filled], axis=0)
    size = np.maximum(high - low, 1e-6)
    low, size = low - _MARGIN * size, (1 + 2 * _MARGIN) * size
    return View(float(low[0]), float(low[1]), float(size[0]), float(size[1]))


def grid(
    frame: Frame,
    places: Places,
    *,
    codes: NDArray[np.int32] | None = None,
    only: int | None = None,
    below: Places | None = None,
) -> Grid:
    """Count points in the cells of a frame. `only`: no other class than this one; `below`: the set laid under it."""
    width, height = frame.width, frame.height
    if only is not None and codes is not None:
        places = places[codes == only]
        codes = None
    placed = _Placed.of(frame, places)
    tally = np.bincount(placed.rows * (2 * width) + placed.columns, minlength=8 * width * height)
    dots = tally.reshape(height, 4, width, 2)
    bits = np.einsum("hrwc,rc->hw", (dots > 0).astype(np.int64), _BRAILLE)
    classes = np.full(width * height, -1 if only is None else only, np.int64)
    if codes is not None and len(placed.rows):
        found = codes[placed.inside].astype(np.int64) + 1  # 0 is for points of no class
        kinds = int(found.max()) + 1
        tally = np.bincount(found * (width * height) + placed.cells, minlength=kinds * width * height)
        classes = tally.reshape(kinds, -1).argmax(axis=0) - 1
    under = np.zeros(width * height, np.bool_)
    if below is not None:
        under[_Placed.of(frame, below).cells] = True
    shape = (height, width)
    return Grid(frame, bits, dots.sum(axis=(1, 3)), classes.reshape(shape), under.reshape(shape))


def at_cell(frame: Frame, places: Places, across: int, down: int) -> NDArray[np.int64]:
    """The numbers of the points in a cell, as `grid` counts them."""
    placed = _Placed.of(frame, places)
    found: NDArray[np.int64] = np.flatnonzero(placed.inside)[placed.cells == down * frame.width + across]
    return found


def nearest(frame: Frame, places: Places, across: int, down: int) -> int | None:
    """The number of the point nearest to the middle of a cell, as it is seen on the screen."""
    if not len(places):
        return None
    view, width, height = frame.view, frame.width, frame.height
    x = view.x + (across + 0.5) / width * view.width
    y = view.y + (1 - (down + 0.5) / height) * view.height
    # A cell of a terminal is about twice as high as it is wide.
    far = ((places[:, 0] - x) / view.width * width) ** 2 + ((places[:, 1] - y) / view.height * height * 2) ** 2
    return int(far.argmin())


@dataclass(frozen=True, slots=True)
class _Placed:
    """Which points [n] lie inside a frame, and the row and column of the dot of each that does."""

    width: int
    inside: NDArray[np.bool_]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]

    @classmethod
    def of(cls, frame: Frame, places: Places) -> _Placed:
        view, width, height = frame.view, frame.width, frame.height
        across = (places[:, 0] - np.float32(view.x)) * np.float32(2 * width / view.width)
        down = (np.float32(view.y + view.height) - places[:, 1]) * np.float32(4 * height / view.height)
        inside = (across >= 0) & (across < 2 * width) & (down >= 0) & (down < 4 * height)
        if not inside.all():
            across, down = across[inside], down[inside]
        return cls(width, inside, down.astype(np.int64), across.astype(np.int64))

    @property
    def cells(self) -> NDArray[np.int64]:
        """The cell of each point inside."""
        return (self.rows >> 2) * self.width + (self.columns >> 1)


def levels(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The shade of each cell, 0 to 4: each stands for some times as many points as the one before."""
    steps = limits(int(counts.max(initial=0)))
    return np.searchsorted(np.array([0, *steps[1:]]), counts, side="right") - 1


def limits(most: int) -> list[int]:
    """The smallest count of each shade where the densest cell has `most`; fewer shades where there are few counts."""
    return sorted({max(1, math.ceil(most ** (step / len(SHADES)))) for step in range(len(SHADES))}) if most else []
