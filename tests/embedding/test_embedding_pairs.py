"""Near pairs among many vectors: none lost against a comparison of each with each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localsynth.embedding import pairs
from localsynth.embedding.pairs import NearPairs


def lumpy(count: int, dim: int, seed: int, twins: float) -> np.ndarray:
    """Unit rows with falling variances, a share of them turned a little away from another row."""
    dice = np.random.default_rng(seed)
    scale = np.arange(1, dim + 1) ** -0.6
    found = dice.normal(size=(count, dim)) * scale + dice.normal(size=(5, dim))[dice.integers(5, size=count)] * scale
    some = int(count * twins)
    found[count - some :] = found[:some] + dice.normal(size=(some, dim)) * scale * dice.uniform(0, 0.3, size=(some, 1))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16)


def brute(vectors: np.ndarray, floor: float, new: np.ndarray, part: np.ndarray) -> set[tuple[int, int]]:
    wide = vectors.astype(np.float64)
    one, other = np.nonzero(np.triu(wide @ wide.T >= floor, 1))
    wanted = (part[one] != part[other]) & (new[one] | new[other])
    return set(zip(one[wanted].tolist(), other[wanted].tolist(), strict=True))


def found(vectors: np.ndarray, floor: float, new: np.ndarray, part: np.ndarray) -> list[tuple[int, int]]:
    near = NearPairs(floor)
    for start in range(0, len(vectors), 300):
        near.add(vectors[start : start + 300])
    return [
        pair for one, other in near.candidates(new, part) for pair in zip(one.tolist(), other.tolist(), strict=True)
    ]


@settings(max_examples=15, deadline=None)
@given(
    count=st.integers(0, 400), dim=st.sampled_from([2, 40, 384]), seed=st.integers(0, 99),
    floor=st.sampled_from([0.5, 0.9, 0.975, 1.0]), share=st.floats(0, 1),
)  # fmt: skip
def test_no_near_pair_is_lost(count: int, dim: int, seed: int, floor: float, share: float) -> None:
    vectors = lumpy(count, dim, seed, 0.3)
    dice = np.random.default_rng(seed)
    new, part = dice.random(count) < share, dice.integers(0, 3, count)
    with pytest.MonkeyPatch.context() as patch:
        # Many cells, and more than one block in each.
        patch.setattr(pairs, "_ROWS_PER_CELL", 40)
        patch.setattr(pairs, "_BLOCK", 64)
        patch.setattr(pairs, "_FIT_ROWS", 200)
        pairs_found = found(vectors, floor, new, part)
    assert len(pairs_found) == len(set(pairs_found))
    assert all(one < other and part[one] != part[other] for one, other in pairs_found)
    assert brute(vectors, floor, new, part) <= set(pairs_found)


def test_few_far_pairs_are_left_for_the_caller_to_look_at() -> None:
    vectors = lumpy(3000, 384, 3, 0.05)
    new, part = np.ones(3000, bool), np.arange(3000) % 8
    assert len(found(vectors, 0.975, new, part)) < 3 * len(brute(vectors, 0.975, new, part)) + 100


def test_rows_that_are_not_new_are_not_compared_again(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = lumpy(3000, 64, 5, 0.05)
    new, part = np.zeros(3000, bool), np.arange(3000) % 8
    new[::300] = True
    compared, compare = [], NearPairs._compare

    def counted(self, short, first, second):
        compared.append(len(first) * len(second))
        return compare(self, short, first, second)

    monkeypatch.setattr(NearPairs, "_compare", counted)
    assert brute(vectors, 0.9, new, part) <= set(found(vectors, 0.9, new, part))
    assert sum(compared) <= 10 * 3000
