"""The limit that is found by trying, alone, against simulated servers; and the gate that keeps it."""

from __future__ import annotations

import asyncio
import heapq
import itertools

import pytest

from localsynth.backends.concurrency import Concurrency, Gate
from localsynth.errors import BackendError


def drive(concurrency: Concurrency, duration, requests: int, *, refuses: int = 10**9, start: float = 0.0) -> list[int]:
    """A server whose requests take `duration(live)` seconds for ten tokens, and that refuses more than `refuses`.

    Returns the limit after each request.
    """
    now, live, limits = start, [], []
    for _ in range(requests):
        while len(live) < concurrency.limit:
            if len(live) >= refuses:
                concurrency.overloaded(now, now)
                continue
            heapq.heappush(live, (now + duration(len(live) + 1), now))
        now, began = heapq.heappop(live)
        concurrency.finished(10, began, now, queued=True)
        limits.append(concurrency.limit)
    return limits


def test_it_grows_to_what_pays():
    # Up to 32 at once cost nothing, from there on they share.
    limits = drive(Concurrency(512, 4), lambda live: max(1.0, live / 32), 4000)
    assert 32 <= limits[-1] <= 64
    assert max(limits) <= 96


def test_it_stays_where_more_brings_nothing():
    limits = drive(Concurrency(512, 8), float, 3000)
    assert max(limits) <= 12


def test_it_never_exceeds_the_most_and_one_is_the_least():
    assert max(drive(Concurrency(10, 100), lambda _: 1.0, 300)) == 10
    concurrency = Concurrency(8, 8)
    for second in range(10):
        concurrency.overloaded(float(second), float(second))
    assert concurrency.limit == 1


def test_overload_halves_once_for_all_that_was_sent_before():
    concurrency = Concurrency(64, 32)
    for _ in range(20):
        concurrency.overloaded(1.0, 2.0)
    assert concurrency.limit == 16
    concurrency.overloaded(3.0, 3.0)
    assert concurrency.limit == 8


def test_after_an_overload_it_comes_back_step_by_step():
    concurrency = Concurrency(64, 32)
    concurrency.overloaded(0.0, 0.0)
    limits = drive(concurrency, lambda _: 1.0, 900, start=0.5)
    assert {after - before for before, after in itertools.pairwise(limits)} <= {0, 1, -1}
    assert limits[-1] > 16


def test_a_server_with_room_for_ten_is_used_by_five_to_ten():
    limits = drive(Concurrency(64, 8), lambda _: 1.0, 4000, refuses=10)
    assert all(5 <= limit <= 11 for limit in limits[1000:])


def test_without_a_queue_it_learns_nothing():
    concurrency = Concurrency(64, 4)
    for second in range(100):
        concurrency.finished(10, float(second), second + 1.0, queued=False)
    assert concurrency.limit == 4


async def test_the_gate_lets_in_by_limit_and_in_order():
    gate, order = Gate(Concurrency(2, 2)), []

    async def one(number: int) -> None:
        await gate.enter()
        order.append(number)
        await asyncio.sleep(0)
        assert gate.inside <= 2
        gate.leave()

    await asyncio.gather(*map(one, range(7)))
    assert order == list(range(7))
    assert gate.inside == 0
    assert not gate.queued


async def test_a_cancelled_wait_leaves_nothing_behind():
    gate = Gate(Concurrency(1, 1))
    await gate.enter()
    waiting = [asyncio.create_task(gate.enter()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    gate.leave()  # gives the place to the second in the moment in which it is cancelled
    waiting[1].cancel()
    await asyncio.gather(*waiting[:2], return_exceptions=True)
    await waiting[2]
    assert gate.inside == 1
    gate.leave()
    assert gate.inside == 0


async def test_a_closed_gate_tells_all_that_wait():
    gate = Gate(Concurrency(1, 1))
    await gate.enter()
    waiting = [asyncio.create_task(gate.enter()) for _ in range(3)]
    await asyncio.sleep(0)
    gate.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(one, BackendError) for one in results)
    gate.leave()
    assert (gate.inside, gate.queued) == (0, False)
    with pytest.raises(BackendError):
        await gate.enter()
