"""The monitor on real processes: one that the command line started, killed in the middle, taken up again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import create, start
from textual.pilot import Pilot
from tui_stage import press, settle, shown

from localsynth.engine import launch
from localsynth.store import Reader
from localsynth.tui.app import LocalsynthApp


async def until(pilot: Pilot[None], question: Callable[[], object]) -> None:
    async with asyncio.timeout(120):
        while not question():
            await pilot.pause(0.05)
    await settle(pilot)


def state(app: LocalsynthApp) -> str:
    """Of the run on the screen."""
    view = app.screen.run_in_hand
    return view.state if view else ""


def words(app: LocalsynthApp) -> str:
    return " ".join(shown(app).split())


@pytest.mark.slow
async def test_a_run_of_the_command_line_is_killed_and_taken_up_again(path: Path) -> None:
    run = create(path, target=60)
    process = start("run", run, "--store", path, faults={"DELAY": 0.01})
    app = LocalsynthApp(path)
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            await press(pilot, "3")
            await until(pilot, lambda: state(app) == "running" and app.screen.run_in_hand.progress.kept > 3)
            assert "Being written" in shown(app)
            assert "of 4 " in words(app)
            process.kill()
            process.wait()
            await until(pilot, lambda: state(app) == "died")
            assert "Its process is gone; nothing that was stored is lost. Press s to go on." in words(app)
            assert "It left no word: it was killed" in words(app)
            before = app.screen._watched.history.last
            await press(pilot, "s")
            await until(pilot, lambda: state(app) == "finished" and not app.launcher.starting())
            assert "60/60 kept 100 %" in words(app)
            assert "no history" not in shown(app)
            after = app.screen._watched.history.last
    finally:
        process.kill()
        process.communicate()
    assert before.tokens > 0
    assert after.tokens > before.tokens
    assert after.seconds >= before.seconds
    with Reader.open(path) as reader:
        assert reader.counts(run).kept == 60
        assert len(reader.events(run, kind="Pace")) >= 3  # at both starts, and at the end


@pytest.mark.slow
async def test_a_run_of_the_command_line_is_paused_resumed_and_stopped(path: Path) -> None:
    run = create(path, target=100_000)
    process = start("run", run, "--store", path, faults={"DELAY": 0.005})
    app = LocalsynthApp(path)
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            await press(pilot, "3")
            await until(pilot, lambda: state(app) == "running")
            await press(pilot, "p")
            await until(pilot, lambda: state(app) == "paused")
            assert "Press s to go on." in words(app)
            await press(pilot, "s")
            await until(pilot, lambda: state(app) == "running")
            await press(pilot, "x", "y")
            await until(pilot, lambda: process.poll() is not None)
            await until(pilot, lambda: state(app) == "stopped")
            assert "It was told to stop." in words(app)
    finally:
        process.kill()
        process.communicate()
    assert not launch.alive(path, run)
