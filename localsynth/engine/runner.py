"""One run = one process: lock, models, resume, control, heartbeat, and an end that is always written down."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from localsynth.config import Plan, plan_from
from localsynth.engine.agreement import check_agreement
from localsynth.engine.bounds import Bounds
from localsynth.engine.context import LiveText, Services
from localsynth.engine.corpus import Corpus, SharedKeys
from localsynth.engine.launch import newest, refuse_handed
from localsynth.engine.lock import hold, presence
from localsynth.engine.monitor import STOPPED, Monitor
from localsynth.engine.pacing import Pacer
from localsynth.engine.pipeline import Methods, Pipeline
from localsynth.engine.resume import ResumePoint, resume_point
from localsynth.engine.roles import Roles
from localsynth.engine.scheduler import Scheduler
from localsynth.engine.sources import prompt_method
from localsynth.engine.stats import Stats
from localsynth.engine.turns import Cleaner
from localsynth.errors import LocalsynthError
from localsynth.events import Event, Progress, RunEnded, RunStarted
from localsynth.methods.responses.plain import Plain
from localsynth.records import RunState
from localsynth.store.encode import now
from localsynth.store.journal import Journal
from localsynth.store.queries import Reader
from localsynth.store.rows import EventRow, RunRow, ShardRow

Narrator = Callable[[RunRow, Progress], None]
_WHOLE = ShardRow("", 1, 1, "", 0, 0)  # a run that is not shared asks every index


@dataclass(frozen=True, slots=True)
class Shard:
    """What a shard of a packed job has beside its store: what is known elsewhere, who hears of other models, and the
    keys that it shares with shards that run now, where it does."""

    known: Path | None
    notice: Callable[[str], None]
    shared: SharedKeys | None = None


def run(
    store: Path, name: str | None, narrate: Narrator | None = None, shard: Shard | None = None
) -> tuple[RunState, str]:
    """Carry a run out in this process, from wherever it stands; its state at the end, and why it is not finished.

    StoreBusy when another live process is at work on this store. Any other LocalsynthError is written into the run
    before it is raised. `narrate` is called with the progress every few seconds. SIGINT and SIGTERM drain the run, a
    second one cancels it; nothing committed is lost.
    """
    since = now()
    row = newest(store, name)
    if shard is None:
        refuse_handed(store, row.id)
    with hold(store, row.id):
        return asyncio.run(_Runner(store, row, narrate, since, shard).run())


class _Runner:
    def __init__(self, store: Path, row: RunRow, narrate: Narrator | None, since: str, shard: Shard | None) -> None:
        self._shard, self._part = shard, _WHOLE
        self._store, self._run, self._row, self._narrate, self._since = store, row.id, row, narrate, since
        self._journal = Journal(store)
        self._on_signal: Callable[[], object] = _ignore

    async def run(self) -> tuple[RunState, str]:
        with self._signals():
            return await self._guarded()

    async def _guarded(self) -> tuple[RunState, str]:
        try:
            try:
                state, reason = await self._begin()
            except asyncio.CancelledError:  # by a signal, before there was anything to drain
                state, reason = "stopped", STOPPED
            self._on_signal = _ignore
            await self._end(state, reason)
        except BaseException as error:
            with contextlib.suppress(LocalsynthError):
                await self._end("failed", _one_line(error))
            raise
        else:
            return state, reason
        finally:
            # The error that ended the run is being raised already; a broken store must not hide it.
            with contextlib.suppress(LocalsynthError):
                await asyncio.to_thread(self._journal.close)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop, main = asyncio.get_running_loop(), asyncio.current_task()
        assert main is not None
        self._on_signal = main.cancel
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _signalled(self) -> None:
        self._on_signal()

    async def _begin(self) -> tuple[RunState, str]:
        await self._update(state="running", pid=os.getpid(), host=socket.gethostname(), started=now(), error=None)
        with Reader.open(self._store) as reader:
            plan = plan_from(reader.run(self._run).plan)
            if self._shard is not None:
                self._part = reader.shards(self._run)[0]
            point = resume_point(reader, self._run, plan, self._part.indices)
        return await self._generate(plan, point)

    async def _generate(self, plan: Plan, point: ResumePoint) -> tuple[RunState, str]:
        if point.kept >= plan.target:
            return "finished", ""
        roles = Roles(plan)
        try:
            await roles.open()
            if self._shard is not None:
                check_agreement(self._part.expected, plan, roles, self._shard.notice)
            await self._note_models(roles, point)
            return await self._schedule(plan, point, roles)
        finally:
            await roles.aclose()

    async def _schedule(self, plan: Plan, point: ResumePoint, roles: Roles) -> tuple[RunState, str]:
        stats = Stats(kept=point.kept, asked=point.asked)
        stats.rejected.update(point.rejected)
        live = LiveText()
        bounds = Bounds(plan.thresholds, self._row.created)
        bounds.take(await self._journal.call(lambda store: store.thresholds()))
        services = Services(plan, roles, stats, live, self._say)
        pipeline = Pipeline(
            run=self._run,
            services=services,
            methods=Methods(prompt_method(plan), Plain()),
            corpus=self._corpus(plan, bounds),
            cleaner=Cleaner(roles.control_strings(), plan.language, bounds),
            journal=self._journal,
            say=self._say,
            attempts=point.attempts,
            open=dict(point.open),
        )
        scheduler = Scheduler(
            pipeline,
            target=plan.target,
            slots=roles.slots,
            attempts=max(plan.attempts(), point.next_index),
            kept=point.kept,
            ready=point.ready,
            undecided=point.undecided,
            next_index=point.next_index,
            step=self._part.indices.step,
        )
        # It begins at the next await: the monitor is in place by then.
        work = asyncio.create_task(scheduler.run())
        monitor = Monitor(
            run=self._run,
            slots=roles.slots,
            plan=plan,
            stats=stats,
            live=live,
            scheduler=scheduler,
            journal=self._journal,
            say=self._say,
            cancel=work.cancel,
            narrate=self._say_progress,
            there=presence(self._store),
            since=self._since,
            bounds=bounds,
            pacer=Pacer(stats, roles.slots, point.pace),
        )
        scheduler.admitting = monitor.check_limits
        return await self._watch(work, monitor, scheduler)

    def _corpus(self, plan: Plan, bounds: Bounds) -> Corpus:
        if self._shard is None:
            return Corpus(self._store, plan.gate, bounds=bounds)
        return Corpus(self._store, plan.gate, self._shard.known, self._shard.shared, bounds)

    async def _watch(self, work: asyncio.Task[None], monitor: Monitor, scheduler: Scheduler) -> tuple[RunState, str]:
        self._on_signal = lambda: monitor.obey("cancel" if scheduler.draining else "drain")
        watching = asyncio.create_task(monitor.watch())
        try:
            await asyncio.wait([work, watching], return_when=asyncio.FIRST_COMPLETED)
            if watching.done():  # only an error ends it
                work.cancel()
                await asyncio.wait([work])
                watching.result()
            if not monitor.cancelled:
                _unwrap(work)
        finally:
            self._on_signal = _ignore
            watching.cancel()
            await asyncio.wait([watching])
        state, reason = _outcome(monitor, scheduler)
        monitor.reason = reason
        monitor.pacer.look(0, resting=False)
        await self._journal.call(lambda store: store.set_progress(self._run, asdict(monitor.progress(state))))
        self._say(monitor.pacer.total)
        self._say(RunEnded(state, scheduler.kept, reason))
        return state, reason

    async def _note_models(self, roles: Roles, point: ResumePoint) -> None:
        infos = roles.infos()
        main = infos.get("ask") or infos["answer"]
        await self._update(
            backend=main.name,
            model=main.model,
            revision=main.revision,
            sha256=main.sha256,
            template_hash=roles.format("ask" if "ask" in infos else "answer", None).template_hash,
            versions={
                role: {
                    "backend": f"{info.name} {info.version}",
                    "model": info.model,
                    "file": info.file,
                    "sha256": info.sha256,
                    "quantisation": info.quantisation,
                    "exact_replay": info.exact_replay,
                }
                for role, info in infos.items()
            },
        )
        resumed = len(point.ready) + len(point.undecided)
        self._say(RunStarted({role: info.model for role, info in infos.items()}, roles.slots, os.getpid(), resumed))

    async def _end(self, state: RunState, reason: str) -> None:
        error = reason if state == "failed" else None
        await self._update(state=state, error=error, finished=now(), pid=None)

    async def _update(self, **columns: object) -> None:
        await self._journal.call(lambda store: store.update_run(self._run, **columns))

    def _say_progress(self, progress: Progress) -> None:
        if self._narrate is not None:
            self._narrate(self._row, progress)

    def _say(self, event: Event) -> None:
        self._journal.put(EventRow(self._run, type(event).__name__, asdict(event)))


def _outcome(monitor: Monitor, scheduler: Scheduler) -> tuple[RunState, str]:
    plan = monitor.plan
    if scheduler.kept >= plan.target:
        return "finished", ""
    if monitor.reason:
        return "stopped", monitor.reason
    if monitor.stats.failed:
        return "stopped", f"{monitor.stats.failed} samples failed, and a resume tries them again"
    if scheduler.ended:
        return "finished", "every imported instruction is used"
    return "stopped", f"the limit of {plan.attempts()} questions is reached"


def _ignore() -> None:
    """What a signal does when nothing is left to be stopped."""


def _unwrap(work: asyncio.Task[None]) -> None:
    """Raise the first error of a task group as itself: there is one cause, however many workers met it."""
    try:
        work.result()
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


def _one_line(error: BaseException) -> str:
    if isinstance(error, LocalsynthError):
        return f"{error.message} ({error.hint})" if error.hint else error.message
    return f"{type(error).__name__}: {error}"
