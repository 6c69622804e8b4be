"""The rows that teach most: those the classifier is least sure of, and of rows that are alike only one early."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localsynth.filters.classifier import Floats

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One row to review. `probability` that a person accepts it; `usefulness` from 1 (most) down to 0."""

    sample: int
    probability: float
    usefulness: float


class Shortlist:
    """Takes any number of rows and remembers the `room` least sure ones."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._ids: Ids = np.empty(0, dtype=np.int64)
        self._said: Floats = np.empty(0)
        self._columns: NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)

    def add(self, ids: Ids, said: Floats, columns: Floats) -> None:
        """Rows with their probabilities [n] and what the classifier saw of them [n, d]."""
        if len(self._ids) == self._room:
            near = np.flatnonzero(_doubt(said) > _doubt(self._said).min())
            ids, said, columns = ids[near], said[near], columns[near]
        if not len(ids):
            return
        before = self._columns if len(self._ids) else self._columns.reshape(0, columns.shape[1])
        ids, said = np.concatenate([self._ids, ids]), np.concatenate([self._said, said])
        both = np.concatenate([before, columns.astype(np.float32)])
        best = np.lexsort((ids, -_doubt(said)))[: self._room]
        self._ids, self._said, self._columns = ids[best], said[best], both[best]

    def best(self, count: int) -> list[Suggestion]:
        """The order to review them in, one by one the row with the most doubt that is not like one before it."""
        length = np.linalg.norm(self._columns, axis=1, keepdims=True)
        directions = self._columns / np.where(length > 0, length, 1)
        doubt = _doubt(self._said)
        likeness = np.zeros(len(doubt), dtype=np.float32)
        left = np.ones(len(doubt), dtype=bool)
        chosen: list[Suggestion] = []
        for _ in range(min(count, len(doubt))):
            value = np.where(left, doubt * (1 - likeness**2), -1.0)
            place = int(value.argmax())
            left[place] = False
            # A later row may have lost less than the ones before it; the order is what counts.
            worth = min(float(value[place]), chosen[-1].usefulness) if chosen else float(value[place])
            chosen.append(Suggestion(int(self._ids[place]), float(self._said[place]), worth))
            np.maximum(likeness, np.clip(directions @ directions[place], 0, 1), out=likeness)
        return chosen


def _doubt(said: Floats) -> Floats:
    """1 where both decisions are as likely, 0 where one is sure."""
    doubt: Floats = 1 - np.abs(2 * said - 1)
    return doubt
