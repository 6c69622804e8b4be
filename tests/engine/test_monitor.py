"""What a run is told and what it says: verbs, limits, an unfit model, alarms, and the thread that figures belong to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from localsynth.config import Plan, plan_from
from localsynth.config.thresholds import Threshold
from localsynth.engine.context import LiveText
from localsynth.engine.monitor import STOPPED, Monitor
from localsynth.engine.pacing import Pacer
from localsynth.engine.scheduler import Scheduler
from localsynth.engine.stats import Stats
from localsynth.errors import StoreError
from localsynth.events import Event, Pace
from localsynth.store import Journal, Reader, Store
from localsynth.store.thresholds import Change, Thresholds


class Idle:
    async def ask(self, index: int) -> bool:
        return False

    async def decide(self, indices: Sequence[int]) -> list[bool]:
        return []

    async def answer(self, index: int) -> bool:
        return False


class Stage:
    """A monitor over a real store, with a run that does nothing."""

    def __init__(self, path: Path, **plan: object) -> None:
        self.plan: Plan = plan_from(plan)
        with Store.open(path) as store:
            self.run = store.create_run(method="magpie", plan={}, seed=0, target=self.plan.target)
        self.path, self.stats, self.said, self.cancels = path, Stats(), list[Event](), 0
        self.journal = Journal(path)
        self.scheduler = Scheduler(Idle(), target=self.plan.target, slots=4, attempts=100)
        self.monitor = Monitor(
            run=self.run, slots=4, plan=self.plan, stats=self.stats, live=LiveText(), scheduler=self.scheduler,
            journal=self.journal, say=self.said.append, cancel=self._cancel, narrate=lambda _: None,
            there=lambda: None, since="2000", pacer=Pacer(self.stats, 4, Pace()),
        )  # fmt: skip

    def _cancel(self) -> None:
        self.cancels += 1


@pytest.fixture
def stage(tmp_path: Path):
    made = Stage(tmp_path / "store.db", target=20)
    yield made
    made.journal.close()


def kinds(stage: Stage) -> list[str]:
    return [type(event).__name__ for event in stage.said]


def test_verbs_are_obeyed_once(stage: Stage) -> None:
    for verb in ("pause", "pause", "resume", "resume", "drain", "drain"):
        stage.monitor.obey(verb)
    assert kinds(stage) == ["Paused", "Continued", "Draining"]
    assert stage.scheduler.draining
    assert stage.monitor.reason == STOPPED
    stage.monitor.obey("cancel")
    assert (stage.cancels, stage.monitor.cancelled) == (1, True)


@pytest.mark.parametrize(
    ("limits", "words"),
    [({"tokens": 100}, "limit of 100 tokens"), ({"minutes": 0.5}, "limit of 0.5 minutes")],
)
def test_a_limit_drains_and_says_which(tmp_path: Path, limits: dict, words: str) -> None:
    stage = Stage(tmp_path / "store.db", limits=limits)
    stage.stats.add_tokens(99)
    stage.monitor.check_limits()
    assert not stage.scheduler.draining
    stage.stats.add_tokens(1)
    stage.stats._started -= 31
    stage.monitor.check_limits()
    assert stage.scheduler.draining
    assert words in stage.monitor.reason
    stage.journal.close()


@pytest.mark.parametrize(("force", "usable", "ends"), [(False, 10, True), (True, 10, False), (False, 40, False)])
def test_a_model_that_shows_to_be_unfit_ends_the_run(tmp_path: Path, force: bool, usable: int, ends: bool) -> None:
    stage = Stage(tmp_path / "store.db", force=force)
    for number in range(64):
        stage.stats.ask(usable=number < usable)
    stage.monitor.check_limits()
    assert stage.scheduler.draining == ends
    assert ("--force" in stage.monitor.reason) == ends
    stage.journal.close()


def test_what_goes_badly_is_in_the_note(stage: Stage) -> None:
    assert stage.monitor.progress("running").note == ""
    for number in range(40):
        stage.stats.corpus(duplicate=number % 4 != 0)
    assert "75 % of the last questions were duplicates" in stage.monitor.progress("running").note
    stage.stats.retrying = "trying again in 2 s: the server is busy"
    assert stage.monitor.progress("running").note == stage.stats.retrying
    stage.stats.add_tokens(1)
    assert "duplicates" in stage.monitor.progress("running").note
    stage.monitor.obey("drain")
    assert stage.monitor.progress("draining").note == STOPPED


async def test_figures_are_read_on_the_thread_that_writes_them(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    readers, loop, looked = set(), asyncio.get_running_loop(), asyncio.Event()

    def saved(_: Stats) -> int:
        readers.add(threading.get_ident())
        loop.call_soon_threadsafe(looked.set)
        return 0

    monkeypatch.setattr(Stats, "tokens_saved", property(saved))
    watching = asyncio.create_task(stage.monitor.watch())
    await asyncio.wait_for(looked.wait(), 30)
    await stage.journal.flush()
    watching.cancel()
    assert readers == {threading.get_ident()}
    with Reader.open(stage.path) as reader:
        progress = reader.progress(stage.run)
    assert progress is not None
    assert progress.data["target"] == 20


async def test_a_store_that_is_gone_ends_the_watch(stage: Stage) -> None:
    def gone() -> None:
        raise StoreError("the store was deleted")

    stage.monitor.there = gone
    with pytest.raises(StoreError, match="deleted"):
        await stage.monitor.watch()


def test_thresholds_that_are_put_in_force_reach_the_run(stage: Stage) -> None:
    assert not stage.monitor.bounds.now
    with Thresholds(stage.path) as thresholds:
        thresholds.put([Change("words", Threshold(3))], "you")
    with Store.open(stage.path) as store:
        stage.monitor._exchange({"state": "running"}, store)
    assert stage.monitor.bounds.now == {"words": Threshold(3)}
