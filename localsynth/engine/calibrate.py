"""A short run in a temporary store: how fast this machine writes at several slot counts, and how much of it is kept."""

from __future__ import annotations

import asyncio
import math
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from localsynth.config import Plan
from localsynth.engine import launch
from localsynth.engine.context import LiveText, Services
from localsynth.engine.corpus import Corpus
from localsynth.engine.metering import MeteredRoles, RoleTally, Speed, Tally, by_slots, slowdown, speed_of
from localsynth.engine.pipeline import Methods, Pipeline
from localsynth.engine.scheduler import Scheduler
from localsynth.engine.sources import prompt_method
from localsynth.engine.stats import Stats
from localsynth.engine.turns import Cleaner
from localsynth.errors import BackendError
from localsynth.events import Event, WaveDecided
from localsynth.methods.base import ModelRole
from localsynth.methods.responses.plain import Plain
from localsynth.records import sample_id
from localsynth.store.journal import Journal
from localsynth.store.store import Store

_ENDLESS = 1 << 30
_TICK, _SAY_EVERY = 0.25, 5.0
# The first slot count comes again at the end: the same work, later. Slower then is heat, not longer texts.
_SHARES = (0.15, 0.2, 0.5, 0.15)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was found out. Counts are over the whole calibration; token means are None where nothing ended.

    `asked` questions were written and `usable` of them passed the local rules; `admitted` of `decided` were no
    duplicates; `answered` samples came to their end and `kept` of them passed. `slowdown`: the share of speed that was
    lost between the beginning and the end, None where it may be noise.
    """

    model: str
    backend: str
    speeds: tuple[Speed, ...]
    asked: int
    usable: int
    decided: int
    admitted: int
    answered: int
    kept: int
    questions: int
    answers: int
    question_tokens: float | None
    answer_tokens: float | None
    seconds: float
    slowdown: float | None


@dataclass(slots=True)
class _Bench:
    """Everything that the windows share."""

    plan: Plan
    roles: MeteredRoles
    pipeline: Pipeline
    say: Callable[[str], None]
    stats: Stats
    heard: list[Event]
    seconds: float = 0.0
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tallies: list[tuple[int, float, Tally]] = field(default_factory=list)

    async def windows(self, chosen: Sequence[int], seconds: float) -> None:
        """Every slot count in its turn, and the first once more; all of the time for a single one."""
        self.seconds = seconds
        plan = [*chosen, chosen[0]] if len(chosen) > 1 else list(chosen)
        shares = _SHARES if len(plan) == len(_SHARES) else [1 / len(plan)] * len(plan)
        for number, (count, share) in enumerate(zip(plan, shares, strict=True)):
            # Apart from every index of earlier windows; an imported list has only so many.
            first = self.stats.asked + (0 if self.plan.method == "imported" else number * 10_000)
            if not self.stop.is_set():
                await self.window(count, share * self.seconds, first)

    async def window(self, slots: int, seconds: float, first: int) -> None:
        """Generate for a while at one slot count; what is in flight at the end is broken off."""
        self.roles.limit, self.roles.tally = asyncio.Semaphore(slots), Tally()
        scheduler = Scheduler(self.pipeline, target=_ENDLESS, slots=slots, attempts=_ENDLESS, next_index=first)
        work = asyncio.create_task(scheduler.run())
        started = said = time.monotonic()
        try:
            while not work.done() and not self.stop.is_set() and (now := time.monotonic()) - started < seconds:
                if now - said >= _SAY_EVERY:
                    said = now
                    self._say_where(slots, now - started)
                await asyncio.wait([work], timeout=_TICK)
        finally:
            work.cancel()
            await asyncio.wait([work])
        self.tallies.append((slots, time.monotonic() - started, self.roles.tally))
        self.pipeline.open.clear()
        with suppress(asyncio.CancelledError):
            _unwrap(work)

    def _say_where(self, slots: int, elapsed: float) -> None:
        done = sum(seconds for _, seconds, _ in self.tallies) + elapsed
        per_token = max(counts.per_token for counts in self.roles.tally.roles.values())
        rate = sum(self.roles.tally.seconds.values()) / per_token / elapsed
        many = "1 slot" if slots == 1 else f"{slots} slots"
        self.say(f"{done:.0f} of {self.seconds:.0f} s: {many}, about {rate:.0f} tokens/s, {self.stats.kept} pairs kept")


async def calibrate(
    plan: Plan, seconds: float, say: Callable[[str], None], choose: Callable[[int], Sequence[int]] | None = None
) -> Calibration:
    """Generate for `seconds` in a temporary store, at the slot counts that `choose` makes of the backend's.

    Ctrl-C ends it early with what is known by then. BackendError when that is nothing; errors of models as in a run.
    """
    roles = MeteredRoles(plan)
    with tempfile.TemporaryDirectory(prefix="localsynth-") as folder:
        store = Path(folder) / "calibration.db"
        Store.open(store).close()
        journal = Journal(store)
        try:
            bench = await _bench(plan, roles, store, journal, say)
            with _interrupts(bench.stop):
                await bench.windows((choose or slot_counts)(roles.slots), seconds)
        finally:
            await roles.aclose()
            await asyncio.to_thread(journal.close)
    return _result(bench)


async def _bench(plan: Plan, roles: MeteredRoles, store: Path, journal: Journal, say: Callable[[str], None]) -> _Bench:
    """The parts of a run, opened. The encoder is loaded now, not while the model is measured."""
    run = launch.create(store, plan)
    say("loading the model")
    await roles.open()
    stats, corpus = Stats(), Corpus(store, plan.gate)
    await asyncio.to_thread(corpus.decide, [sample_id(run, _ENDLESS)], ["Is everything ready to begin?"])
    heard: list[Event] = []
    pipeline = Pipeline(
        run=run,
        services=Services(plan, roles, stats, LiveText(), lambda _: None),
        methods=Methods(prompt_method(plan), Plain()),
        corpus=corpus,
        cleaner=Cleaner(roles.control_strings(), plan.language),
        journal=journal,
        say=heard.append,
    )
    return _Bench(plan, roles, pipeline, say, stats, heard)


@contextmanager
def _interrupts(stop: asyncio.Event) -> Iterator[None]:
    """The first Ctrl-C sets `stop`; a second one interrupts as usual."""
    loop = asyncio.get_running_loop()

    def obey() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, obey)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def slot_counts(most: int) -> list[int]:
    """One, some and all: the middle is the geometric one."""
    return sorted({1, max(1, round(math.sqrt(most))), most})


def _result(bench: _Bench) -> Calibration:
    total: dict[ModelRole, RoleTally] = {"ask": RoleTally(), "answer": RoleTally()}
    for _, _, tally in bench.tallies:
        for role, counts in tally.roles.items():
            total[role].add(counts)
    speeds = tuple(speed_of(slots, seconds, tally, total) for slots, seconds, tally in bench.tallies)
    if not any(speed.tokens_per_second for speed in speeds):
        raise BackendError("nothing was written in that time", "give it more time: --seconds 300")
    stats, infos = bench.stats, bench.roles.infos()
    waves = [event for event in bench.heard if isinstance(event, WaveDecided)]
    admitted = sum(wave.passed for wave in waves)
    main = infos.get("ask") or infos["answer"]
    lost = sum(count for rule, count in stats.rejected.items() if not rule.startswith("instruction."))
    return Calibration(
        model=main.model,
        backend=f"{main.name} {main.version}",
        speeds=by_slots(speeds),
        asked=stats.tried,
        usable=stats.usable,
        decided=admitted + sum(sum(wave.rejected.values()) for wave in waves),
        admitted=admitted,
        answered=stats.kept + lost,
        kept=stats.kept,
        questions=total["ask"].requests,
        answers=total["answer"].requests,
        question_tokens=total["ask"].mean_tokens,
        answer_tokens=total["answer"].mean_tokens,
        seconds=sum(seconds for _, seconds, _ in bench.tallies),
        slowdown=slowdown(speeds),
    )


def _unwrap(work: asyncio.Task[None]) -> None:
    try:
        work.result()
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
