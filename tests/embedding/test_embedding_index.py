"""The index against a plain loop over all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localsynth.embedding import index as module
from localsynth.embedding.index import NearestIndex


def _unit(rng: np.random.Generator, count: int, dim: int = 16) -> np.ndarray:
    rows = rng.standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_an_empty_index_has_no_neighbour() -> None:
    ids, similarity = NearestIndex(16).nearest(_unit(np.random.default_rng(0), 2))
    assert ids.tolist() == [-1, -1]
    assert similarity.tolist() == [-1.0, -1.0]


def test_neighbours_over_many_blocks_are_those_of_a_full_comparison() -> None:
    rng = np.random.default_rng(1)
    rows, queries = _unit(rng, 9000), _unit(rng, 50)
    found = NearestIndex(16)
    for start in range(0, 9000, 700):
        part = rows[start : start + 700]
        found.add([2**62 + start + at for at in range(len(part))], part)
    ids, similarity = found.nearest(queries)
    full = queries @ rows.T
    assert len(found) == 9000
    assert similarity == pytest.approx(full.max(axis=1), abs=1e-3)
    assert full[np.arange(50), ids - 2**62] == pytest.approx(full.max(axis=1), abs=1e-3)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 1 rows of 16"):
        NearestIndex(16).add([1], np.zeros((2, 16), np.float32))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_admitting_in_batches_is_admitting_one_by_one(seed: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    total = sum(sizes)
    rows = _unit(rng, total, 3)
    whole, single = NearestIndex(3), NearestIndex(3)
    batched, start = [], 0
    for size in sizes:
        batched += whole.admit(range(start, start + size), rows[start : start + size], 0.9)
        start += size
    alone = [single.admit([at], rows[at : at + 1], 0.9)[0] for at in range(total)]
    assert [match.admitted for match in batched] == [match.admitted for match in alone]
    assert [match.similarity for match in batched] == pytest.approx([match.similarity for match in alone], abs=1e-5)
    assert len(whole) == sum(match.admitted for match in batched)
    kept = rows[[match.admitted for match in batched]]
    among = kept @ kept.T - 2 * np.eye(len(kept))
    assert among.max() < 0.901


def test_a_batch_larger_than_the_inner_one_meets_its_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_ROWS", 4)
    rows = np.repeat(_unit(np.random.default_rng(2), 5), 3, axis=0)
    matches = NearestIndex(16).admit(range(15), rows, np.full(15, 0.975, np.float32))
    assert [at for at, match in enumerate(matches) if match.admitted] == [0, 3, 6, 9, 12]
    assert [match.neighbour for match in matches][1:3] == [0, 0]
    assert matches[14].neighbour == 12
