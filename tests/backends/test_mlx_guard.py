"""The memory guard, fed with measurements: it starts small, grows while there is room, gives way before there is none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localsynth.backends.mlx.guard import MemoryGuard

GB = 10**9
AIR = {"limit": 9 * GB, "base": 5 * GB, "row": GB // 4, "most": 32}


def busy(guard: MemoryGuard, each: int, base: int = 5 * GB) -> int:
    """Let all rows run and measure, until nothing changes."""
    for _ in range(50):
        before = guard.rows
        guard.measured(base + guard.rows * each, guard.rows)
        if guard.rows == before:
            break
    return guard.rows


def test_it_starts_at_few_rows_and_doubles_up_to_what_fits() -> None:
    guard = MemoryGuard(**AIR)
    assert guard.rows == 4
    guard.measured(5 * GB + 4 * GB // 10, 4)
    assert guard.rows == 8
    # 90 % of the limit leaves 3.1 GB, which are 12 full rows, though these are still short.
    assert busy(guard, GB // 10) == 12


def test_rows_that_take_more_than_their_cache_are_counted_as_measured() -> None:
    assert busy(MemoryGuard(**AIR), GB // 2) == 6


def test_it_does_not_grow_while_rows_stand_idle() -> None:
    guard = MemoryGuard(**AIR)
    guard.measured(5 * GB, 2)
    assert guard.rows == 4


def test_too_high_a_peak_takes_rows_away_and_that_many_never_come_back() -> None:
    guard = MemoryGuard(**AIR | {"row": 0})
    assert busy(guard, GB // 20) == 32
    guard.measured(9 * GB + 1, 32)
    assert guard.rows == 24
    assert busy(guard, GB // 20) == 31


def test_one_row_is_always_left() -> None:
    guard = MemoryGuard(limit=GB, base=2 * GB, row=GB, most=8)
    assert guard.rows == 1
    guard.measured(3 * GB, 1)
    assert guard.rows == 1


@given(
    limit=st.integers(1, 100),
    base=st.integers(0, 100),
    row=st.integers(0, 20),
    most=st.integers(1, 64),
    seen=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 64))),
)
def test_there_is_always_one_row_and_never_more_than_asked_for(limit, base, row, most, seen) -> None:
    guard = MemoryGuard(limit=limit, base=base, row=row, most=most)
    for peak, live in seen:
        before = guard.rows
        guard.measured(peak, min(live, guard.rows))
        assert 1 <= guard.rows <= most
        if peak > limit:
            assert guard.rows <= max(1, before - 1)
