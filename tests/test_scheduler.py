"""The scheduler: exact target, order that does not depend on timing, drain, pause, resume."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localsynth.engine.scheduler import Scheduler
from localsynth.methods.base import Exhausted


class Fake:
    """Work whose outcomes depend on the index only and whose durations are random."""

    def __init__(self, seed: int, *, timing: int = 0, end: int = 10**9) -> None:
        self.seed, self.end = seed, end
        self.timing = random.Random(timing)
        self.asked: list[int] = []
        self.decided: list[int] = []
        self.answered: list[int] = []
        self.kept: list[int] = []
        self.busy = self.most = 0

    def luck(self, index: int, step: str) -> float:
        return random.Random(f"{self.seed}/{index}/{step}").random()

    async def _work(self) -> None:
        self.busy += 1
        self.most = max(self.most, self.busy)
        for _ in range(self.timing.randrange(6)):
            await asyncio.sleep(0)
        self.busy -= 1

    async def ask(self, index: int) -> bool:
        if index >= self.end:
            raise Exhausted
        self.asked.append(index)
        await self._work()
        return self.luck(index, "ask") < 0.8

    async def decide(self, indices: Sequence[int]) -> list[bool]:
        assert list(indices) == sorted(indices)
        assert not self.decided or not indices or indices[0] > self.decided[-1]
        self.decided += indices
        await asyncio.sleep(0)
        return [self.luck(index, "decide") < 0.9 for index in indices]

    async def answer(self, index: int) -> bool:
        self.answered.append(index)
        await self._work()
        if self.luck(index, "answer") < 0.8:
            self.kept.append(index)
            return True
        return False


@given(seed=st.integers(0, 99), target=st.integers(1, 60), slots=st.integers(1, 16), timing=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_what_is_kept_depends_on_neither_timing_nor_slots(seed: int, target: int, slots: int, timing: int) -> None:
    one, many = Fake(seed), Fake(seed, timing=timing)
    asyncio.run(Scheduler(one, target=target, slots=1, attempts=10_000).run())
    asyncio.run(Scheduler(many, target=target, slots=slots, attempts=10_000).run())
    assert sorted(many.kept) == sorted(one.kept)
    assert len(many.kept) == target
    assert sorted(many.answered) == sorted(one.answered)
    assert len(set(many.asked)) == len(many.asked)


async def test_the_first_wave_is_one_slotful_and_later_ones_grow() -> None:
    work = Fake(1)
    scheduler = Scheduler(work, target=2_000, slots=8, attempts=10**6)
    sizes = []
    opened = scheduler._open

    def watch() -> object:
        wave = opened()
        if wave is not None:
            sizes.append(len(wave.pending))
        return wave

    scheduler._open = watch  # type: ignore[method-assign, assignment]
    await scheduler.run()
    assert sizes[:4] == [8, 16, 32, 64]
    assert max(sizes) == 80


async def test_attempts_are_a_limit() -> None:
    work = Fake(1)
    scheduler = Scheduler(work, target=10_000, slots=4, attempts=100)
    await scheduler.run()
    assert sorted(work.asked) == list(range(100))
    assert scheduler.exhausted
    assert 0 < scheduler.kept < 100


async def test_a_source_that_ends_ends_the_run() -> None:
    work = Fake(1, end=37)
    scheduler = Scheduler(work, target=10_000, slots=4, attempts=10_000)
    await scheduler.run()
    assert sorted(work.asked) == list(range(37))
    assert sorted(work.answered) == [i for i in range(37) if work.luck(i, "ask") < 0.8 and work.luck(i, "decide") < 0.9]


async def test_draining_finishes_what_is_in_flight_and_starts_nothing() -> None:
    work = Fake(3)
    scheduler = Scheduler(work, target=10_000, slots=8, attempts=10**6)
    original = work.answer

    async def answer(index: int) -> bool:
        if len(work.answered) == 50:
            scheduler.drain()
        return await original(index)

    work.answer = answer  # type: ignore[method-assign]
    await scheduler.run()
    assert scheduler.answering == scheduler.asking == 0
    assert scheduler.kept == len(work.kept)
    assert 50 <= len(work.answered) <= 51 + 10


async def test_a_pause_starts_nothing_until_it_is_over() -> None:
    work = Fake(3)
    scheduler = Scheduler(work, target=50, slots=4, attempts=10**6)
    scheduler.pause(True)
    task = asyncio.create_task(scheduler.run())
    for _ in range(50):
        await asyncio.sleep(0)
    assert work.asked == []
    scheduler.pause(False)
    await task
    assert len(work.kept) == 50


@pytest.mark.parametrize("cut", [0, 1, 7, 40, 90])
async def test_a_resumed_run_ends_where_an_undisturbed_one_does(cut: int) -> None:
    whole, first, second = Fake(5), Fake(5), Fake(5)
    await Scheduler(whole, target=60, slots=4, attempts=10_000).run()
    scheduler = Scheduler(first, target=60, slots=4, attempts=10_000)
    original = first.answer

    async def answer(index: int) -> bool:
        if len(first.answered) >= cut:
            scheduler.drain()
        return await original(index)

    first.answer = answer  # type: ignore[method-assign]
    await scheduler.run()
    decided, asked = set(first.decided), set(first.asked)
    passed_locally = {i for i in asked if first.luck(i, "ask") < 0.8}
    ready = sorted(i for i in decided if first.luck(i, "decide") < 0.9 and i not in first.answered)
    top = max(asked, default=-1) + 1
    rejected = asked - passed_locally
    undecided = [i for i in range(top) if i not in decided and i not in rejected]
    second.decided = sorted(decided)
    await Scheduler(
        second,
        target=60,
        slots=4,
        attempts=10_000,
        kept=len(first.kept),
        ready=ready,
        undecided=undecided,
        next_index=top,
    ).run()
    assert sorted(first.kept + second.kept) == sorted(whole.kept)


async def test_an_error_of_the_work_ends_the_run_and_is_raised() -> None:
    work = Fake(1)

    async def answer(index: int) -> bool:
        raise RuntimeError(f"broken at {index}")

    work.answer = answer  # type: ignore[method-assign]
    with pytest.raises(ExceptionGroup) as caught:
        await Scheduler(work, target=5, slots=2, attempts=100).run()
    assert "broken at" in str(caught.value.exceptions[0])
