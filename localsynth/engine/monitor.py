"""The run's ear and mouth: four times a second it takes controls, watches limits and writes the progress row."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from localsynth.config import Plan
from localsynth.engine.context import LiveText
from localsynth.engine.fitness import too_low
from localsynth.engine.scheduler import Scheduler
from localsynth.engine.stats import Stats
from localsynth.events import Continued, Draining, Event, Paused, Progress
from localsynth.store.encode import now
from localsynth.store.journal import Journal
from localsynth.store.rows import Control
from localsynth.store.store import Store

PERIOD = 0.25
_NARRATE_EVERY = 5.0
_FITNESS_TURNS = 64
_EXCERPT = 600


@dataclass(slots=True)
class Monitor:
    """Watches one run. `cancel` ends it at once; `reason` says why it was told to end, "" when it was not."""

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
    reason: str = ""
    cancelled: bool = False
    _narrated: float = field(default_factory=time.monotonic)

    async def watch(self) -> None:
        """Go on until cancelled. An error of the store ends the run."""
        while True:
            for control in await self.journal.call(self._exchange):
                self.obey(control.verb)
            self._check_limits()
            if time.monotonic() >= self._narrated + _NARRATE_EVERY:
                self._narrated = time.monotonic()
                self.narrate(self.progress(self._state))
            await asyncio.sleep(PERIOD)

    def obey(self, verb: str) -> None:
        """Carry out one control verb."""
        if verb == "pause" and not self.scheduler.paused:
            self.scheduler.pause(True)
            self.say(Paused())
        elif verb == "resume" and self.scheduler.paused:
            self.scheduler.pause(False)
            self.say(Continued())
        elif verb == "drain":
            self.drain("stopped")
        elif verb == "cancel":
            self.reason, self.cancelled = self.reason or "cancelled", True
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
            slots_used=min(self.slots, scheduler.answering + scheduler.asking),
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
            note=self.reason,
        )

    def _exchange(self, store: Store) -> list[Control]:
        state = self._state
        store.set_progress(self.run, asdict(self.progress(state)))
        store.update_run(self.run, heartbeat=now(), state="paused" if state == "paused" else "running")
        return store.take_controls(self.run)

    @property
    def _state(self) -> str:
        return "paused" if self.scheduler.paused else "draining" if self.scheduler.draining else "running"

    def _check_limits(self) -> None:
        limits, stats = self.plan.limits, self.stats
        if limits.minutes and stats.elapsed >= 60 * limits.minutes:
            self.drain(f"the limit of {limits.minutes:g} minutes is reached")
        if limits.tokens and stats.tokens >= limits.tokens:
            self.drain(f"the limit of {limits.tokens} tokens is reached")
        if self._unfit():
            self.drain(
                f"only {stats.usable} of {stats.asked} questions are usable: see `localsynth doctor`, or --force"
            )

    def _unfit(self) -> bool:
        if self.plan.method != "magpie" or self.plan.force or self.stats.asked < _FITNESS_TURNS:
            return False
        return too_low(self.stats.usable, self.stats.asked)
