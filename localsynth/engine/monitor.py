"""The run's ear and mouth: four times a second it takes controls and writes the progress row; it watches limits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial

from localsynth.config import Plan
from localsynth.engine.awake import Vigil
from localsynth.engine.bounds import Bounds
from localsynth.engine.context import LiveText
from localsynth.engine.fitness import too_low
from localsynth.engine.pacing import Pacer
from localsynth.engine.saturation import saturation
from localsynth.engine.scheduler import Scheduler
from localsynth.engine.stats import Stats
from localsynth.events import Continued, Draining, Event, Paused, Progress, Slept
from localsynth.store.encode import now
from localsynth.store.journal import Journal
from localsynth.store.rows import Control
from localsynth.store.store import Store

PERIOD = 0.25
_NARRATE_EVERY = 5.0
_FITNESS_TURNS = 64
STOPPED = "it was told to stop"
_EXCERPT = 600


@dataclass(slots=True)
class Monitor:
    """Watches one run. `cancel` ends it at once; `reason` says why it was told to end, "" when it was not.

    `bounds` learns of thresholds that are put in force in the store. `there` raises StoreError when the store is gone;
    controls left before `since` (UTC, ISO 8601) do not count.
    """

    run: str
    slots: int
    plan: Plan
    stats: Stats
    live: LiveText
    scheduler: Scheduler
    journal: Journal
    say: Callable[[Event], None]
    cancel: Callable[[], object]
    narrate: Callable[[Progress], None]
    there: Callable[[], None]
    since: str
    pacer: Pacer
    reason: str = ""
    cancelled: bool = False
    vigil: Vigil = field(default_factory=Vigil)
    bounds: Bounds = field(default_factory=Bounds)
    _sparing: bool = False
    _narrated: float = field(default_factory=time.monotonic)

    async def watch(self) -> None:
        """Go on until cancelled. An error of the store ends the run."""
        try:
            await self._watch()
        finally:
            self.vigil.keep.stop()

    async def _watch(self) -> None:
        while True:
            self.pacer.look(self._slots_used, resting=self.scheduler.paused)
            if pace := self.pacer.due():
                self.say(pace)
            # The figures belong to this loop: the writer's thread gets them as plain data.
            told = partial(self._exchange, asdict(self.progress(self._state)))
            for control in await self.journal.call(told):
                self.obey(control.verb)
            self.check_limits()
            if time.monotonic() >= self._narrated + _NARRATE_EVERY:
                self._narrated = time.monotonic()
                self.narrate(self.progress(self._state))
            await self._mind_the_machine()

    async def _mind_the_machine(self) -> None:
        """Rest until the next round; spare a low battery, and leave out of every figure what was slept through."""
        started = self.vigil.monotonic()
        slept, counted = await self.vigil.rest(PERIOD)
        if self._sparing and not (self.scheduler.asking or self.scheduler.answering):
            counted = self.vigil.monotonic() - started  # nothing was under way: waiting for power is no time of the run
        self.stats.skip(counted)
        if slept:
            self.say(Slept(round(slept, 1)))
        if told := await self.vigil.look():
            self.say(told)
        if self.vigil.pausing and not self.scheduler.paused:
            self._sparing = True
            self.scheduler.pause(True)
            self.say(Paused(self.vigil.note))
        elif self._sparing and not self.vigil.pausing:
            self._continue()

    def _continue(self) -> None:
        self._sparing = False
        self.scheduler.pause(False)
        self.say(Continued())

    def obey(self, verb: str) -> None:
        """Carry out one control verb."""
        if verb == "pause" and not self.scheduler.paused:
            self.scheduler.pause(True)
            self.say(Paused())
        elif verb == "pause":
            self._sparing = False  # from now on a person's pause: power alone does not end it
        elif verb == "resume" and self.scheduler.paused:
            self.vigil.overrule()
            self._continue()
        elif verb == "drain":
            self.drain(STOPPED)
        elif verb == "cancel":
            self.reason, self.cancelled = self.reason or STOPPED, True
            self.cancel()

    def drain(self, reason: str) -> None:
        """Admit nothing more; the first reason stays."""
        if not self.scheduler.draining:
            self.reason = reason
            self.scheduler.drain()
            self.say(Draining(reason))

    def progress(self, state: str) -> Progress:
        """Where the run stands now."""
        stats, scheduler = self.stats, self.scheduler
        eta = stats.eta(self.plan.target - scheduler.kept)
        return Progress(
            state=state,
            kept=scheduler.kept,
            target=self.plan.target,
            asked=stats.asked,
            rejected=dict(stats.rejected),
            failed=stats.failed,
            answering=scheduler.answering,
            waiting=len(scheduler.ready),
            slots=self.slots,
            slots_used=self._slots_used,
            tokens=stats.tokens,
            tokens_per_second=round(stats.tokens_per_second, 1),
            tokens_saved=stats.tokens_saved,
            duplicate_rate=stats.duplicate_rate,
            elapsed=round(stats.elapsed, 1),
            eta_low=eta[0] if eta else None,
            eta_high=eta[1] if eta else None,
            live=self.live.text[-_EXCERPT:],
            last_instruction=stats.last_instruction[:_EXCERPT],
            last_response=stats.last_response[:_EXCERPT],
            note=self.reason or self._alarm,
            latest=tuple(stats.latest),
            pace=self.pacer.total,
        )

    @property
    def _slots_used(self) -> int:
        return min(self.slots, self.scheduler.answering + self.scheduler.asking)

    @property
    def _alarm(self) -> str:
        """What a person should know of a run that goes on."""
        if self._sparing:
            return self.vigil.note
        if self.stats.retrying:
            return self.stats.retrying
        return saturation(self.stats.duplicate_rate, self.plan)

    def _exchange(self, progress: Mapping[str, object], store: Store) -> list[Control]:
        self.there()
        store.set_progress(self.run, progress)
        store.update_run(self.run, heartbeat=now(), state="paused" if progress["state"] == "paused" else "running")
        self.bounds.take(store.thresholds())
        # What was left for a process that has gone is no word to this one.
        return [control for control in store.take_controls(self.run) if control.created >= self.since]

    @property
    def _state(self) -> str:
        return "paused" if self.scheduler.paused else "draining" if self.scheduler.draining else "running"

    def check_limits(self) -> None:
        """Drain when a limit is reached."""
        limits, stats = self.plan.limits, self.stats
        if limits.minutes and stats.elapsed >= 60 * limits.minutes:
            self.drain(f"the limit of {limits.minutes:g} minutes is reached")
        if limits.tokens and stats.tokens >= limits.tokens:
            self.drain(f"the limit of {limits.tokens} tokens is reached")
        if self._unfit():
            self.drain(
                f"only {stats.usable} of {stats.tried} questions are usable: ask `localsynth doctor` why, "
                "or go on with `localsynth resume --force`"
            )

    def _unfit(self) -> bool:
        if self.plan.method != "magpie" or self.plan.force or self.stats.tried < _FITNESS_TURNS:
            return False
        return too_low(self.stats.usable, self.stats.tried)
