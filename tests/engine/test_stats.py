"""Rates over a window, the time left, what the gate saved; and that the figures are safe to write while a run works."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localsynth.engine.stats import Stats, Window


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 50)), max_size=200), st.floats(0, 30))
def test_a_window_sums_what_happened_in_it(steps: list[tuple[float, int]], after: float) -> None:
    window, at, seen = Window(10.0), 0.0, []
    for pause, count in steps:
        at += pause
        window.add(at, count)
        seen.append((at, count))
    now = at + after
    # A slice is a quarter of a second wide: what lies that near to the edge may be in or out.
    surely = sum(count for at, count in seen if at >= now - 10 + 0.25)
    at_most = sum(count for at, count in seen if at >= now - 10)
    assert surely <= window.total(now) <= at_most


def test_a_window_stays_small_whatever_the_pace() -> None:
    window = Window(20.0)
    for number in range(100_000):
        window.add(number / 1000, 1)
    assert len(window._slices) <= 20 / 0.25 + 400
    window.total(100.0)
    assert len(window._slices) <= 20 / 0.25 + 1


def test_tokens_per_second_are_of_the_last_seconds() -> None:
    clock = Clock()
    stats = Stats(clock=clock)
    assert stats.tokens_per_second == 0
    for _ in range(40):
        clock.now += 1
        stats.add_tokens(100)
    assert stats.tokens == 4000
    assert stats.tokens_per_second == pytest.approx(100, rel=0.06)
    clock.now += 60
    assert stats.tokens_per_second == 0


def test_the_time_left_is_a_range_that_narrows() -> None:
    clock = Clock()
    stats = Stats(clock=clock)
    assert stats.eta(10) is None
    widths = []
    for count in range(1, 101):
        clock.now += 1
        stats.keep(1, "q", "a")
        if count in {5, 20, 100}:
            low, high = stats.eta(60) or (0.0, 0.0)
            assert low < 60 < high
            widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
    assert stats.eta(0) == (0.0, 0.0)


def test_tokens_saved_are_the_mean_answer_for_every_refused_question() -> None:
    stats = Stats()
    stats.reject("instruction.too_short", saved=True)
    assert stats.tokens_saved == 0
    stats.answers, stats.answer_tokens = 4, 1000
    stats.reject("instruction.duplicate", saved=True)
    stats.reject("answer.cut_off", saved=False)
    assert stats.tokens_saved == 500
    assert stats.rejected == {"instruction.too_short": 1, "instruction.duplicate": 1, "answer.cut_off": 1}


def test_the_duplicate_rate_is_of_the_last_two_hundred() -> None:
    stats = Stats()
    for _ in range(19):
        stats.corpus(duplicate=True)
    assert stats.duplicate_rate is None
    stats.corpus(duplicate=True)
    assert stats.duplicate_rate == 1
    for _ in range(200):
        stats.corpus(duplicate=False)
    assert (stats.duplicate_rate, stats.duplicate_window) == (0, 200)


def test_a_resumed_run_counts_on_and_judges_the_model_afresh() -> None:
    stats = Stats(asked=40)
    stats.ask(usable=True)
    stats.ask(usable=False)
    assert (stats.asked, stats.tried, stats.usable) == (42, 2, 1)


def test_a_slow_model_has_a_time_left_too() -> None:
    clock = Clock()
    stats = Stats(clock=clock)
    for _ in range(12):
        clock.now += 100
        stats.keep(1, "q", "a")
    low, high = stats.eta(6) or (0.0, 0.0)
    assert low < 600 < high < 1200
    for _ in range(30):  # faster now: the last minutes count
        clock.now += 2
        stats.keep(1, "q", "a")
    low, high = stats.eta(60) or (0.0, 0.0)
    assert low < 220 < high
