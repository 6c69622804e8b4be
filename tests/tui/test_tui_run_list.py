"""The list of runs: finding, naming, moving in hundreds of them, the first start, and stores that do not answer."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from textual.widgets import Input
from tui_stage import fill, notices, press, settle, shown

from localsynth.catalog import ResolvedModel, load
from localsynth.engine.lock import hold
from localsynth.store import Reader, Store
from localsynth.tui import controls, first_steps
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.watching import Watcher
from localsynth.tui.wording import day, short, span_of


def name(path: Path, run: str) -> str | None:
    """A run's name as the store has it."""
    with Reader.open(path) as reader:
        return reader.run(run).name


@pytest.fixture
def many(path: Path) -> list[str]:
    """Three hundred runs, the newest first."""
    with Store.open(path) as store:
        runs = [
            store.create_run(method="magpie", plan={}, seed=1, target=9, name=f"poem {n}" if n % 100 == 7 else None,
                             model=f"model-{n % 3}", state="finished")
            for n in range(300)
        ]  # fmt: skip
    return runs[::-1]


async def test_hundreds_of_runs_are_moved_in_by_the_keys_of_a_list(path: Path, many: list[str]) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        seen = []
        for keys in ("j", "G", "k", "ctrl+u", "g", "ctrl+d"):
            await press(pilot, keys)
            seen.append(many.index(app.run_id))
        half = seen[-1]
        assert seen == [1, 299, 298, 298 - half, 0, half]
        assert half > 5


async def test_runs_are_found_by_name_or_model(path: Path, many: list[str]) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "slash", *"poem", "space", *"20")
        assert isinstance(app.focused, Input)
        assert ("poem 207" in shown(app), "poem 107" in shown(app), "poem 7," in shown(app)) == (True, False, False)
        await press(pilot, "x", "p", "q")  # no key of a list while a text is typed
        assert "No run has that" in shown(app)
        await press(pilot, "backspace", "backspace", "backspace", "enter", "enter")
        assert (app.current_mode, app.run_id) == ("monitor", many[299 - 207])
        await press(pilot, "1", "escape", "G")
        assert app.run_id == many[-1]


async def test_a_run_is_named_and_its_name_taken_away(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "e", "1", "2", "enter")
        assert "a number would be taken" in shown(app)
        await press(pilot, "a", "[", "enter")
        assert name(path, run) == "12a["
        assert "12a[, starter-model" in shown(app)
        await press(pilot, "e", "x", "escape")
        assert name(path, run) == "12a["
        await press(pilot, "e", "delete", "enter")
        assert name(path, run) is None


async def test_the_first_start_names_the_models_that_there_are(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALSYNTH_MODEL", "no-such-model-anywhere")
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "Three steps" in shown(app)
        assert "no-such-model-anywhere" in shown(app)
        await press(pilot, "e", "slash", "escape")
        assert any("no run to name" in notice for notice in notices(app))
        await press(pilot, "n")
        assert app.current_mode == "new"
    assert not path.exists()


@pytest.mark.parametrize("fetched", [False, True])
async def test_the_first_run_may_take_the_model_that_fits(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, fetched: bool
) -> None:
    card = load().find("qwen3-4b-2507")
    monkeypatch.setattr(first_steps, "recommend", lambda *_, **__: [card])
    if fetched:
        monkeypatch.setattr(first_steps, "resolve", lambda _: ResolvedModel("gguf", Path("here.gguf"), card))
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        said = "is here already" if fetched else "is fetched with p there"
        assert f"press m for better data: qwen3-4b-2507 {said}" in shown(app)
        await press(pilot, "m")
        assert app.current_mode == "new"
        assert "qwen3-4b-2507" in shown(app)


async def test_a_store_that_vanishes_is_told_and_taken_up_again(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    away = path.with_name("away.db")
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "3")
        path.rename(away)
        for key in ("1", "3"):
            await press(pilot, key)
            for _ in range(2):
                app.screen.look()
                await settle(pilot)
            assert "is gone: it was deleted, moved or renamed" in " ".join(shown(app).split())
        assert "7/7 kept" in shown(app)  # what was shown stays
        away.rename(path)
        app.screen.look()
        await settle(pilot)
        assert "is gone" not in app.screen._advice
        await press(pilot, "1")
        assert "1  finished" in shown(app)


async def until(pilot, question: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not question():
            await pilot.pause(0.02)


@pytest.mark.parametrize("screen", ["1", "3"])
async def test_a_store_that_does_not_answer_is_told_once(
    path: Path, run: str, monkeypatch: pytest.MonkeyPatch, screen: str
) -> None:
    app, reading, free = LocalsynthApp(path), threading.Event(), threading.Event()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, screen)
        rightly = Reader.open

        def locked(path: Path) -> Reader:
            reading.set()
            free.wait(60)
            return rightly(path)

        monkeypatch.setattr(Reader, "open", locked)
        await until(pilot, reading.is_set)
        monkeypatch.setattr(controls, "SLOW", 0.0)
        for _ in range(4):
            app.screen.look()
        await pilot.pause()
        told, text = notices(app), shown(app)
        free.set()
        assert len([notice for notice in told if "does not answer" in notice]) == 1
        assert "starter-model" in text
        await settle(pilot)


async def test_a_word_to_a_run_waits_for_another_writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls, "SLOW", 0.05)
    with Store.open(path) as store:
        run = fill(store, "running")
    app = LocalsynthApp(path)
    with hold(path, run), closing(sqlite3.connect(path, isolation_level=None)) as other:
        async with app.run_test(size=(80, 24)) as pilot:
            await settle(pilot)
            other.execute("BEGIN IMMEDIATE")
            await pilot.press("p")
            await until(pilot, lambda: any("Still waiting for the store" in notice for notice in notices(app)))
            other.execute("ROLLBACK")
            await settle(pilot)
            assert any("pausing" in notice for notice in notices(app))
    with Reader.open(path) as reader:
        assert [control.verb for control in reader.controls(run)] == ["pause"]


def test_runs_that_are_over_are_read_once(path: Path, many: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = Watcher(path)
    before = watcher.runs({})
    with Store.open(path) as store:
        store.update_run(many[5], name="new")
        fresh = fill(store, "running")
    read: list[str] = []
    rightly = Reader.progress
    monkeypatch.setattr(Reader, "progress", lambda reader, run: [read.append(run), rightly(reader, run)][1])
    after = watcher.runs({})
    assert read == [fresh, many[5]]
    assert after[1] is before[0]
    assert after[6].row.name == "new"


def test_figures_in_few_cells() -> None:
    assert [short(value) for value in (0, 9999, 9999.6, 123456, 999_600, 12_345_678)] == [
        "0", "9,999", "10k", "123k", "1.0M", "12.3M",
    ]  # fmt: skip
    ranges = [(None, None), (40, 60), (1380, 1860), (70000, 90000), (3e5, 9e5), (3601, 7000)]
    assert [span_of(low, high) for low, high in ranges] == [
        "", "40-60 s", "23-31 min", "19-25 h", "3-10 days", "1-2 h",
    ]  # fmt: skip
    assert (day(None), day("never")) == ("", "")
    assert len(day("2026-05-05T12:00:00+00:00")) <= 6
