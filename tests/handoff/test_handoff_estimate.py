"""The paper's own bill follows from its measured runs; everything else is scaled, says so, and has a wider range."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localsynth.handoff.estimate import Job, Measured, OnGpus, gpus_needed, on_gpus, read_table

TABLE = read_table()
AIR, PRO = TABLE.measured


def exactly(tokens: float) -> tuple[float, float, float]:
    return tokens, tokens, tokens


def rebuilt(run: Measured, price: float | None = None) -> OnGpus:
    """The measured run as a job of ours: its line is the first."""
    return next(on_gpus(Job(run.pairs, exactly(run.tokens_per_pair), run.parameters), price))


@pytest.mark.parametrize(
    ("run", "gpu_hours", "dollars"), [(AIR, 206, 360), (PRO, 614, 1100)], ids=["3 million Air", "1 million Pro"]
)
def test_the_paper_s_bill_is_reproduced(run: Measured, gpu_hours: int, dollars: int) -> None:
    line = rebuilt(run)
    assert line.measured
    assert (line.gpu, line.count) == ("A100 80 GB", 4)
    assert round(line.hours[1] * line.count) == gpu_hours
    assert line.cost is not None
    assert round(line.cost[1]) == dollars
    assert "2406.08464" in line.how


def test_half_the_pairs_of_half_the_tokens_cost_a_quarter() -> None:
    whole = rebuilt(AIR, 2.0)
    job = Job(AIR.pairs // 2, exactly(AIR.tokens_per_pair / 2), AIR.parameters)
    quarter = next(on_gpus(job, 2.0))
    assert whole.cost is not None
    assert quarter.cost is not None
    assert whole.cost[1] == pytest.approx(2.0 * AIR.gpu_hours)
    assert quarter.cost[1] == pytest.approx(whole.cost[1] / 4)


@given(
    st.integers(1, 10**8),
    st.tuples(st.floats(20, 400), st.floats(400, 800), st.floats(800, 4000)),
    st.floats(0.05, 700),
)
def test_ranges_hold_their_middle_and_what_is_scaled_says_so(
    pairs: int, tokens: tuple[float, float, float], parameters: float
) -> None:
    lines = list(on_gpus(Job(pairs, tokens, parameters), 1.0))
    assert {line.gpu for line in lines} == {gpu.name for gpu in TABLE.gpus}
    assert len({(line.gpu, line.count) for line in lines}) == len(lines)
    for line in lines:
        low, middle, high = line.hours
        assert 0 < low <= middle <= high
        assert line.cost == pytest.approx([hours * line.count for hours in line.hours])
        assert line.how.startswith("measured" if line.measured else "scaled")
        assert not line.measured or line.gpu == AIR.gpu
        if not line.measured:
            assert high / low > tokens[2] / tokens[0]


def test_only_what_was_measured_has_a_price_of_its_own() -> None:
    job = Job(1000, exactly(400), AIR.parameters)
    assert [line.cost is not None for line in on_gpus(job)] == [line.measured for line in on_gpus(job)]
    assert sum(line.measured for line in on_gpus(job)) == 1


@pytest.mark.parametrize(
    ("parameters", "needed"), [(0.135, 1), (8.03, 1), (30, 1), (70.6, 4), (405, 16)], ids=lambda value: f"{value:g}"
)
def test_a_large_model_takes_as_many_gpus_as_hold_it(parameters: float, needed: int) -> None:
    a100 = TABLE.gpu("A100 80 GB")
    assert gpus_needed(parameters, a100) == needed
    assert needed * a100.memory >= 2 * parameters


def test_a_size_between_the_measured_ones_lies_between_them() -> None:
    hours = [rebuilt_for(parameters).hours[1] for parameters in (8.03, 14, 32, 70.6)]
    assert hours == sorted(hours)
    tiny = rebuilt_for(0.135)
    assert tiny.hours[2] == pytest.approx(rebuilt_for(8.03).hours[1] * 1.25), "perhaps no faster than the smallest"


def rebuilt_for(parameters: float) -> OnGpus:
    lines = on_gpus(Job(1_000_000, exactly(450), parameters), 1.0)
    return next(line for line in lines if (line.gpu, line.count) == ("A100 80 GB", 4))
