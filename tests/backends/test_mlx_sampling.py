"""Drawing on the device: the same tokens are left as for llama.cpp, as often as they should be, by the row's own key."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mlx", reason="mlx is not installed: it is for Apple silicon and for Linux on x86-64")

import mlx.core as mx

from localsynth.backends.llamacpp.sampling import _truncate
from localsynth.backends.mlx.sampling import RowSampler
from localsynth.records import Sampling


def logits(size: int, seed: int, spread: float = 3.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, size).astype(np.float32)


def draw(sampler: RowSampler, values: np.ndarray) -> int:
    row = mx.array(values)[None]
    for process in sampler.processors:
        row = process(None, row)
    return int(sampler(row - mx.logsumexp(row, axis=-1, keepdims=True)).item())


@pytest.mark.parametrize("spread", [0.5, 3.0, 12.0])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(top_k=1),
        Sampling(top_k=40),
        Sampling(top_k=5000),
        Sampling(top_p=0.9),
        Sampling(top_p=0.2),
        Sampling(min_p=0.05),
        Sampling(top_k=50, top_p=0.8, min_p=0.1),
    ],
)
def test_truncation_leaves_what_llama_cpp_leaves(sampling: Sampling, spread: float) -> None:
    for seed in range(5):
        values = logits(800, seed, spread)
        ids, kept = RowSampler(mx, sampling, 0)._truncated(mx.array(values))
        left = {number for number, value in zip(ids.tolist(), kept.tolist(), strict=True) if value > -np.inf}
        # A sum of float32 in another order may move the edge of top-p by one.
        theirs = set(_truncate(values, values.max(), sampling).tolist())
        assert len(left ^ theirs) <= (sampling.top_p < 1)


@pytest.mark.parametrize("sampling", [Sampling(temperature=0.7), Sampling(temperature=1.3, top_p=0.999)])
def test_tokens_come_as_often_as_they_should(sampling: Sampling) -> None:
    values = logits(12, 1, 1.0)
    sampler = RowSampler(mx, sampling, 5)
    counts = np.bincount([draw(sampler, values) for _ in range(4000)], minlength=12)
    expected = np.exp(values / sampling.temperature)
    expected *= 4000 / expected.sum()
    # Five standard deviations.
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected) + 5).all()


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1])
def test_the_seed_decides_and_a_row_that_was_stopped_goes_on(seed: int) -> None:
    sampling = Sampling(temperature=1.0, repeat_penalty=1.4)
    rows = [logits(300, number) for number in range(12)]
    whole, same, other = (RowSampler(mx, sampling, number) for number in (seed, seed, seed ^ 1))
    drawn = [draw(whole, row) for row in rows]
    assert drawn == [draw(same, row) for row in rows]
    assert drawn != [draw(other, row) for row in rows]
    later = RowSampler(mx, sampling, seed, written=drawn[:7])
    assert drawn[7:] == [draw(later, row) for row in rows[7:]]


def test_avoided_ids_are_impossible_as_the_first_token_only() -> None:
    values = logits(20, 2)
    best, second = np.argsort(-values)[:2].tolist()
    greedy = RowSampler(mx, Sampling(temperature=0), 0, [best], logprobs=True)
    assert [draw(greedy, values), draw(greedy, values)] == [second, best]
    raw = values - np.log(np.exp(values).sum())
    assert [float(value.item()) for value in greedy.drawn] == pytest.approx([raw[second], raw[best]], abs=1e-5)
    assert draw(RowSampler(mx, Sampling(temperature=0), 0, [best], written=[3]), values) == best


def test_the_penalty_is_on_raw_logits_of_both_signs_and_looks_back_64_tokens() -> None:
    values = np.array([2.0, 1.9, -1.0, -1.1], np.float32)
    sampler = RowSampler(mx, Sampling(temperature=0, repeat_penalty=1.2), 0)
    assert [draw(sampler, values) for _ in range(4)] == [0, 1, 0, 0]
    values = np.array([-1.0, -1.1, -9.0], np.float32)
    sampler = RowSampler(mx, Sampling(temperature=0, repeat_penalty=1.2), 0)
    assert [draw(sampler, values) for _ in range(3)] == [0, 1, 0]
    values = np.linspace(0.1, 10, 70).astype(np.float32)
    sampler = RowSampler(mx, Sampling(temperature=0, repeat_penalty=1e9), 0)
    order = [draw(sampler, values) for _ in range(66)]
    assert order[:64] == list(range(69, 5, -1))
    assert order[64] == 5
    assert order[65] == 69  # it has left the window
