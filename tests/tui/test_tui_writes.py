"""Leaving waits for what is being written, and says what was lost."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from textual.pilot import Pilot
from tui_stage import notices, settle

from localsynth.errors import LocalsynthError, StoreError
from localsynth.tui import app as application
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.writes import Writes


async def until_left(app: LocalsynthApp, pilot: Pilot[None]) -> None:
    """Wait until the application was told to end."""
    async with asyncio.timeout(60):
        while app._exit is False:
            await pilot.pause(0.01)


async def test_leaving_waits_for_a_write_and_tells_of_its_failure(path: Path, run: str) -> None:
    go, begun = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        assert go.wait(60)
        raise StoreError("the disk is full", "free some space")

    app = LocalsynthApp(path)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        app.screen.ask("control", slow, lambda _: None, writes="the word to run 1")
        await asyncio.to_thread(begun.wait, 60)
        await pilot.press("q")
        await pilot.pause()
        assert "Leaving as soon as this is written: the word to run 1." in notices(app)
        assert app._exit is False
        go.set()
        await until_left(app, pilot)
    assert app.writes.lost == ["not done: the word to run 1: the disk is full"]
    assert app.return_code == 0


async def test_a_write_that_never_ends_keeps_nobody(path: Path, run: str, monkeypatch: object) -> None:
    monkeypatch.setattr(application, "_PATIENCE", 0.01)
    go = threading.Event()
    app = LocalsynthApp(path)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        app.screen.ask("control", lambda: go.wait(60), lambda _: None, writes="a word")
        await pilot.press("q")
        await until_left(app, pilot)
        go.set()


async def test_no_write_is_given_up_for_a_later_one_and_no_failure_of_one_is_silent(path: Path, run: str) -> None:
    first, done = threading.Event(), []

    def fails() -> None:
        assert first.wait(60)
        raise StoreError("the store is locked", "wait")

    app = LocalsynthApp(path)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        app.screen.ask("control", fails, done.append, writes="one")
        app.screen.ask("control", lambda: 2, done.append, writes="two")
        app.screen.ask("control", lambda: 3, done.append, writes="three")
        first.set()
        await settle(pilot)
        assert sorted(done) == [2, 3]
        assert any("the store is locked" in notice for notice in notices(app))
        app.screen.ask("control", fails, done.append, writes="four")
        await settle(pilot)
        assert sum("the store is locked" in notice for notice in notices(app)) == 2
    assert app.writes.lost == []


def test_only_what_fails_after_leaving_is_lost() -> None:
    writes = Writes()
    writes.begin("")
    writes.end("", LocalsynthError("reading"))
    writes.begin("a")
    writes.end("a", LocalsynthError("seen on the screen"))
    writes.begin("b")
    writes.begin("b")
    assert writes.leave() == ["b", "b"]
    writes.wait(0.01)
    writes.end("b", LocalsynthError("full"))
    writes.end("b")
    writes.wait(60)
    assert writes.lost == ["not done: b: full"]
