"""All pairs of near vectors among very many, found exactly and without comparing each with each.

Vectors are shortened by a rotation onto their main directions, with the length of what is left out as one more number:
distances can only shrink by that, so no near pair is lost and nearly all far ones are. Short vectors lie in cells
around centres; two of different cells can be near only if both lie near the plane between the cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]

_FIT_ROWS: Final = 8192
_KEPT_VARIANCE: Final = 0.6
_FEWEST_DIRECTIONS, _MOST_DIRECTIONS = 32, 192
_ROUNDING: Final = 0.004  # of a squared distance, from vectors stored as half floats
_ROWS_PER_CELL: Final = 512
_MOST_CELLS: Final = 512
_BLOCK: Final = 4096


class NearPairs:
    """Takes in rows, then gives every pair that may have a cosine of `floor` or more; the caller looks at them closely.

    Holds about 300 to 1,000 bytes a row. `new` rows are compared with all, others only with new ones; rows of the same
    `part` are not compared.
    """

    def __init__(self, floor: float) -> None:
        self._reach = float(np.sqrt(max(0.0, 2 - 2 * floor) + _ROUNDING))
        self._basis: Vectors | None = None
        self._mean: Vectors = np.zeros(0, np.float32)
        self._waiting: list[NDArray[np.float16]] = []
        self._short: list[NDArray[np.float16]] = []
        self._rows = 0

    def add(self, vectors: NDArray[np.float16]) -> None:
        """Take in unit rows, shape (n, dim); they are numbered in the order of coming."""
        self._rows += len(vectors)
        if self._basis is not None:
            self._short.append(self._shorten(vectors))
            return
        self._waiting.append(vectors)
        if self._rows >= _FIT_ROWS:
            self._fit()

    def candidates(self, new: NDArray[np.bool_], part: Rows) -> Iterator[tuple[Rows, Rows]]:
        """Pairs of row numbers, as two arrays of shape (pairs,), the smaller number first; each pair once."""
        if self._basis is None:
            self._fit()
        if not self._rows or not new.any():
            return
        short = np.concatenate(self._short)
        self._short.clear()
        cells, home, bound = self._cells(short)
        # Rows of one cell side by side, new ones first: each look at a cell is then a slice.
        order = np.lexsort((~new, home))
        ends = np.searchsorted(home[order], np.arange(len(cells) + 1)).tolist()
        short = short[order]
        bound = bound[order]
        new, part = new[order], part[order]
        for first, second in _sides(bound, new, ends):
            for left, right in self._compare(short, first, second):
                # Within a cell the new rows are on both sides.
                wanted = (part[left] != part[right]) & (left < right)
                if wanted.any():
                    pair = order[left[wanted]], order[right[wanted]]
                    yield np.minimum(*pair), np.maximum(*pair)

    def _fit(self) -> None:
        """Choose the directions from the first rows; which ones only decides how fast this is."""
        waiting = np.concatenate(self._waiting) if self._waiting else np.zeros((0, 1), np.float16)
        self._waiting.clear()
        sample = waiting[:_FIT_ROWS].astype(np.float32)
        self._mean = sample.mean(axis=0) if len(sample) else np.zeros(waiting.shape[1], np.float32)
        centred = sample - self._mean
        values, directions = np.linalg.eigh(centred.T @ centred)
        share = np.cumsum(values[::-1]) / max(float(values.sum()), 1e-9)
        count = int(np.searchsorted(share, _KEPT_VARIANCE)) + 1
        count = min(max(count, _FEWEST_DIRECTIONS), _MOST_DIRECTIONS, waiting.shape[1])
        self._basis = np.ascontiguousarray(directions[:, ::-1][:, :count], np.float32)
        for start in range(0, len(waiting), _BLOCK):
            self._short.append(self._shorten(waiting[start : start + _BLOCK]))
        if not self._short:
            self._short.append(np.zeros((0, count + 1), np.float16))

    def _shorten(self, vectors: NDArray[np.float16]) -> NDArray[np.float16]:
        assert self._basis is not None
        centred = vectors.astype(np.float32) - self._mean
        kept = centred @ self._basis
        left = np.maximum((centred**2).sum(axis=1) - (kept**2).sum(axis=1), 0)
        return np.column_stack([kept, np.sqrt(left)]).astype(np.float16)

    def _cells(self, short: NDArray[np.float16]) -> tuple[Vectors, NDArray[np.int32], NDArray[np.uint8]]:
        """Centres [k, d]; the cell of each row [n]; bit c of row r: a row of cell c may be near r, [n, k / 8]."""
        count = min(_MOST_CELLS, max(1, len(short) // _ROWS_PER_CELL))
        centres = _centres(short, count)
        gaps = np.sqrt(np.maximum(_squares(centres, centres), 1e-12))
        home = np.empty(len(short), np.int32)
        bound = np.empty((len(short), -(-count // 8)), np.uint8)
        for start in range(0, len(short), _BLOCK):
            rows = slice(start, start + _BLOCK)
            squares = _squares(short[rows].astype(np.float32), centres)
            nearest = squares.argmin(axis=1)
            home[rows] = nearest
            own = squares[np.arange(len(squares)), nearest]
            # Distance to the plane halfway between the own centre and each other one.
            away = (squares - own[:, None]) / (2 * gaps[nearest])
            bound[rows] = np.packbits(away <= self._reach, axis=1)
        return centres, home, bound

    def _compare(self, short: NDArray[np.float16], first: Rows, second: Rows) -> Iterator[tuple[Rows, Rows]]:
        """The rows of both that are within reach of each other."""
        # One product gives the squared distance: [a, -|a|^2/2, 1] . [b, 1, -|b|^2/2] = -|a - b|^2 / 2.
        if not len(first):
            return
        limit = -(self._reach**2) / 2
        for at in range(0, len(second), _BLOCK):
            right = _extended(short[second[at : at + _BLOCK]], swap=True).T
            for start in range(0, len(first), _BLOCK):
                left = _extended(short[first[start : start + _BLOCK]], swap=False)
                near = np.flatnonzero((left @ right).ravel() >= limit)
                yield first[start + near // right.shape[1]], second[at + near % right.shape[1]]


def _extended(rows: NDArray[np.float16], *, swap: bool) -> Vectors:
    wide = rows.astype(np.float32)
    half = -(wide**2).sum(axis=1) / 2
    ones = np.ones(len(wide), np.float32)
    return np.column_stack([wide, ones, half] if swap else [wide, half, ones])


def _sides(bound: NDArray[np.uint8], new: NDArray[np.bool_], ends: list[int]) -> Iterator[tuple[Rows, Rows]]:
    """Rows that are to be compared with each other: one side of each is new, the first side is of no later cell."""
    cells = range(len(ends) - 1)
    fresh = [bool(new[ends[cell] : ends[cell + 1]].any()) for cell in cells]
    for one in cells:
        if fresh[one]:
            rows = _facing(bound, ends[one], ends[one + 1], None)
            yield rows[new[rows]], rows
        for other in range(one + 1, len(cells)):
            if not (fresh[one] or fresh[other]):
                continue
            first = _facing(bound, ends[one], ends[one + 1], other)
            second = _facing(bound, ends[other], ends[other + 1], one)
            old = ~new[first]
            yield first[~old], second
            yield first[old], second[new[second]]


def _facing(bound: NDArray[np.uint8], start: int, end: int, cell: int | None) -> Rows:
    """The rows from `start` to `end` that may be near one of `cell`; all of them for None."""
    if cell is None:
        return np.arange(start, end)
    return start + np.flatnonzero(bound[start:end, cell >> 3] & (128 >> (cell & 7)))


def _centres(short: NDArray[np.float16], count: int) -> Vectors:
    """Centres [count, d] by some rounds of k-means over a sample; where they lie only decides how fast this is."""
    step = max(1, len(short) // (32 * count))
    sample = short[::step][: 64 * count].astype(np.float32)
    centres = sample[:: max(1, len(sample) // count)][:count].copy()
    for _ in range(6):
        nearest = _squares(sample, centres).argmin(axis=1)
        for cell in range(len(centres)):
            members = sample[nearest == cell]
            if len(members):
                centres[cell] = members.mean(axis=0)
    return centres


def _squares(rows: Vectors, centres: Vectors) -> Vectors:
    """Squared distances, shape (rows, centres)."""
    products = rows @ centres.T
    found: Vectors = (rows**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1)[None, :] - 2 * products
    return found
