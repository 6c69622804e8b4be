"""The limit that is found by trying, alone, against simulated servers; and the gate that keeps it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import statistics
from collections.abc import Callable

import pytest

from localsynth.backends.concurrency import Concurrency, Gate
from localsynth.errors import BackendError
from localsynth.records import Completion


def drive(
    concurrency: Concurrency,
    duration: Callable[[int], float],
    requests: int,
    *,
    refuses: int = 10**9,
    start: float = 0.0,
    length: Callable[[], float] = lambda: 1.0,
) -> list[int]:
    """A server whose requests take `length() * duration(live)` seconds for ten tokens of length, and that refuses more
    than `refuses`.

    Returns the limit after each request.
    """
    now, live, limits = start, [], []
    for _ in range(requests):
        while len(live) < concurrency.limit:
            if len(live) >= refuses:
                concurrency.overloaded(now, now)
                continue
            size = length()
            heapq.heappush(live, (now + size * duration(len(live) + 1), now, size))
        now, began, size = heapq.heappop(live)
        concurrency.finished(max(1, round(10 * size)), began, now, full=True)
        limits.append(concurrency.limit)
    return limits


def test_it_grows_to_what_pays():
    # Up to 32 at once cost nothing, from there on they share.
    limits = drive(Concurrency(512, 4), lambda live: max(1.0, live / 32), 4000)
    assert 32 <= statistics.median(limits[1000:]) <= 64
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


def test_after_an_overload_it_comes_back_by_eighths_at_the_most():
    concurrency = Concurrency(64, 32)
    concurrency.overloaded(0.0, 0.0)
    limits = drive(concurrency, lambda _: 1.0, 900, start=0.5)
    steps = [(before, after) for before, after in itertools.pairwise(limits) if after > before]
    assert steps[0] == (16, 18)
    assert all(after - before == before // 8 for before, after in steps if before < 32)
    assert limits[-1] >= 32


@pytest.mark.parametrize("start", [16, 64, 128])
def test_one_overload_does_not_cap_a_server_that_sustains_all(start: int):
    concurrency = Concurrency(128, start)
    concurrency.overloaded(0.0, 0.0)
    assert max(drive(concurrency, lambda _: 1.0, 6000, start=0.5)) >= 100


@pytest.mark.parametrize("seed", range(3))
def test_random_lengths_do_not_let_it_drift(seed: int):
    dice = random.Random(seed)
    lengths = lambda: dice.lognormvariate(3, 1)  # noqa: E731 - a name for two lines
    limits = drive(Concurrency(128, 8), lambda live: max(1.0, live / 8), 20_000, length=lengths)
    assert max(limits) <= 18
    noisy = drive(
        Concurrency(128, 8), lambda live: max(1.0, live / 8) * dice.lognormvariate(0, 0.3), 20_000, length=lengths
    )
    assert max(noisy) <= 64
    assert sum(noisy[10_000:]) / 10_000 <= 24


def test_a_limit_that_has_become_too_high_comes_down_again():
    concurrency = Concurrency(128, 8)
    assert drive(concurrency, lambda _: 1.0, 2000)[-1] == 128
    assert drive(concurrency, lambda live: max(1.0, live / 16), 60_000, start=1e6)[-1] <= 40


def test_a_limit_that_was_chosen_is_not_tried_lower():
    assert set(drive(Concurrency(32, 32), lambda live: max(1.0, live / 8), 6000)) == {32}


def test_a_server_with_room_for_ten_is_used_by_five_to_ten():
    limits = drive(Concurrency(64, 8), lambda _: 1.0, 4000, refuses=10)
    assert all(5 <= limit <= 11 for limit in limits[1000:])


def test_where_places_are_free_it_learns_nothing():
    concurrency = Concurrency(64, 4)
    for second in range(100):
        concurrency.finished(10, float(second), second + 1.0, full=False)
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


async def test_the_gate_says_whether_it_was_full():
    gate, said = Gate(Concurrency(2, 2)), []
    gate.concurrency.finished = lambda *_, full: said.append(full)

    class Once:
        overloaded = False

        async def run(self) -> Completion:
            await asyncio.sleep(0)
            return Completion("text", "stop", 1, 1, 2, 0.0)

    await gate.ask(Once())
    await asyncio.gather(*(gate.ask(Once()) for _ in range(2)))
    assert said == [False, True, False]


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
