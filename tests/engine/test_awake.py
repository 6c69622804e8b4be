"""A long run on a laptop: kept awake by a child that dies with it, paused on a low battery, not shaken by sleep."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from processes import ask, create, end, start, until

from localsynth.config import plan_from
from localsynth.engine import awake, launch
from localsynth.engine.awake import KeepAwake, Vigil
from localsynth.engine.battery import Battery, from_pmset, from_sysfs
from localsynth.engine.context import LiveText
from localsynth.engine.monitor import Monitor
from localsynth.engine.pacing import Pacer
from localsynth.engine.scheduler import Scheduler
from localsynth.engine.stats import Stats
from localsynth.events import Event, KeptAwake, Pace, Paused, Slept
from localsynth.store import Journal, Reader, Store


class Idle:
    async def ask(self, index: int) -> bool:
        return False

    async def decide(self, indices: Sequence[int]) -> list[bool]:
        return []

    async def answer(self, index: int) -> bool:
        return False


class Laptop:
    """A monitor whose clocks and battery are ours: every round of it takes half a minute."""

    def __init__(self, path: Path) -> None:
        self.now, self.wall, self.nap, self.uncounted = 1000.0, 5000.0, 0.0, 0.0
        self.power: Battery | None = Battery(80, draining=True)
        self.said, plan = list[Event](), plan_from({"limits": {"minutes": 60}})
        with Store.open(path) as store:
            run = store.create_run(method="magpie", plan={}, seed=0, target=20)
        self.journal, self.stats = Journal(path), Stats(clock=lambda: self.now)
        self.scheduler = Scheduler(Idle(), target=20, slots=4, attempts=100)
        self.vigil = Vigil(
            KeepAwake(["there-is-no-such-tool"]), lambda: self.power, lambda: self.now, lambda: self.wall
        )
        self.monitor = Monitor(
            run=run, slots=4, plan=plan, stats=self.stats, live=LiveText(), scheduler=self.scheduler,
            journal=self.journal, say=self.said.append, cancel=lambda: None, narrate=lambda _: None,
            there=lambda: None, since="2000", pacer=Pacer(self.stats, 4, Pace()), vigil=self.vigil,
        )  # fmt: skip

    async def sleep(self, seconds: float) -> None:
        self.now += seconds + self.nap
        self.wall += seconds + self.nap + self.uncounted
        self.nap = self.uncounted = 0.0

    async def round(self, percent: float | None = None, *, draining: bool = True) -> None:
        if percent is not None:
            self.power = Battery(percent, draining)
        await self.monitor._mind_the_machine()
        self.now += 31
        self.wall += 31

    @property
    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.said]


@pytest.fixture
def laptop(tmp_path: Path):
    made = Laptop(tmp_path / "store.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(awake.asyncio, "sleep", made.sleep)
        yield made
    made.journal.close()


async def test_a_low_battery_pauses_and_power_continues(laptop: Laptop) -> None:
    for percent in (80, 16, 15, 14):
        await laptop.round(percent)
    assert laptop.scheduler.paused
    assert laptop.said[-1] == Paused("paused at 15 % battery; it goes on when the machine is on power")
    assert "14 % battery" in laptop.monitor.progress("paused").note
    before = laptop.stats.elapsed
    laptop.nap = 4000.0
    await laptop.round()
    laptop.monitor.check_limits()
    assert laptop.stats.elapsed < before + 60, "waiting for power does not count against the limit of minutes"
    assert not laptop.scheduler.draining
    await laptop.round(14, draining=False)
    assert not laptop.scheduler.paused
    assert laptop.kinds == ["KeptAwake", "Paused", "Slept", "Continued"]
    assert laptop.said[0] == KeptAwake("")
    assert laptop.monitor.progress("running").note == ""


async def test_a_person_has_the_last_word_on_a_pause(laptop: Laptop) -> None:
    for percent in (80, 10):
        await laptop.round(percent)
    laptop.monitor.obey("resume")
    for percent in (9, 8):
        await laptop.round(percent)
        assert not laptop.scheduler.paused
    await laptop.round(20, draining=False)
    await laptop.round(12)
    assert laptop.scheduler.paused, "it was on power again, so the battery counts again"
    laptop.monitor.obey("pause")
    await laptop.round(30, draining=False)
    assert laptop.scheduler.paused, "a person paused it too"
    laptop.monitor.obey("resume")
    assert not laptop.scheduler.paused


async def test_a_pause_by_a_person_is_not_ended_by_power(laptop: Laptop) -> None:
    laptop.monitor.obey("pause")
    for percent, draining in ((10, True), (10, True), (10, False)):
        await laptop.round(percent, draining=draining)
    assert laptop.scheduler.paused
    assert "Continued" not in laptop.kinds


async def test_a_machine_without_a_battery_goes_on(laptop: Laptop) -> None:
    laptop.power = None
    for _ in range(4):
        await laptop.round()
    assert laptop.kinds == ["KeptAwake"]


@pytest.mark.parametrize(("counted", "uncounted"), [(7200.0, 0.0), (0.0, 7200.0)], ids=["stopped", "asleep"])
async def test_sleep_is_no_crash_and_no_time(laptop: Laptop, counted: float, uncounted: float) -> None:
    for _ in range(10):
        laptop.now += 1
        laptop.stats.keep(1, "q", "a")
        laptop.stats.add_tokens(100)
    eta, rate, elapsed = laptop.stats.eta(10), laptop.stats.tokens_per_second, laptop.stats.elapsed
    laptop.nap, laptop.uncounted = counted, uncounted
    slept, in_figures = await laptop.vigil.rest(0.25)
    laptop.stats.skip(in_figures)
    assert slept == pytest.approx(7200)
    assert laptop.stats.elapsed == pytest.approx(elapsed + 0.25)
    assert laptop.stats.tokens_per_second == pytest.approx(rate, rel=0.05)
    assert laptop.stats.eta(10) == pytest.approx(eta, rel=0.05)
    laptop.nap, laptop.uncounted = counted, uncounted
    await laptop.monitor._mind_the_machine()
    assert laptop.said == [Slept(7200.0)]
    laptop.monitor.check_limits()
    assert not laptop.scheduler.draining, "the limit of 60 minutes is of the time that it ran"


async def test_a_busy_loop_is_not_asleep(laptop: Laptop) -> None:
    laptop.nap = 20.0
    assert await laptop.vigil.rest(0.25) == (0.0, 0.0)
    laptop.uncounted = -4000.0  # somebody set the clock back
    assert await laptop.vigil.rest(0.25) == (0.0, 0.0)


def supply(folder: Path, **words: str) -> None:
    folder.mkdir(parents=True)
    for name, word in words.items():
        (folder / name).write_text(word + "\n")


def test_linux_batteries(tmp_path: Path) -> None:
    assert from_sysfs(tmp_path / "none") is None
    supply(tmp_path / "AC", type="Mains", online="0")
    supply(tmp_path / "hidpp_battery_0", type="Battery", scope="Device", capacity="3", status="Discharging")
    assert from_sysfs(tmp_path) is None
    supply(tmp_path / "BAT0", type="Battery", capacity="40", status="Not charging")
    assert from_sysfs(tmp_path) == Battery(40, draining=False)
    supply(tmp_path / "BAT1", type="Battery", capacity="10", status="Discharging")
    assert from_sysfs(tmp_path) == Battery(25, draining=True)
    supply(tmp_path / "BAT2", type="Battery", capacity="unknown")
    assert from_sysfs(tmp_path) == Battery(25, draining=True)


@pytest.mark.parametrize(
    ("said", "battery"),
    [
        ("Now drawing from 'Battery Power'\n -InternalBattery-0 (id=1)\t83%; discharging; 3:42 remaining present: true",
         Battery(83, draining=True)),
        ("Now drawing from 'AC Power'\n -InternalBattery-0 (id=1)\t9%; charging; 1:02 remaining present: true",
         Battery(9, draining=False)),
        ("Now drawing from 'AC Power'\n", None),
        ("", None),
    ],
)  # fmt: skip
def test_mac_batteries(said: str, battery: Battery | None) -> None:
    assert from_pmset(said) == battery


def test_the_tool_holds_until_it_is_told_and_an_absent_one_is_no_matter(tmp_path: Path) -> None:
    keep = KeepAwake(["sh", "-c", f"echo > '{tmp_path}/up'; exec cat"])
    assert keep.tool == ""
    keep.start()
    until((tmp_path / "up").exists, "the tool runs")
    assert keep.tool == "sh"
    keep.stop()
    assert keep.tool == ""
    keep.stop()
    absent = KeepAwake(["there-is-no-such-tool"])
    absent.start()
    assert absent.tool == ""


@pytest.mark.skipif(sys.platform != "linux", reason="systemd-inhibit is of Linux")
def test_the_child_dies_with_a_run_that_is_killed(tmp_path: Path) -> None:
    """The real command line, with a stand-in for the tool that runs what it is given."""
    tool = tmp_path / "systemd-inhibit"
    tool.write_text(f'#!/bin/sh\necho $$ > {tmp_path}/pid\nfor last; do :; done\nexec "$last"\n')
    tool.chmod(0o755)
    source = (
        "from localsynth.engine.awake import KeepAwake; import time\n"
        "keep = KeepAwake(); keep.start(); print(keep.tool, flush=True); time.sleep(600)"
    )
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, env=env) as run:
        assert run.stdout is not None
        assert run.stdout.readline().strip() == "systemd-inhibit"
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip(), "the tool runs")
        child = int((tmp_path / "pid").read_text())
        assert Path(f"/proc/{child}").exists()
        run.kill()
        run.wait()
    until(lambda: _gone(child), "the child ends with the run")


def _gone(pid: int) -> bool:
    """A zombie is gone: in a container there may be no init that collects it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_stopped_process_is_not_taken_for_a_dead_one(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    run = create(store, target=200)
    process = start("run", run, "--store", store, faults={"DELAY": 0.005})
    until(lambda: ask(store, "SELECT count(*) FROM samples WHERE state = 'done'"), "a sample is done")
    os.kill(process.pid, signal.SIGSTOP)
    with Reader.open(store) as reader:
        assert launch.true_state(store, reader.run(run)) == "running"
    os.kill(process.pid, signal.SIGCONT)
    process.send_signal(signal.SIGINT)
    code, _, err = end(process)
    assert code == 6, err


async def test_the_watch_lets_the_machine_sleep_again_when_it_ends(tmp_path: Path, monkeypatch) -> None:
    laptop, stopped = Laptop(tmp_path / "store.db"), []
    monkeypatch.setattr(KeepAwake, "stop", lambda self: stopped.append(self))  # noqa: PLW0108 - a bound method takes no self
    watching = asyncio.create_task(laptop.monitor.watch())
    await laptop.journal.flush()
    watching.cancel()
    await asyncio.wait([watching])
    assert stopped == [laptop.vigil.keep]
    laptop.journal.close()


def test_a_mac_is_kept_awake_for_as_long_as_our_process_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awake.sys, "platform", "darwin")
    assert KeepAwake()._command == ["caffeinate", "-i", "-w", str(os.getpid())]
