"""Nearest neighbours by exact comparison: numpy, blocks of half floats, no other library.

Up to some hundred thousand rows a matrix product beats building an approximate index, and its result is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

_BLOCK_ROWS: Final = 4096
_BATCH_ROWS: Final = 1024
_NONE: Final = -1


@dataclass(frozen=True, slots=True)
class Match:
    """The nearest row before this one and its cosine similarity; `neighbour` None where there was none to compare.

    `admitted`: the row was added, as it is below the threshold.
    """

    neighbour: int | None
    similarity: float
    admitted: bool


class NearestIndex:
    """Unit vectors under integer ids. Holds `2 * dim` bytes a row; similarities are cosines, exact to about 0.0005."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._blocks: list[NDArray[np.float16]] = []
        self._ids = np.empty(0, np.int64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, ids: Sequence[int], vectors: Vectors) -> None:
        """Add unit rows, shape (n, dim). Raises ValueError where the shapes do not fit."""
        if vectors.shape != (len(ids), self.dim):
            raise ValueError(f"expected {len(ids)} rows of {self.dim}, not {vectors.shape}")
        end = self._count + len(ids)
        if end > len(self._ids):
            grown = np.empty(max(end, 2 * len(self._ids)), np.int64)
            grown[: self._count] = self._ids[: self._count]
            self._ids = grown
        self._ids[self._count : end] = ids
        start = 0
        while start < len(ids):
            used = self._count % _BLOCK_ROWS
            if used == 0 and self._count == len(self._blocks) * _BLOCK_ROWS:
                self._blocks.append(np.empty((_BLOCK_ROWS, self.dim), np.float16))
            taken = min(_BLOCK_ROWS - used, len(ids) - start)
            self._blocks[-1][used : used + taken] = vectors[start : start + taken]
            self._count += taken
            start += taken

    def nearest(self, vectors: Vectors) -> tuple[NDArray[np.int64], Vectors]:
        """The nearest id and its similarity for each row, both of shape (n,); id -1 and similarity -1 if empty."""
        ids = np.full(len(vectors), _NONE, np.int64)
        best = np.full(len(vectors), -1.0, np.float32)
        for start in range(0, len(vectors), _BATCH_ROWS):
            rows = slice(start, start + _BATCH_ROWS)
            self._nearest(vectors[rows], ids[rows], best[rows])
        return ids, best

    def _nearest(self, vectors: Vectors, ids: NDArray[np.int64], best: Vectors) -> None:
        every = np.arange(len(vectors))
        for number, block in enumerate(self._blocks):
            first = number * _BLOCK_ROWS
            used = min(_BLOCK_ROWS, self._count - first)
            similarity = vectors @ block[:used].astype(np.float32).T
            at = similarity.argmax(axis=1)
            found = similarity[every, at]
            better = found > best
            best[better] = found[better]
            ids[better] = self._ids[first + at[better]]

    def admit(self, ids: Sequence[int], vectors: Vectors, threshold: float | Vectors) -> list[Match]:
        """Judge rows in the given order and add those whose nearest earlier row is below `threshold`.

        Each row is compared with the index and with the rows of this call that were admitted before it, so the
        result is that of one call for each row. `threshold` is a cosine, for all rows or one for each.
        """
        limits = np.broadcast_to(np.asarray(threshold, np.float32), (len(ids),))
        matches: list[Match] = []
        for start in range(0, len(ids), _BATCH_ROWS):
            rows = slice(start, start + _BATCH_ROWS)
            # What is compared is what will be stored, so a row meets the same numbers in every batch.
            rounded = vectors[rows].astype(np.float16).astype(np.float32)
            matches += self._admit(ids[rows], rounded, limits[rows])
        return matches

    def _admit(self, ids: Sequence[int], vectors: Vectors, limits: Vectors) -> list[Match]:
        nearest, best = self.nearest(vectors)
        among = vectors @ vectors.T
        admitted = np.zeros(len(ids), bool)
        matches: list[Match] = []
        for row in range(len(ids)):
            neighbour, similarity = int(nearest[row]), float(best[row])
            earlier = np.where(admitted[:row], among[row, :row], -1.0)
            if row and float(earlier.max()) > similarity:
                at = int(earlier.argmax())
                neighbour, similarity = ids[at], float(earlier[at])
            admitted[row] = neighbour == _NONE or similarity < limits[row]
            known = None if neighbour == _NONE else neighbour
            matches.append(Match(known, min(1.0, similarity), bool(admitted[row])))
        kept = np.flatnonzero(admitted).tolist()
        self.add([ids[at] for at in kept], vectors[kept])
        return matches
