"""The sampler against llama.cpp's own chain and against the probabilities it should draw with."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localsynth.backends.llamacpp.sampling import Sampler, _truncate, logprob
from localsynth.errors import BackendError
from localsynth.records import Sampling


def logits(seed: int, size: int = 3000, spread: float = 3.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, size).astype(np.float32)


def llama_chain(values: np.ndarray, sampling: Sampling) -> list[int]:
    """The ids that llama.cpp's samplers leave, the likeliest first."""
    from localsynth.backends.llamacpp.library import library

    llama = library()
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    if sampling.top_k > 0:
        llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_top_k(sampling.top_k))
    if sampling.top_p < 1:
        llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p > 0:
        llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_min_p(sampling.min_p, 1))
    data = (llama.llama_token_data * len(values))(
        *(llama.llama_token_data(number, float(value), 0.0) for number, value in enumerate(values))
    )
    array = llama.llama_token_data_array(data, len(values), -1, False)
    llama.llama_sampler_apply(chain, ctypes.byref(array))
    left = [(array.data[at].logit, array.data[at].id) for at in range(array.size)]
    llama.llama_sampler_free(chain)
    return [number for _, number in sorted(left, key=lambda pair: -pair[0])]


@pytest.mark.parametrize("spread", [0.5, 3.0, 8.0])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(top_k=40), Sampling(top_k=2500), Sampling(top_p=0.9), Sampling(top_p=0.05), Sampling(min_p=0.05),
        Sampling(min_p=1e-6), Sampling(top_k=50, top_p=0.8), Sampling(top_k=50, top_p=0.95, min_p=0.02),
        Sampling(top_p=0.999, min_p=0.001),
    ],
)  # fmt: skip
def test_truncation_leaves_what_llama_cpp_leaves(sampling: Sampling, spread: float):
    values = logits(1, spread=spread)
    ours = _truncate(values, values.max(), sampling).tolist()
    theirs = llama_chain(values, sampling)
    # A sum of float32 in another order may move the edge of top-p by one.
    assert abs(len(ours) - len(theirs)) <= (sampling.top_p < 1)
    assert ours[: min(len(ours), len(theirs))] == theirs[: min(len(ours), len(theirs))]


@pytest.mark.parametrize("size", [5, 256, 257, 1000])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.6), Sampling(temperature=1.7, top_p=0.9)])
def test_tokens_come_as_often_as_they_should(sampling: Sampling, size: int):
    values = logits(size, size, 1.5)
    sampler, draws = Sampler(sampling, 7, ()), 20_000
    counts = np.bincount([sampler.draw(values) for _ in range(draws)], minlength=size)
    kept = _truncate(values, values.max(), sampling) if sampling.top_p < 1 else np.arange(size)
    weights = np.zeros(size)
    weights[kept] = np.exp((values[kept].astype(np.float64) - values.max()) / sampling.temperature)
    expected = draws * weights / weights.sum()
    assert counts[expected == 0].sum() == 0
    common = expected >= 5
    chi = ((counts - expected)[common] ** 2 / expected[common]).sum()
    # Chi-squared has mean k and variance 2k; five deviations.
    assert chi < common.sum() + 5 * np.sqrt(2 * common.sum())


@given(st.integers(0, 2**32 - 1), st.integers(1, 600))
def test_the_seed_alone_decides(seed: int, size: int):
    values = logits(3, size)
    one, other = Sampler(Sampling(), seed, ()), Sampler(Sampling(), seed, ())
    assert [one.draw(values) for _ in range(5)] == [other.draw(values) for _ in range(5)]


def test_avoided_ids_are_impossible_as_the_first_token_only():
    values = np.array([5.0, 4.0, 0.0, 1.0], np.float32)
    for temperature in (0.0, 1.0):
        firsts, seconds = set(), set()
        for seed in range(60):
            sampler = Sampler(Sampling(temperature=temperature), seed, (0, 1))
            firsts.add(sampler.draw(values))
            seconds.add(sampler.draw(values))
        assert firsts <= {2, 3}
        assert 0 in seconds
    assert values.tolist() == [5.0, 4.0, 0.0, 1.0]


def test_the_repetition_penalty_is_llama_cpps():
    values = np.array([3.0, 2.9, -1.0], np.float32)
    sampler = Sampler(Sampling(temperature=0, repeat_penalty=1.5), 0, ())
    # 3 / 1.5 falls below 2.9, then 2.9 / 1.5 below 2; both stay above the negative one.
    assert [sampler.draw(values) for _ in range(4)] == [0, 1, 0, 0]
    negative = np.array([-1.0, -1.2], np.float32)
    assert [Sampler(Sampling(temperature=0, repeat_penalty=1.5), 0, ()).draw(negative) for _ in range(1)] == [0]
    pair = Sampler(Sampling(temperature=0, repeat_penalty=1.5), 0, ())
    assert [pair.draw(negative), pair.draw(negative)] == [0, 1]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_an_error(bad: float):
    values = logits(1, 300)
    values[7] = bad
    with pytest.raises(BackendError, match="no probabilities"):
        Sampler(Sampling(), 0, ()).draw(values)
    with pytest.raises(BackendError, match="no probabilities"):
        Sampler(Sampling(), 0, tuple(range(300))).draw(logits(1, 300))


def test_logprobs_sum_to_one():
    values = logits(5, 700)
    assert sum(np.exp(logprob(values, token)) for token in range(700)) == pytest.approx(1.0, abs=1e-5)
