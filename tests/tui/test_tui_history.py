"""The history of a run: rates and shares in equal stretches, whatever the distance of what was noted."""

from __future__ import annotations

from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localsynth.events import Pace
from localsynth.tui.history import History, added, by_rule

kept, tokens = attrgetter("kept"), attrgetter("tokens")


def steady(seconds: float, *, every: float = 10, **rates: float) -> History:
    """A run whose totals grow by these rates a second."""
    marks = [every * number for number in range(1, int(seconds / every) + 1)]
    return History(tuple(Pace(mark, **{name: rate * mark for name, rate in rates.items()}) for mark in marks))


def test_a_steady_run_is_a_level_line_at_any_width() -> None:
    history = steady(1000, kept=2)
    for columns in (1, 7, 60, 333):
        assert history.rates(kept, columns) == [pytest.approx(2)] * columns


def test_a_change_is_seen_where_it_was() -> None:
    paces = [Pace(float(mark), kept=mark if mark <= 500 else 500 + 3 * (mark - 500)) for mark in range(10, 1001, 10)]
    rates = History(tuple(paces)).rates(kept, 10)
    assert rates == [pytest.approx(1)] * 5 + [pytest.approx(3)] * 5


@given(st.lists(st.tuples(st.floats(0.1, 1e5), st.integers(0, 1000)), min_size=1, max_size=50), st.integers(1, 90))
def test_rates_add_up_to_what_was_kept(steps: list[tuple[float, int]], columns: int) -> None:
    seconds, count, paces = 0.0, 0, []
    for pause, more in steps:
        seconds, count = seconds + pause, count + more
        paces.append(Pace(seconds, count))
    history = History(tuple(paces))
    rates = history.rates(kept, columns)
    assert all(rate >= 0 for rate in rates)
    if history.seconds / columns >= 20:  # no stretch is lengthened
        assert sum(rates) * history.seconds / columns == pytest.approx(count)


def test_a_share_of_few_is_no_share() -> None:
    history = steady(100, compared=1, duplicates=0.25)
    shares = history.shares(attrgetter("duplicates"), attrgetter("compared"), 50)
    assert shares[:9] == [None] * 9  # eighteen were compared
    assert shares[10:] == [pytest.approx(0.25)] * 40


def test_a_review_that_takes_back_is_no_negative_rate() -> None:
    history = History((Pace(100.0, 50), Pace(200.0, 40), Pace(300.0, 60)))
    assert history.rates(kept, 3) == [pytest.approx(0.5), 0.0, pytest.approx(0.2)]


def test_now_is_the_end_of_the_history() -> None:
    history = steady(100, kept=1)
    assert history.until(Pace(150.0, 300)).rates(kept, 3) == [pytest.approx(1), pytest.approx(1), pytest.approx(4)]
    assert history.until(Pace(99.0, 0)) is history
    assert history.until(None) is history
    empty = History()
    assert (empty.seconds, empty.last, empty.rates(kept, 3)) == (0.0, Pace(), [None] * 3)
    assert empty.shares(kept, tokens, 2) == [None, None]


def test_shards_are_added_as_if_they_began_at_once() -> None:
    one = History((Pace(100.0, 100, rejected={"loops": 10}),))
    two = History((Pace(50.0, 50, rejected={"short": 5}), Pace(200.0, 200, rejected={"short": 20, "loops": 4})))
    both = added([one, two])
    assert both.rates(kept, 2) == [pytest.approx(2, rel=0.02), pytest.approx(1, rel=0.02)]
    assert (both.seconds, both.last.kept) == (200.0, 300)
    assert both.last.rejected == {"loops": 14, "short": 20}
    assert both.rates(by_rule("short"), 1) == [pytest.approx(0.1)]
    assert added([]) == History()
