"""What is learned from decisions: a planted rule is found, none is found in noise, and what is missing does no harm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from localsynth.filters.agreement import Agreement, agreement, wilson
from localsynth.filters.classifier import FOLDS, Features, held_out, train
from localsynth.filters.shortlist import Shortlist

DIM = 384
_BASIS = np.linalg.qr(np.random.default_rng(9).normal(size=(DIM, DIM)))[0]
_FALLING = 1 / np.sqrt(np.arange(1, DIM + 1))


def encoded(rng: np.random.Generator, count: int) -> np.ndarray:
    """Unit vectors as a sentence encoder gives them: few directions hold most of what differs."""
    vectors = (rng.normal(size=(count, DIM)) * _FALLING) @ _BASIS
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)


def table(rng: np.random.Generator, count: int) -> np.ndarray:
    """Scores as filters give them: long tails, one that is often missing, one that is always the same."""
    scores = rng.lognormal(3, 1, size=(count, 4)).astype(np.float32)
    scores[rng.random(count) < 0.4, 2] = np.nan
    scores[:, 3] = 1
    return scores


def no_vectors(scores: np.ndarray) -> Features:
    return Features(np.empty((len(scores), 0), dtype=np.float32), scores)


@pytest.mark.parametrize("count", [60, 200])
@pytest.mark.parametrize("of", ["vectors", "scores", "missing"])
def test_a_planted_rule_is_found(count: int, of: str) -> None:
    rng = np.random.default_rng(count)
    features = Features(encoded(rng, count), table(rng, count))
    accepted = {
        "vectors": features.vectors @ _BASIS[0] > 0.1,
        "scores": features.scores[:, 0] > 25,
        "missing": np.isfinite(features.scores[:, 2]),
    }[of]
    found = agreement(held_out(features, accepted), accepted)
    assert found.decisions == count
    assert found.better
    assert found.share > found.baseline + 0.1


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_random_labels_are_told(share: float) -> None:
    rng = np.random.default_rng(5)
    better = 0
    for _ in range(8):
        features = Features(encoded(rng, 60), table(rng, 60))
        accepted = rng.permutation(np.arange(60) < 60 * share)
        found = agreement(held_out(features, accepted), accepted)
        low, high = found.interval
        assert low <= found.share <= high
        better += found.better
    assert better <= 2  # one in forty, and seeds are seeds


def test_rare_rejections_with_a_reason_are_caught() -> None:
    rng = np.random.default_rng(3)
    scores = table(rng, 300)
    accepted = scores[:, 1] > np.quantile(scores[:, 1], 0.1)
    found = agreement(held_out(no_vectors(scores), accepted), accepted)
    assert (found.constant, found.rejected) == ("accept", 30)
    assert found.caught > 15
    assert found.better


def test_the_same_decisions_teach_the_same() -> None:
    rng = np.random.default_rng(1)
    features = Features(encoded(rng, 80), table(rng, 80))
    accepted = features.scores[:, 0] > 20
    said = [train(features, accepted) for _ in range(2)]
    assert np.array_equal(said[0].weights, said[1].weights)
    assert said[0].intercept == said[1].intercept


def test_rows_that_lack_everything_get_a_probability() -> None:
    rng = np.random.default_rng(2)
    features = Features(encoded(rng, 60), table(rng, 60))
    model = train(features, features.scores[:, 0] > 20)
    bare = Features(np.full((3, DIM), np.nan, np.float32), np.full((3, 4), np.nan, np.float32))
    said = model.probabilities(model.scaling.columns(bare))
    assert np.isfinite(said).all()
    assert ((said > 0) & (said < 1)).all()


_numbers = st.one_of(st.floats(width=32), st.sampled_from([0.0, 1.0, np.nan, np.inf, -np.inf, 3e38]))


@settings(max_examples=60)
@given(arrays(np.float32, (12, 3), elements=_numbers), st.lists(st.booleans(), min_size=12, max_size=12))
def test_any_scores_can_be_learned_from(scores: np.ndarray, accepted: list[bool]) -> None:
    wanted = np.array(accepted)
    wanted[:2] = True, False
    model = train(no_vectors(scores), wanted)
    said = model.probabilities(model.scaling.columns(no_vectors(scores)))
    assert np.isfinite(said).all()
    assert ((said >= 0) & (said <= 1)).all()


def test_every_decision_is_held_out_from_what_judges_it() -> None:
    # One row in the wrong: a classifier that had seen it would lean its way.
    scores = np.repeat([[0.0], [50.0]], 20, axis=0).astype(np.float32)
    accepted = scores[:, 0] > 10
    clean = held_out(no_vectors(scores), accepted)
    accepted[3] = True
    other = held_out(no_vectors(scores), accepted)
    assert other[3] == pytest.approx(clean[3], abs=0.1)
    assert other[3] < 0.3
    assert len(other) == 40
    assert FOLDS == 5


@given(st.integers(0, 400), st.integers(0, 400))
def test_the_interval_holds_the_share_and_shrinks(hits: int, misses: int) -> None:
    trials = hits + misses
    low, high = wilson(hits, trials)
    assert 0 <= low <= high <= 1
    if trials:
        assert low <= hits / trials <= high
        closer_low, closer_high = wilson(10 * hits, 10 * trials)
        assert closer_high - closer_low < high - low


def test_wilson_as_published() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    for hits, trials, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        assert wilson(hits, trials) == pytest.approx((low, high), abs=5e-5)


def test_not_better_than_always_saying_the_same() -> None:
    assert Agreement(decisions=100, accepted=90, agreed=92, caught=4).better is False
    assert Agreement(decisions=100, accepted=60, agreed=85, caught=30).better is True
    assert Agreement(decisions=60, accepted=20, agreed=40, caught=40).constant == "reject"


def shortlisted(said: np.ndarray, columns: np.ndarray, room: int, chunk: int, best: int) -> list[int]:
    shortlist = Shortlist(room)
    for start in range(0, len(said), chunk):
        part = slice(start, start + chunk)
        shortlist.add(np.arange(len(said))[part], said[part], columns[part])
    return [row.sample for row in shortlist.best(best)]


@settings(max_examples=50)
@given(st.integers(1, 60), st.integers(1, 30), st.integers(1, 20), st.integers(0, 99))
def test_chunks_do_not_matter_and_no_row_comes_twice(count: int, room: int, chunk: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    said, columns = np.round(rng.random(count), 1), rng.normal(size=(count, 3))
    rows = shortlisted(said, columns, room, chunk, count)
    assert rows == shortlisted(said, columns, room, count, count)
    assert len(set(rows)) == len(rows) == min(count, room)
    doubt = 1 - abs(2 * said - 1)
    assert doubt[rows].min() >= np.sort(doubt)[-len(rows)]
    assert doubt[rows[0]] == doubt.max()


def test_copies_of_one_row_come_late() -> None:
    rng = np.random.default_rng(8)
    columns = np.concatenate([np.repeat(rng.normal(size=(1, 20)), 30, axis=0), rng.normal(size=(20, 20))])
    said = np.concatenate([np.full(30, 0.5), np.full(20, 0.6)])
    rows = shortlisted(said, columns, 50, 50, 50)
    assert sum(row < 30 for row in rows[:21]) == 1
    assert rows[0] < 30
    shortlist = Shortlist(50)
    shortlist.add(np.arange(50), said, columns)
    worth = [row.usefulness for row in shortlist.best(50)]
    assert worth == sorted(worth, reverse=True)
