"""What a run notes of its pace: totals over all its processes, in few rows however long it takes."""

from __future__ import annotations

import itertools
from dataclasses import asdict

import pytest

from localsynth.engine.pacing import Pacer, pace_from
from localsynth.engine.stats import Stats
from localsynth.events import Pace

WEEK = 7 * 24 * 3600


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def pacer(clock: Clock, before: Pace | None = None) -> Pacer:
    return Pacer(Stats(clock=clock), 4, before or Pace())


def test_a_week_leaves_some_hundred_rows_that_lie_closest_at_the_start() -> None:
    clock = Clock()
    made, said = pacer(clock), []
    while clock.now < WEEK:
        made.look(2, resting=False)
        said += filter(None, [made.due()])
        clock.now += 0.25 if clock.now < 100 else 7
    assert 400 < len(said) < 500
    gaps = [after.seconds - before.seconds for before, after in itertools.pairwise(said)]
    assert gaps[0] == pytest.approx(2)
    assert max(gaps) < WEEK / 45
    assert said[-1].slot_seconds == pytest.approx(2 * said[-1].seconds)


def test_totals_go_on_where_the_process_before_left_them() -> None:
    clock = Clock()
    before = Pace(
        seconds=100.0, kept=9, tokens=700, tokens_saved=20, slots=4, slot_seconds=50.0, compared=30, duplicates=3
    )
    made = pacer(clock, before)
    made.stats.kept = 9  # the store says how many are kept, and a review may have changed that
    first = made.due()
    assert first is not None
    assert (first.seconds, first.kept, first.tokens, first.duplicates) == (100.0, 9, 700, 3)
    clock.now += 10
    made.stats.add_tokens(50)
    made.stats.keep(1, "q", "a")
    made.stats.corpus(duplicate=True)
    made.look(3, resting=False)
    total = made.total
    assert (total.seconds, total.slot_seconds) == (110.0, 80.0)
    assert (total.kept, total.tokens, total.compared, total.duplicates) == (10, 750, 31, 4)
    assert made.due() == total
    assert made.due() is None


def test_a_pause_is_no_time_once_nothing_is_in_flight() -> None:
    clock = Clock()
    made = pacer(clock)
    clock.now += 5
    made.look(2, resting=True)
    clock.now += 1000
    made.look(0, resting=True)
    clock.now += 1
    made.look(0, resting=False)
    assert made.total.seconds == 6


def test_a_pace_is_read_whatever_else_is_there() -> None:
    pace = Pace(12.5, 3, 4, {"loops": 1}, 99)
    assert pace_from({**asdict(pace), "shard": 2, "new": 1}) == pace
    assert pace_from(None) == pace_from("odd") == Pace()
