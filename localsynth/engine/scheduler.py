"""Who works on which sample next: workers, waves, the exact target and the drain.

The instructions that get an answer are always the shortest prefix, in index order, of those that passed the gate with
which the target is reached. So what is kept depends neither on arrival order nor on the number of slots, and nothing
in flight has to be dropped at the end, which would favour short answers.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from localsynth.methods.base import Exhausted

_MAX_OPEN_WAVES = 3
_WAVE_GROWTH = 10


class Work(Protocol):
    """What is done with one index. Errors that concern one sample only are handled inside and return False."""

    async def ask(self, index: int) -> bool:
        """Get the instruction; True when it passed the rules that need no other sample. None exists: Exhausted."""
        ...

    async def decide(self, indices: Sequence[int]) -> list[bool]:
        """Apply the corpus rules to instructions in index order; True for those that may be answered."""
        ...

    async def answer(self, index: int) -> bool:
        """Finish the sample; True when it is kept."""
        ...


@dataclass(slots=True)
class _Wave:
    pending: deque[int]
    asking: int = 0
    passed: list[int] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return not self.pending and not self.asking


class _Rate:
    """A share estimated from what was seen, starting from a guess worth five observations."""

    def __init__(self, guess: float) -> None:
        self._good, self._all = 5 * guess, 5.0

    def add(self, good: int, total: int) -> None:
        self._good, self._all = self._good + good, self._all + total

    @property
    def value(self) -> float:
        return self._good / self._all


class Scheduler:
    """Runs Work over indices until `target` samples are kept, `attempts` indices are used up, or it is told to end.

    `slots` is what the backend runs at the same time. `kept`, `ready` and `undecided` continue an earlier process;
    `next_index` is the first index that no process has touched. `admitting`, where it is set, is called before anything
    is started and may drain.
    """

    def __init__(
        self,
        work: Work,
        *,
        target: int,
        slots: int,
        attempts: int,
        kept: int = 0,
        ready: Iterable[int] = (),
        undecided: Sequence[int] = (),
        next_index: int = 0,
        step: int = 1,
    ) -> None:
        self._work, self._target, self._slots, self._attempts = work, target, slots, attempts
        self.admitting: Callable[[], None] | None = None
        self.kept, self.answering, self.asking = kept, 0, 0
        self.ready: deque[int] = deque(ready)
        self.paused = self.draining = self.ended = False
        self._waves: deque[_Wave] = deque([_Wave(deque(undecided))] if undecided else [])
        self._next, self._step = next_index, step
        self._opened = 0
        self._pass_rate, self._answer_rate = _Rate(0.7), _Rate(0.9)
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Return when the target is kept, or when draining or out of indices with nothing left in flight.

        Cancelling it cancels what is in flight. An error of Work ends everything and is raised.
        """
        # A few more workers than slots keep the backend's own queue filled between two of its steps.
        workers = self._slots + max(2, self._slots // 4)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._decider(), name="decider")
            for number in range(workers):
                group.create_task(self._worker(), name=f"worker-{number}")

    def drain(self) -> None:
        """Admit nothing more; what is in flight is finished."""
        self.draining = True
        self._wake()

    def pause(self, paused: bool) -> None:
        """Start nothing while paused; what is in flight is finished."""
        self.paused = paused
        self._wake()

    @property
    def exhausted(self) -> bool:
        """Whether no index is left to ask."""
        return self._next >= self._attempts

    async def _worker(self) -> None:
        while not self._over():
            job = None if self.paused else self._take()
            if job is None:
                await self._changed.wait()
            else:
                await job
                self._wake()

    async def _decider(self) -> None:
        while not self._over():
            if not (self._waves and self._waves[0].complete):
                await self._changed.wait()
                continue
            wave = self._waves[0]
            passed = sorted(wave.passed)
            verdicts = await self._work.decide(passed)
            survivors = [index for index, good in zip(passed, verdicts, strict=True) if good]
            self._pass_rate.add(len(survivors) - len(passed), 0)
            self.ready.extend(survivors)
            self._waves.popleft()
            self._wake()
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _over(self) -> bool:
        if self.asking or self.answering:
            return False
        if self.kept >= self._target or self.draining:
            return True
        return self.exhausted and not self._waves and not self.ready

    def _take(self) -> Coroutine[None, None, None] | None:
        if self.admitting is not None:
            self.admitting()
        if self.draining or self.kept >= self._target:
            return None
        if self.ready and self.kept + self.answering < self._target:
            self.answering += 1
            return self._answer(self.ready.popleft())
        wave = next((wave for wave in self._waves if wave.pending), None) or self._open()
        if wave is None:
            return None
        wave.asking += 1
        self.asking += 1
        return self._ask(wave, wave.pending.popleft())

    def _open(self) -> _Wave | None:
        """Size the next wave by what is still missing and by the shares that passed so far."""
        if len(self._waves) >= _MAX_OPEN_WAVES or self.exhausted:
            return None
        coming = sum(wave.asking + len(wave.passed) for wave in self._waves) * self._pass_rate.value
        missing = (self._target - self.kept) / self._answer_rate.value - self.answering - len(self.ready) - coming
        if missing <= 0:
            return None
        cap = self._slots * min(_WAVE_GROWTH, 2**self._opened)
        wanted = min(cap, math.ceil(missing / self._pass_rate.value))
        fresh = range(self._next, self._attempts, self._step)[:wanted]
        self._next = fresh[-1] + self._step
        self._opened += 1
        wave = _Wave(deque(fresh))
        self._waves.append(wave)
        return wave

    async def _ask(self, wave: _Wave, index: int) -> None:
        try:
            good = await self._work.ask(index)
            self._pass_rate.add(int(good), 1)
            if good:
                wave.passed.append(index)
        except Exhausted:
            self.ended = True  # the source has no more; a limit of attempts leaves this False
            self._attempts = self._next = min(self._next, index)
            wave.pending.clear()
        finally:
            wave.asking -= 1
            self.asking -= 1

    async def _answer(self, index: int) -> None:
        good = False
        try:
            good = await self._work.answer(index)
            self._answer_rate.add(int(good), 1)
        finally:
            self.answering -= 1
            self.kept += int(good)
