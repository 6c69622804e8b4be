"""Every key that the shards of a job hold: who was first, in 12 bytes a key and the text itself."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localsynth.handoff.cluster.minhash import Hashes, jaccard, near_limit, shingles
from localsynth.records import sample_place

_RECENT = 1 << 17  # keys in a dictionary before they become a sorted array


@dataclass(frozen=True, slots=True)
class Entry:
    """One admitted instruction: its sample, its normalised text, and its keys.

    `keys`: 64-bit numbers, little-endian: the exact key, then the bands, none where near duplicates are allowed.
    """

    sample: int
    text: str
    keys: bytes


@dataclass(frozen=True, slots=True)
class Held:
    """What holds an entry already: a sample, and the Jaccard similarity, 1.0 for the same normalised text."""

    sample: int
    similarity: float


class KeyIndex:
    """Entries in the order in which they came. The first one holds; a sample never stands in its own way."""

    def __init__(self) -> None:
        self._samples = array("q")
        self._ends = array("Q")
        self._texts = bytearray()
        self._keys = KeyTable()

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def nbytes(self) -> int:
        """Memory of the texts and the keys."""
        return len(self._texts) + 16 * len(self._samples) + self._keys.nbytes

    def claim(self, entries: Sequence[Entry]) -> list[Held | None]:
        """In the order given: what holds each entry; one that nothing holds is taken in, and counts for the next."""
        return [self._claim(entry) for entry in entries]

    def _claim(self, entry: Entry) -> Held | None:
        keys = np.frombuffer(entry.keys, "<u8")
        rows = self._keys.find(keys)
        mine = sample_place(entry.sample)[:2]
        others = [row for row in rows if sample_place(self._samples[row])[:2] != mine]
        if others:
            runs, limit = shingles(entry.text), near_limit(entry.text)
            for row in others:
                text = self._text(row)
                similarity = 1.0 if text == entry.text else jaccard(runs, shingles(text))
                if similarity == 1.0 or (len(keys) > 1 and similarity >= limit):
                    return Held(self._samples[row], similarity)
        if not any(self._text(row) == entry.text for row in rows):
            self._add(entry, keys)
        return None

    def _add(self, entry: Entry, keys: Hashes) -> None:
        self._keys.add(len(self._samples), keys)
        self._samples.append(entry.sample)
        self._texts += entry.text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._texts))

    def _text(self, row: int) -> str:
        start = self._ends[row - 1] if row else 0
        return self._texts[start : self._ends[row]].decode("utf-8", "surrogatepass")


class KeyTable:
    """Which rows have a key. New ones stand in a dictionary, then in sorted arrays that are merged as they grow."""

    def __init__(self) -> None:
        self._recent: dict[int, list[int]] = {}
        self._count = 0
        self._sorted: list[tuple[Hashes, NDArray[np.uint32]]] = []

    @property
    def nbytes(self) -> int:
        """Memory of the sorted arrays, which hold all but the last keys."""
        return sum(keys.nbytes + rows.nbytes for keys, rows in self._sorted)

    def add(self, row: int, keys: Hashes) -> None:
        """Note that a row (below 2**32) has these keys."""
        for key in keys.tolist():
            self._recent.setdefault(key, []).append(row)
        self._count += len(keys)
        if self._count >= _RECENT:
            self._settle()

    def find(self, keys: Hashes) -> list[int]:
        """The rows that have at least one of the keys, ascending."""
        found: set[int] = set()
        for key in keys.tolist():
            found.update(self._recent.get(key, ()))
        for known, rows in self._sorted:
            first, last = np.searchsorted(known, keys, "left"), np.searchsorted(known, keys, "right")
            for hit in np.flatnonzero(first < last).tolist():
                found.update(rows[first[hit] : last[hit]].tolist())
        return sorted(found)

    def _settle(self) -> None:
        """Sort what is new; arrays of like length become one, so that there are few whatever the number of keys."""
        pairs = [(key, row) for key, rows in self._recent.items() for row in rows]
        self._recent, self._count = {}, 0
        fresh = np.array([key for key, _ in pairs], np.uint64), np.array([row for _, row in pairs], np.uint32)
        self._sorted.append(_sorted(*fresh))
        while len(self._sorted) > 1 and 2 * len(self._sorted[-1][0]) > len(self._sorted[-2][0]):
            (keys, rows), (last_keys, last_rows) = self._sorted[-2:]
            merged = np.concatenate((keys, last_keys)), np.concatenate((rows, last_rows))
            self._sorted[-2:] = [_sorted(*merged)]


def _sorted(keys: Hashes, rows: NDArray[np.uint32]) -> tuple[Hashes, NDArray[np.uint32]]:
    order = np.argsort(keys, kind="stable")
    return keys[order], rows[order]
