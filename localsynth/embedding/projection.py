"""From vectors to the plane: principal components, fitted once on a sample and applied to rows as they come.

A map that jumps while rows come in cannot be read. So the same rows give the same basis in whatever order they came,
signs are fixed, and a basis that is fitted anew on more rows is turned to lie as the one before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Ids = NDArray[np.int64]

FIT_ROWS: Final = 8192
_BLOCK: Final = 4096
_MIX: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass(frozen=True, slots=True)
class Projection:
    """A point of the plane for each vector: (vector - mean) @ basis, [dim] and [dim, 2]; `rows` it was fitted on."""

    mean: Vectors
    basis: Vectors
    rows: int

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return len(self.mean)

    def apply(self, vectors: NDArray[np.floating]) -> Vectors:
        """Points [n, 2] of rows [n, dim]; nan where a row is not finite."""
        points = np.empty((len(vectors), 2), np.float32)
        for start in range(0, len(vectors), _BLOCK):
            rows = vectors[start : start + _BLOCK].astype(np.float32)
            with np.errstate(invalid="ignore", over="ignore"):
                points[start : start + _BLOCK] = (rows - self.mean) @ self.basis
        points[~np.isfinite(points).all(axis=1)] = np.nan
        return points

    def turned_to(self, other: Projection) -> Projection:
        """The same plane, turned and mirrored so that points lie as near as can be to where `other` puts them."""
        left, _, right = np.linalg.svd(self.basis.T.astype(np.float64) @ other.basis.astype(np.float64))
        return Projection(self.mean, (self.basis @ (left @ right)).astype(np.float32), self.rows)


def spread(ids: Ids, count: int) -> Ids:
    """`count` of these ids, sorted: the same ones in whatever order they come, and most stay when ids are added."""
    if len(ids) <= count:
        return np.sort(ids)
    hashes = ids.astype(np.uint64)
    for factor in _MIX:  # mixed as splitmix64 does; it wraps, as hashes do
        hashes = (hashes ^ (hashes >> np.uint64(30))) * factor
    order = np.lexsort((ids, hashes ^ (hashes >> np.uint64(31))))
    return np.sort(ids[order[:count]])


def fit(ids: Ids, vectors: NDArray[np.floating]) -> Projection:
    """The two directions in which these rows [n, dim] differ most. Rows that are not finite are left out."""
    rows = vectors[np.argsort(ids, kind="stable")].astype(np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    mean = rows.mean(axis=0) if len(rows) else np.zeros(vectors.shape[1])
    # Single precision halves the time, and what is lost lies below the rounding of stored vectors.
    centred = (rows - mean).astype(np.float32)
    _, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    basis = directions[:, ::-1][:, :2]
    # A direction has no sign of its own: its largest number is made positive.
    largest = basis[np.abs(basis).argmax(axis=0), np.arange(basis.shape[1])]
    basis = np.where(largest < 0, -basis, basis)
    basis = np.pad(basis, ((0, 0), (0, 2 - basis.shape[1])))
    return Projection(mean.astype(np.float32), np.ascontiguousarray(basis, np.float32), len(rows))
