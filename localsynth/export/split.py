"""Train, valid and test parts that share no near-duplicates."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from typing import Literal

Part = Literal["train", "valid", "test"]
_SHARE = 0.1  # of the rows, for valid and for test each
_WANTED = 4  # rows that mlx-lm's default batch needs in each of them


class Clusters:
    """Union-find: what is linked, directly or through others, ends in one cluster."""

    def __init__(self) -> None:
        self._parents: dict[Hashable, Hashable] = {}

    def find(self, item: Hashable) -> Hashable:
        """The item that stands for the cluster of `item`."""
        path = []
        while (above := self._parents.get(item, item)) != item:
            path.append(item)
            item = above
        for passed in path:  # the next look-up takes one step
            self._parents[passed] = item
        return item

    def link(self, one: Hashable, other: Hashable) -> None:
        """Put two items into one cluster."""
        self._parents[self.find(one)] = self.find(other)


def text_key(text: str) -> str:
    """The same for instructions that differ in case and blanks only."""
    return hashlib.sha256(" ".join(text.split()).casefold().encode()).hexdigest()


def assign(clusters: Sequence[tuple[str, int]]) -> list[Part]:
    """The part of each cluster (stable key, rows), by the hash of its key, so that new rows move few old ones.

    From twelve rows on, valid and test are filled up to four each. A cluster larger than one part's share is taken out
    of train only when the part would stay empty. Two clusters make a train and a valid part, three make all parts.
    """
    total = sum(rows for _, rows in clusters)
    large = max(1, round(total * _SHARE))
    wanted = _WANTED if total >= 3 * _WANTED else 1
    draws = [int(hashlib.sha256(key.encode()).hexdigest()[:13], 16) / 16**13 for key, _ in clusters]
    order = sorted(range(len(clusters)), key=lambda i: (clusters[i][1] > large, draws[i]))
    parts: list[Part] = ["train"] * len(clusters)
    part: Part
    for part, limit, left in (("valid", _SHARE, min(2, len(clusters) - 1)), ("test", 2 * _SHARE, 1)):
        held = 0
        while len(order) > left:
            rows = clusters[order[0]][1]
            if held and (rows > large or (held >= wanted and draws[order[0]] >= limit)):
                break
            parts[order.pop(0)] = part
            held += rows
    return parts
