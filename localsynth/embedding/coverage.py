"""How much of one set lies where another has rows: the figures under the map, both ways and at equal counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

GRID: Final = 32  # cells on each side of the rectangle around both sets
NEAR: Final = 0.8  # cosine from which a row counts as reached
ROWS: Final = 4096  # of each set at the most: their product takes a second
_BLOCK: Final = 1024


@dataclass(frozen=True, slots=True)
class Reach:
    """How far one set reaches into another.

    `cells`: share of the other's cells of the map in which it has a row. `near`: share of the other's rows within
    cosine NEAR of one of its rows. `distance`: median cosine distance (0 to 2) from the other's rows to its nearest.
    """

    cells: float
    near: float
    distance: float


def reach(points: Vectors, vectors: Vectors, other_points: Vectors, other_vectors: Vectors) -> Reach:
    """How far the first set reaches into the other: points [n, 2] and vectors [n, dim], finite; neither set empty."""
    low = np.minimum(points.min(axis=0), other_points.min(axis=0))
    size = np.maximum(points.max(axis=0), other_points.max(axis=0)) - low
    there = np.unique(_cells(other_points, low, size))
    cells = np.isin(there, _cells(points, low, size)).mean()
    nearest = _nearest(_unit(vectors), _unit(other_vectors))
    # Half floats round by less than this: a row's own twin is near it whatever the limit.
    near = (nearest >= NEAR - 1e-3).mean()
    return Reach(float(cells), float(near), float(np.median(np.maximum(0.0, 1 - nearest))))


def _cells(points: Vectors, low: Vectors, size: Vectors) -> NDArray[np.int64]:
    places = np.minimum(((points - low) / np.maximum(size, 1e-12) * GRID).astype(np.int64), GRID - 1)
    return np.asarray(places[:, 0] * GRID + places[:, 1], np.int64)


def _unit(vectors: Vectors) -> Vectors:
    wide = vectors.astype(np.float32)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-9), np.float32)


def _nearest(vectors: Vectors, others: Vectors) -> Vectors:
    """The highest cosine of each of the others with any of the vectors, [n]."""
    best = np.empty(len(others), np.float32)
    for start in range(0, len(others), _BLOCK):
        best[start : start + _BLOCK] = (others[start : start + _BLOCK] @ vectors.T).max(axis=1)
    return best
