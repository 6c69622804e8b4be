from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from localsynth.embedding import coverage, projection
from localsynth.embedding.projection import Projection, fit, spread

SHAPES = st.tuples(st.integers(0, 30), st.integers(1, 8))
ROWS = arrays(np.float16, SHAPES, elements=st.floats(-1, 1, width=16))
WILD = arrays(np.float16, SHAPES, elements=st.sampled_from([0.0, 1.0, -0.5, np.nan, np.inf, -np.inf, 6e4]))


def clusters(rows: int = 200, dim: int = 16, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Three far clusters in a plane of their own, and which of them each row is of."""
    rng = np.random.default_rng(seed)
    of = rng.integers(0, 3, rows)
    centres = np.zeros((3, dim))
    centres[[0, 1, 2], [3, 7, 7]] = 2.0, 2.0, -2.0
    return (centres[of] + rng.normal(0, 0.05, (rows, dim))).astype(np.float16), of


@given(ROWS, st.randoms())
def test_the_same_rows_give_the_same_basis_in_any_order(rows: np.ndarray, random) -> None:
    ids = np.arange(len(rows), dtype=np.int64) * 16
    order = list(range(len(rows)))
    random.shuffle(order)
    one, other = fit(ids, rows), fit(ids[order], rows[order])
    assert one.basis.tobytes() == other.basis.tobytes()
    assert one.mean.tobytes() == other.mean.tobytes()
    assert one.apply(rows).tobytes() == fit(ids, rows).apply(rows).tobytes()


@given(WILD)
def test_rows_that_are_no_vectors_harm_no_others(rows: np.ndarray) -> None:
    ids = np.arange(len(rows), dtype=np.int64)
    fitted = fit(ids, rows)
    points = fitted.apply(rows)
    finite = np.isfinite(rows).all(axis=1)
    assert points.shape == (len(rows), 2)
    assert fitted.rows == finite.sum()
    assert np.isfinite(fitted.basis).all()
    assert np.isfinite(points[finite]).all()
    assert np.isnan(points[~finite]).all()


def test_a_sign_does_not_flip_and_clusters_stay_apart() -> None:
    rows, of = clusters()
    ids = np.arange(len(rows), dtype=np.int64)
    fitted = fit(ids, rows)
    assert (fitted.basis[np.abs(fitted.basis).argmax(axis=0), [0, 1]] > 0).all()
    mirrored = fit(ids, -rows)
    np.testing.assert_allclose(mirrored.basis, fitted.basis, atol=1e-6)
    points = fitted.apply(rows)
    middles = np.array([points[of == cluster].mean(axis=0) for cluster in range(3)])
    far = np.linalg.norm(points[:, None] - middles, axis=2)
    assert (far.argmin(axis=1) == of).all()


def test_a_basis_of_more_rows_is_turned_to_the_one_before() -> None:
    rows, _ = clusters(400)
    ids = np.arange(len(rows), dtype=np.int64)
    early = fit(ids[:50], rows[:50])
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]], np.float32)
    turned = Projection(early.mean, early.basis @ quarter, early.rows)
    late = fit(ids, rows).turned_to(turned)
    np.testing.assert_allclose(late.apply(rows), turned.apply(rows), atol=0.3)
    np.testing.assert_allclose(late.basis.T @ late.basis, np.eye(2), atol=1e-5)


@given(st.lists(st.integers(0, 2**63 - 1), unique=True, max_size=60), st.integers(1, 40), st.randoms())
def test_a_sample_of_ids_does_not_depend_on_their_order(numbers: list[int], count: int, random) -> None:
    chosen = spread(np.array(numbers, np.int64), count).tolist()
    random.shuffle(numbers)
    assert spread(np.array(numbers, np.int64), count).tolist() == chosen
    assert len(chosen) == min(count, len(numbers))
    assert chosen == sorted(set(chosen) & set(numbers))
    if len(numbers) > count:  # what is added takes the place of few
        less = spread(np.array(numbers[1:], np.int64), count).tolist()
        assert len(set(chosen) - set(less)) <= 1


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = clusters(100)
    fitted = fit(np.arange(100, dtype=np.int64), rows)
    whole = fitted.apply(rows)
    monkeypatch.setattr(projection, "_BLOCK", 7)
    np.testing.assert_allclose(fitted.apply(rows), whole, atol=1e-6)


def test_a_set_covers_itself_and_nothing_far_away() -> None:
    rows, of = clusters()
    points = fit(np.arange(len(rows), dtype=np.int64), rows).apply(rows)
    one, two = of == 0, of == 1
    assert coverage.reach(points, rows, points, rows) == coverage.Reach(1.0, 1.0, pytest.approx(0, abs=1e-3))
    far = coverage.reach(points[one], rows[one], points[two], rows[two])
    assert (far.cells, far.near) == (0.0, 0.0)
    assert far.distance == pytest.approx(1.0, abs=0.1)
    both = coverage.reach(points, rows, points[two], rows[two])
    assert (both.cells, both.near) == (1.0, 1.0)
    part = coverage.reach(points[two], rows[two], points, rows)
    assert part.near == pytest.approx(two.mean())
    assert 0 < part.cells < 1


def test_zero_vectors_and_one_point_have_figures() -> None:
    nothing = np.zeros((3, 4), np.float16)
    points = np.zeros((3, 2), np.float32)
    assert coverage.reach(points, nothing, points, nothing) == coverage.Reach(1.0, 0.0, 1.0)
