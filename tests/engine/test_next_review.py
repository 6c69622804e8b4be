"""Ranking on a store: what it learns from, what it looks at, and the order it leaves behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from localsynth.engine import next_review
from localsynth.engine.next_review import EACH, ENOUGH, keep_order, rank
from localsynth.errors import LocalsynthError
from localsynth.records import Embedding, Review, Sample, Score
from localsynth.store import Query, Reader, Store
from localsynth.store.scored import ScoreReader

ROWS = 300
ENCODER = "all-minilm-l6-v2"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.db"


@pytest.fixture
def vectors() -> np.ndarray:
    vectors = np.random.default_rng(4).normal(size=(ROWS, 16))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def run(path: Path, vectors: np.ndarray) -> str:
    """Rows of which every fifth has no vector; the last one is not finished."""
    with Store.open(path) as store:
        run = store.create_run(method="magpie", plan={}, seed=1, target=ROWS)
        for index in range(ROWS):
            sample = Sample(run, index, state="done" if index < ROWS - 1 else "ready")
            store.save([sample, Score(sample.id, "words", 1, float(index % 40), None)])
            if index % 5:
                store.save([Embedding(sample.id, "instruction", ENCODER, "", vectors[index].astype("<f2").tobytes())])
    return run


def decide(path: Path, run: str, accepted: dict[int, bool], batch: str | None = None) -> None:
    with Store.open(path) as store:
        store.save(
            [
                Review(Sample(run, index).id, "accept" if yes else "reject", batch=batch)
                for index, yes in accepted.items()
            ]
        )


def not_cancelled() -> bool:
    return False


def test_the_rule_a_person_follows_is_learned(path: Path, run: str, vectors: np.ndarray) -> None:
    wanted = {index: bool(vectors[index, 0] > 0) for index in range(150) if index % 5}
    decide(path, run, wanted)
    found = rank(path, run, not_cancelled)
    assert found.agreement.decisions == len(wanted)
    assert found.agreement.better
    assert found.looked_at == ROWS - 1 - len(wanted)
    ids = [row.sample for row in found.suggestions]
    assert len(set(ids)) == found.looked_at
    assert not set(ids) & {Sample(run, index).id for index in [*wanted, ROWS - 1]}
    first = [abs(vectors[(row.sample >> 4) & 0xFFFFFFFF, 0]) for row in found.suggestions[:40] if row.sample >> 4]
    assert np.mean(first) < np.abs(vectors[:, 0]).mean()
    assert found == rank(path, run, not_cancelled)


def test_its_order_is_a_score_that_only_informs(path: Path, run: str) -> None:
    decide(path, run, {index: index % 3 > 0 for index in range(60)})
    found = rank(path, run, not_cancelled)
    keep_order(path, found)
    query = Query(run, "unreviewed", order="review_next", descending=True)
    with Reader.open(path) as reader:
        listed = [sample for _, sample in reader.page(query, limit=500)]
        assert reader.sample(listed[0]).kept
        assert "probability of accept 0." in reader.sample(listed[0]).scores[-1].reason
    ranked = [row.sample for row in found.suggestions]
    worth = {row.sample: row.usefulness for row in found.suggestions}
    assert set(listed) == set(ranked)
    assert [worth[sample] for sample in listed] == [worth[sample] for sample in ranked]
    decide(path, run, {index: index % 3 > 0 for index in range(60, 90)})
    again = rank(path, run, not_cancelled)
    keep_order(path, again)
    with Reader.open(path) as reader:
        scored = [
            sample for value, sample in reader.page(Query(run, order="review_next"), limit=999) if value is not None
        ]
    assert set(scored) == {row.sample for row in again.suggestions}
    with Reader.open(path) as reader, ScoreReader(path) as scores:
        assert list(scores.spans(reader.run())) == ["words"]  # nothing to set a threshold on


def test_bulk_verdicts_teach_nothing(path: Path, run: str) -> None:
    decide(path, run, dict.fromkeys(range(60), True), batch="bulk")
    with pytest.raises(LocalsynthError, match=r"^0 decisions so far: ranking needs 50"):
        rank(path, run, not_cancelled)
    decide(path, run, {index: index % 3 > 0 for index in range(60, 120)})
    assert rank(path, run, not_cancelled).agreement.decisions == 60
    # A bulk tag repeats the verdict that a person gave: it is still that person's.
    with Store.open(path) as store:
        store.save([Review(Sample(run, 61).id, "accept", tags=("good",), batch="tags")])
    assert rank(path, run, not_cancelled).agreement.decisions == 60


def test_too_few_or_all_the_same(path: Path, run: str) -> None:
    decide(path, run, dict.fromkeys(range(ENOUGH - 1), True))
    with pytest.raises(LocalsynthError, match=r"^49 decisions so far"):
        rank(path, run, not_cancelled)
    decide(path, run, {100 + index: False for index in range(EACH - 1)})
    with pytest.raises(LocalsynthError, match=r"^4 of 53 rows rejected so far: ranking needs 5"):
        rank(path, run, not_cancelled)
    decide(path, run, {200: False})
    assert rank(path, run, not_cancelled) is not None
    assert rank(path, run, lambda: True) is None


def test_only_scores_or_only_vectors_of_another_length(path: Path, run: str) -> None:
    decide(path, run, {index: index % 40 > 12 for index in range(0, 250, 5)})
    assert rank(path, run, not_cancelled).agreement.better  # every fifth row: none has a vector
    with Store.open(path) as store:
        odd = np.ones(8, dtype="<f2").tobytes()
        store.save([Embedding(Sample(run, index).id, "instruction", ENCODER, "", odd) for index in (251, 252)])
    assert rank(path, run, not_cancelled) is not None


@pytest.mark.parametrize(("limit", "turn"), [(10, 0), (10, 3), (60, 0), (60, 7), (299, 1), (300, 0), (5000, 2)])
def test_a_bounded_part_is_spread_over_the_run(path: Path, run: str, limit: int, turn: int) -> None:
    decide(path, run, {0: True, 10: False, 20: True})
    with Reader.open(path) as reader:
        ids = reader.undecided(run, limit, turn)
        everything = set(reader.undecided(run, 5000).tolist())
    assert len(everything) == ROWS - 1 - 3
    assert sorted(set(ids.tolist())) == ids.tolist()
    assert set(ids.tolist()) <= everything
    assert 0.8 * min(limit, len(everything)) <= len(ids) <= limit
    assert max(np.diff(ids >> 4), default=0) <= 2 * max(4, ROWS // limit)


def test_another_turn_looks_at_other_rows(path: Path, run: str) -> None:
    with Reader.open(path) as reader:
        one, other = (set(reader.undecided(run, 30, turn).tolist()) for turn in (0, 1))
        assert reader.undecided(Sample("01H", 0).run, 30).tolist() == []
    assert not one & other


def test_learning_reads_no_more_than_its_pool(path: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decide(path, run, {index: index % 3 > 0 for index in range(60)})
    monkeypatch.setattr(next_review, "POOL", 40)
    assert 30 <= rank(path, run, not_cancelled).looked_at <= 40
