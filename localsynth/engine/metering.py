"""Counts what models write while they write it, so that a minute is enough even where no answer ends within it."""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from localsynth.backends.base import Backend, BackendInfo
from localsynth.config import Plan
from localsynth.engine.roles import Roles
from localsynth.methods.base import ModelRole
from localsynth.records import Completion, Request

_SLOWER, _SURE = 0.1, 2.0
_UNKNOWN_NOISE = 0.3  # of a window of a few seconds


@dataclass(slots=True)
class RoleTally:
    """One role: requests that ended, their tokens and characters; characters of those that were broken off."""

    requests: int = 0
    tokens: int = 0
    characters: int = 0
    broken_off: int = 0
    busy: float = 0.0

    def add(self, other: RoleTally) -> None:
        """Count another window in."""
        self.requests += other.requests
        self.tokens += other.tokens
        self.characters += other.characters
        self.broken_off += other.broken_off
        self.busy += other.busy

    @property
    def per_token(self) -> float:
        """Characters a token; 4, as in English, before anything ended."""
        return self.characters / self.tokens if self.tokens else 4.0

    @property
    def all_tokens(self) -> float:
        """Tokens of everything that was written, ended or not."""
        return self.tokens + self.broken_off / self.per_token

    @property
    def mean_tokens(self) -> float | None:
        """Tokens a request. What was broken off counts as far as it went: leaving it out would favour short texts.

        This is the usual estimate of a mean from cut-off observations, exact where every next token is as likely to
        be the last. None before a request ended.
        """
        return self.all_tokens / self.requests if self.requests else None


@dataclass(slots=True)
class Tally:
    """What was written in one window of time, and in which of its seconds. `clock` gives seconds."""

    clock: Callable[[], float] = time.monotonic
    roles: dict[ModelRole, RoleTally] = field(default_factory=lambda: {"ask": RoleTally(), "answer": RoleTally()})
    seconds: dict[int, int] = field(default_factory=dict)

    def hear(self, characters: int) -> None:
        """Text that came just now."""
        second = int(self.clock())
        self.seconds[second] = self.seconds.get(second, 0) + characters


class MeteredRoles(Roles):
    """The models of a plan with a meter on each; `limit` holds how many requests may run at the same time."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.tally, self.limit = Tally(), asyncio.Semaphore(1)

    def backend(self, role: ModelRole) -> Backend:
        """The backend of a role, metered."""
        return _Metered(super().backend(role), role, self)


@dataclass(frozen=True, slots=True)
class _Metered:
    inner: Backend
    role: ModelRole
    roles: MeteredRoles

    @property
    def info(self) -> BackendInfo:
        return self.inner.info

    async def open(self) -> None:
        await self.inner.open()

    async def aclose(self) -> None:
        await self.inner.aclose()

    async def generate(self, request: Request, on_text: Callable[[str], None] | None = None) -> Completion:
        tally, heard = self.roles.tally, 0

        def hear(piece: str) -> None:
            nonlocal heard
            heard += len(piece)
            tally.hear(len(piece))
            if on_text is not None:
                on_text(piece)

        async with self.roles.limit:
            counts, started = tally.roles[self.role], tally.clock()
            try:
                completion = await self.inner.generate(request, hear)
            except BaseException:
                counts.broken_off += heard
                raise
            finally:
                counts.busy += tally.clock() - started
        counts.requests += 1
        counts.tokens += completion.completion_tokens
        counts.characters += len(completion.text)
        tally.hear(max(0, len(completion.text) - heard))
        return completion


@dataclass(frozen=True, slots=True)
class Speed:
    """Measured at one slot count. `tokens_per_second` is of all slots together while all are busy.

    `noise`: its standard error, as a share. `ask_rate`, `answer_rate`: tokens a second of one slot, 0 where unknown.
    """

    slots: int
    seconds: float
    tokens_per_second: float
    noise: float
    ask_rate: float
    answer_rate: float


def speed_of(slots: int, seconds: float, tally: Tally, total: Mapping[ModelRole, RoleTally]) -> Speed:
    """From one window. Seconds of slots, not of the clock: those in which a slot waited for work do not count."""
    rates, busy, tokens = {}, 0.0, 0.0
    for role, counts in tally.roles.items():
        written = counts.tokens + counts.broken_off / total[role].per_token
        rates[role] = written / counts.busy if counts.busy else 0.0
        busy, tokens = busy + counts.busy, tokens + written
    whole = sorted(tally.seconds)[1:-1]  # the first and the last second are not whole
    counts_by_second = [tally.seconds[second] for second in whole]
    noise = _UNKNOWN_NOISE
    if len(counts_by_second) > 2 and any(counts_by_second):
        spread = statistics.stdev(counts_by_second) / statistics.mean(counts_by_second)
        noise = spread / math.sqrt(len(counts_by_second))
    rate = slots * tokens / busy if busy else 0.0
    return Speed(slots, seconds, rate, noise, rates["ask"], rates["answer"])


def by_slots(speeds: Sequence[Speed]) -> tuple[Speed, ...]:
    """One for each slot count: the later window of the same count is the warmer and the truer one."""
    return tuple({speed.slots: speed for speed in speeds if speed.tokens_per_second}.values())


def slowdown(speeds: Sequence[Speed]) -> float | None:
    """What share of its speed the first slot count has lost when it comes again, where that is more than noise."""
    first, last = speeds[0], speeds[-1]
    if len(speeds) < 2 or first.slots != last.slots or not (first.tokens_per_second and last.tokens_per_second):
        return None
    lost = 1 - last.tokens_per_second / first.tokens_per_second
    return lost if lost > max(_SLOWER, _SURE * math.hypot(first.noise, last.noise)) else None
