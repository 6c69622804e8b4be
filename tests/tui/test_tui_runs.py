from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from old_store import to_version_2, version
from tui_stage import fill, notices, press, settle, shown

from localsynth import paths
from localsynth.config import GatePlan, Plan, RolePlan
from localsynth.engine import launch
from localsynth.engine.lock import hold
from localsynth.errors import StoreError
from localsynth.store import Reader, Store
from localsynth.store.migrations import VERSION
from localsynth.tui.app import LocalsynthApp


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that were started, instead of their processes."""
    runs: list[str] = []

    class Gone:
        def poll(self) -> int:
            return 0

    def start(store: Path, run: str) -> Gone:
        runs.append(run)
        return Gone()

    monkeypatch.setattr(launch, "start", start)
    return runs


def content(path: Path) -> bytes | None:
    """The bytes of the store, None where there is none."""
    return path.read_bytes() if path.exists() else None


async def test_an_empty_store_says_what_to_press(path: Path) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "There is no run in rows.db yet." in shown(app)
        assert "Press n" in shown(app)
        await press(pilot, "p", "s", "x", "3")
        assert "no run to watch" in shown(app)
        await press(pilot, "4")
        assert "No run yet" in shown(app)
    assert content(path) is None


async def test_a_new_run_is_written_and_started(path: Path, started: list[str]) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await press(pilot, "n", "5", "0", "enter")
        assert "1  created" in shown(app)
        with Reader.open(path) as reader:
            (row,) = reader.runs()
        assert (row.target, row.method, row.plan["target"]) == (50, "magpie", 50)
        assert row.plan["seed"] == row.seed
        assert started == [row.id]
        assert app.run_id == row.id


@pytest.mark.parametrize("keys", [("n", "0", "enter", "escape"), ("n", "delete", "enter", "escape"), ("n", "escape")])
async def test_no_run_without_a_number(path: Path, started: list[str], keys: tuple[str, ...]) -> None:
    app = LocalsynthApp(path)
    async with app.run_test() as pilot:
        await press(pilot, *keys[:-1])
        if len(keys) > 2:
            assert "Type a number" in shown(app)
        await press(pilot, keys[-1])
        assert "There is no run" in shown(app)
    assert content(path) is None
    assert not started


async def test_one_run_at_a_time(path: Path, started: list[str]) -> None:
    with Store.open(path) as store:
        run = fill(store, "running")
    app = LocalsynthApp(path)
    with hold(path, run):
        async with app.run_test() as pilot:
            await press(pilot, "n", "enter")
            assert any("run 1 is at work" in notice for notice in notices(app))
    with Reader.open(path) as reader:
        assert len(reader.runs()) == 1
    assert not started


async def test_a_run_that_died_says_so_and_goes_on(path: Path, started: list[str]) -> None:
    with Store.open(path) as store:
        run = fill(store, "running")
    paths.run_log(path, run).parent.mkdir()
    paths.run_log(path, run).write_text("loading\nSegmentation \x1b[31mfault [red]\n")
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        assert "1  died" in shown(app)
        assert "Its process is gone" in shown(app)
        assert "Segmentation \ufffd[31mfault [red]" in shown(app)
        await press(pilot, "p", "x")
        assert any("not at work" in notice for notice in notices(app))
        await press(pilot, "s")
        assert started == [run]
        await press(pilot, "3")
        assert "died" in shown(app)
        assert "Press s to go on" in shown(app)
        await press(pilot, "s")
        assert started == [run, run]


def controls(path: Path, run: str) -> list[str]:
    with Reader.open(path) as reader:
        return [control.verb for control in reader.controls(run)]


async def test_controls_reach_the_store(path: Path) -> None:
    with Store.open(path) as store:
        run = fill(store, "running")
    app = LocalsynthApp(path)
    with hold(path, run):
        async with app.run_test() as pilot:
            await settle(pilot)
            await press(pilot, "p")
            assert controls(path, run) == ["pause"]
            with Store.open(path) as store:
                store.update_run(run, state="paused")
            await press(pilot, "3", "1")
            assert "paused" in shown(app)
            await press(pilot, "p")
            assert controls(path, run) == ["pause"]
            await press(pilot, "s")
            assert controls(path, run) == ["pause", "resume"]
            with Store.open(path) as store:
                store.update_run(run, state="running")
            await press(pilot, "3", "s")
            assert controls(path, run) == ["pause", "resume"]


@pytest.mark.parametrize("screen", ["1", "3"])
async def test_stop_asks_once_then_drains_then_cancels(path: Path, screen: str) -> None:
    with Store.open(path) as store:
        run = fill(store, "running")
    app = LocalsynthApp(path)
    with hold(path, run):
        async with app.run_test() as pilot:
            await settle(pilot)
            await press(pilot, screen, "x")
            assert "Stop run 1?" in shown(app)
            await press(pilot, "n")
            assert controls(path, run) == []
            await press(pilot, "x", "escape", "x", "enter")
            assert controls(path, run) == []
            await press(pilot, "x", "y")
            assert controls(path, run) == ["drain"]
            with Store.open(path) as store, Reader.open(path) as reader:
                progress = reader.progress(run)
                store.set_progress(run, {**progress.data, "state": "draining"})
            await press(pilot, "1", "3", "x")
            assert "stop at once?" in shown(app).replace("\n", " ")
            await press(pilot, "y")
            assert controls(path, run) == ["drain", "cancel"]


async def test_a_finished_run_is_not_started_again(path: Path, run: str, started: list[str]) -> None:
    app = LocalsynthApp(path)
    async with app.run_test() as pilot:
        await settle(pilot)
        await press(pilot, "s")
        assert not started
        assert any("has its 7 pairs" in notice for notice in notices(app))


async def test_enter_watches_the_run_under_the_cursor(path: Path) -> None:
    with Store.open(path) as store:
        runs = [fill(store, name=f"name [b]{number}[/b]") for number in range(3)]
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        assert "name [b]1[/b]" in shown(app)
        await press(pilot, "j", "j", "k", "enter")
        assert app.current_mode == "monitor"
        assert app.run_id == runs[1]
        assert "Run 2 name [b]1[/b]" in shown(app)
        await press(pilot, "1", "g", "r")
        assert (app.current_mode, app.run_id) == ("review", runs[2])


async def test_figures_move_and_the_cursor_stays(path: Path) -> None:
    with Store.open(path) as store:
        first, second = fill(store), fill(store, "running")
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "j")
        with Store.open(path) as store, Reader.open(path) as reader:
            store.set_progress(second, {**reader.progress(second).data, "kept": 3})
            third = fill(store)
        await press(pilot, "3", "1")
        assert "3/7" in shown(app)
        assert "3  finished" in shown(app)
        assert app.run_id == first
        await press(pilot, "g")
        assert app.run_id == third


def flat(app: LocalsynthApp) -> str:
    """The screen's words, wherever its lines break."""
    return " ".join(shown(app).replace("│", " ").split())


def newer(path: Path) -> None:
    Store.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def foreign(path: Path) -> None:
    path.write_bytes(b"[red]not a database[/red]" * 100)


@pytest.mark.parametrize(("spoil", "said"), [(newer, "store version 99"), (foreign, "is not a database")])
async def test_a_store_that_cannot_be_read_is_named(path: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(path)
    before = content(path)
    app = LocalsynthApp(path)
    async with app.run_test(size=(100, 30)) as pilot:
        for key in ("1", "3", "4"):
            await press(pilot, key)
            assert said in flat(app), key
        await press(pilot, "1")
        assert any(said in notice for notice in notices(app))
        assert "--store FILE" in shown(app)  # the hint
        await pilot.press("q")
    assert app.return_code == 0
    assert content(path) == before


async def test_an_older_store_is_brought_up_to_date(path: Path, run: str) -> None:
    to_version_2(path)
    app = LocalsynthApp(path)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        assert not notices(app)
        assert "starter-model" in shown(app)
    assert version(path) == VERSION


async def test_a_passing_fault_is_not_worth_a_word(path: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = LocalsynthApp(path)
    async with app.run_test() as pilot:
        await settle(pilot)
        rightly = Reader.open

        def locked(path: Path) -> Reader:
            raise StoreError(f"{path} is locked", "wait")

        monkeypatch.setattr(Reader, "open", locked)
        app.screen.look()
        await settle(pilot)
        assert not notices(app)
        app.screen.look()
        await settle(pilot)
        app.screen.look()
        await settle(pilot)
        assert len(notices(app)) == 1
        monkeypatch.setattr(Reader, "open", rightly)


@pytest.mark.slow
async def test_a_real_run_is_started_and_followed_to_its_end(path: Path) -> None:
    scripted = RolePlan(backend="scripted")
    plan = Plan(target=3, seed=5, ask=scripted, answer=scripted, gate=GatePlan(near_duplicates=False))
    run = launch.create(path, plan)
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert "1  created" in shown(app)
        await press(pilot, "s")
        async with asyncio.timeout(120):
            while app.screen.run_in_hand.state != "finished":
                assert app.screen.run_in_hand.state in {"created", "starting", "running"}
                await pilot.pause(0.1)
        assert "3/3" in shown(app)
        await press(pilot, "r", "a")
        (_, process) = app.launcher._children[run]
        await asyncio.to_thread(process.wait, 60)  # it writes its last words after it has said that it is finished
    with Reader.open(path) as reader:
        assert reader.review_counts(run) == {"accept": 1}
