"""Duplicates among the shards of a job, and between them and home: found after merging, the same in whatever order.

A shard's gate knew its own rows and what home had when the job was packed. What is left are pairs from different
places. Rows are ranked: home's own first, then jobs by age, then by index; a row is a duplicate when one before it that
stands itself says the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from localsynth.config import GatePlan
from localsynth.embedding.encoders import CharNgramEncoder
from localsynth.embedding.pairs import NearPairs
from localsynth.filters.neighbours import character_threshold
from localsynth.records import Neighbour, Score, sample_id, sample_place
from localsynth.store.comparing import Comparing

EXACT, NEAR = "merge.duplicate", "merge.near_duplicate"
_VERSION: Final = 1
_CHARACTER_FLOOR: Final = 0.9
_GROUP_SHIFT, _ATTEMPT_BITS = 36, 4
_CHECKED: Final = 2048


@dataclass(frozen=True, slots=True)
class Place:
    """A run of the store: its number, and for a job that was handed over the number of its shards and its gate."""

    run: str
    number: int
    shards: int = 0
    gate: GatePlan | None = None


class Duplicates:
    """Finds and writes the scores of one merge. `places`: every run of the store."""

    def __init__(self, store: Comparing, places: Sequence[Place]) -> None:
        self._store = store
        self._places = {sample_place(sample_id(place.run, 0))[0]: place for place in places}
        jobs = sorted(place.run for place in places if place.shards)
        self._rank = {group: 1 + jobs.index(p.run) if p.shards else 0 for group, p in self._places.items()}

    def find(self, told: Callable[[], None]) -> int:
        """Compare what waits with everything, then judge anew; how many rows are duplicates. `told` is called often."""
        admitted = self._store.admitted()
        groups = admitted.samples >> _GROUP_SHIFT
        handed = np.isin(groups, [group for group, rank in self._rank.items() if rank])
        standing = ~(handed & admitted.rejected)
        samples, keys, handed = admitted.samples[standing], admitted.keys[standing], handed[standing]
        waiting = self._store.waiting()
        if len(waiting):
            new = np.isin(samples, waiting)
            self._store.add_near(self._near(samples, new, told) if new.any() else ())
        scores = self._judge(samples, keys)
        self._store.set_scores(scores)
        return len(scores)

    def _near(
        self, samples: NDArray[np.int64], new: NDArray[np.bool_], told: Callable[[], None]
    ) -> Iterator[Neighbour]:
        """Every pair of near rows with a new one in it; both rows of a pair are in `samples`, which are sorted."""
        for encoder in self._store.encoders():
            pairs, rows = NearPairs(self._floor(encoder)), []
            for ids, vectors in self._store.vectors(encoder):
                at = np.searchsorted(samples, ids)
                here = samples[np.minimum(at, len(samples) - 1)] == ids
                rows.append(at[here])
                pairs.add(vectors[here])
                told()
            place = np.concatenate(rows) if rows else np.zeros(0, np.int64)
            for one, other in pairs.candidates(new[place], self._parts(samples[place])):
                told()
                yield from self._verified(encoder, samples[place[one]], samples[place[other]])

    def _verified(self, encoder: str, one: NDArray[np.int64], other: NDArray[np.int64]) -> Iterator[Neighbour]:
        """The pairs among candidates whose cosine really reaches the limit of the later one."""
        for start in range(0, len(one), _CHECKED):
            some = slice(start, start + _CHECKED)
            first, second = one[some].tolist(), other[some].tolist()
            left = self._store.vectors_of(encoder, first).astype(np.float64)
            right = self._store.vectors_of(encoder, second).astype(np.float64)
            # In double precision and rounded: the same for a pair in whatever batch it is looked at.
            cosines = np.round((left * right).sum(axis=1), 6).tolist()
            for a, b, cosine in zip(first, second, cosines, strict=True):
                earlier, later = sorted((a, b), key=self._order)
                if cosine >= self._limit(encoder, later):
                    yield Neighbour(later, earlier, encoder, min(1.0, cosine))

    def _judge(self, samples: NDArray[np.int64], keys: NDArray[np.int64]) -> list[Score]:
        """The failing scores of all duplicates, from the pairs that are known and the keys."""
        near: dict[int, list[Neighbour]] = defaultdict(list)
        for encoder in self._store.encoders():
            for pair in self._known(encoder, samples):
                near[pair.sample].append(pair)
        order = np.argsort(keys, kind="stable")
        same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
        doubled = np.unique(np.concatenate([order[same], order[same + 1]]))
        key_of = dict(zip(samples[doubled].tolist(), keys[doubled].tolist(), strict=True))
        first: dict[int, int] = {}
        fallen: set[int] = set()
        scores: list[Score] = []
        for sample in sorted(
            {*key_of, *near, *(p.neighbour for pairs in near.values() for p in pairs)}, key=self._order
        ):
            holder = first.setdefault(key_of[sample], sample) if sample in key_of else sample
            standing = [pair for pair in near[sample] if pair.neighbour not in fallen]
            if holder != sample and self._exact(sample):
                scores.append(Score(sample, EXACT, _VERSION, 1.0, False, f"the same text as {self._name(holder)}"))
            elif standing:
                scores.append(self._near_score(max(standing, key=lambda pair: (pair.similarity, -pair.neighbour))))
                if holder == sample and sample in key_of:
                    del first[key_of[sample]]  # the next row of this text is judged by itself
            else:
                continue
            fallen.add(sample)
        return scores

    def _known(self, encoder: str, samples: NDArray[np.int64]) -> list[Neighbour]:
        """The pairs of near rows that concern rows of different places."""
        pairs = self._store.near(encoder, self._floor(encoder))
        both = np.array([(pair.sample, pair.neighbour) for pair in pairs], np.int64).reshape(-1, 2)
        parts = self._parts(both.ravel()).reshape(-1, 2)
        apart = np.isin(both, samples).all(axis=1) & (parts[:, 0] != parts[:, 1])
        found = [pairs[at] for at in np.flatnonzero(apart).tolist()]
        return [pair for pair in found if pair.similarity >= self._limit(encoder, pair.sample)]

    def _near_score(self, pair: Neighbour) -> Score:
        limit = self._limit(pair.encoder, pair.sample)
        like = f"{pair.similarity:.3f} like {self._name(pair.neighbour)}, limit {limit:.3f}, by {pair.encoder}"
        return Score(pair.sample, NEAR, _VERSION, pair.similarity, False, like)

    def _limit(self, encoder: str, sample: int) -> float:
        if encoder == CharNgramEncoder.name:
            return character_threshold(self._store.text(sample))
        gate = self._place(sample).gate
        return gate.similarity if gate else 1.0

    def _floor(self, encoder: str) -> float:
        """No pair below it is near for any row."""
        if encoder == CharNgramEncoder.name:
            return _CHARACTER_FLOOR
        return min((place.gate.similarity for place in self._places.values() if place.gate), default=1.0)

    def _exact(self, sample: int) -> bool:
        gate = self._place(sample).gate
        return gate is not None and gate.exact_duplicates

    def _place(self, sample: int) -> Place:
        return self._places[sample_place(sample)[0]]

    def _order(self, sample: int) -> tuple[int, int]:
        return self._rank[sample_place(sample)[0]], sample

    def _name(self, sample: int) -> str:
        return f"{self._place(sample).number}:{sample_place(sample)[1]}"

    def _parts(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where each row was made: 0 is home, else a number for each shard of each job."""
        groups, indices = samples >> _GROUP_SHIFT, samples >> _ATTEMPT_BITS & (1 << 32) - 1
        parts = np.zeros(len(samples), np.int64)
        for group, place in self._places.items():
            if place.shards:
                mine = groups == group
                parts[mine] = (self._rank[group] << 32) + indices[mine] % place.shards
        return parts
