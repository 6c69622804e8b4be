from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tui_stage import MARKUP, fill, press, settle, shown

from localsynth.engine import launch
from localsynth.engine.lock import hold
from localsynth.events import Progress
from localsynth.store import EventRow, Reader, Store
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.watching import Watcher


async def test_a_past_run_shows_its_figures(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "3")
        text = shown(app)
        words = " ".join(text.split())
        for part in ("Run 1 finished", "7/7 kept 100 %", "asked 10", "tokens/s 420", "saved by the gate 333"):
            assert part in words
        for part in ("duplicates 5 %", "3 rejected", "1 loops", "1 near_duplicate", "at work for 10 s"):
            assert part in words
        assert MARKUP in text
        assert "Clear \ufffd[2J\ufffd[31mthe" in text
        assert "asked 0 to 9: 7 passed; rejected 1 loops, 1 near_duplicate, 1 refusal" in text
        assert "started with starter-model, 8 slots, process 77" in text
        assert "Being written" not in text
        assert "\x1b" not in text


async def test_a_run_at_work_is_followed(path: Path) -> None:
    with Store.open(path) as store:
        run = fill(store, "running")
    app = LocalsynthApp(path)
    with hold(path, run):
        async with app.run_test(size=(80, 24)) as pilot:
            await settle(pilot)
            await press(pilot, "3")
            assert "slots in use      5 of 8" in shown(app)
            assert "tokens/s          412" in shown(app)
            assert "Being written: [red]now[/red] \ufffd[31m" in shown(app)
            progress = Progress(
                "running", 3, 7, slots=8, elapsed=4.0, eta_low=65.0, eta_high=300.0, rejected={"a": 1, "b": 20}
            )
            with Store.open(path) as store:
                store.set_progress(run, dataclasses.asdict(progress))
                store.save([EventRow(run, "Odd[/]", {"text": "[red]\x1b[0m"})])
            app.screen.look()
            await settle(pilot)
            text = shown(app)
            assert "3/7 kept  43 %  65 s to 5 min left" in text
            assert text.index("20 b") < text.index("1 a")
            assert 'Odd[/] {"text": "[red]\\u001b[0m"}' in text


async def test_draining_and_starting_are_states(path: Path) -> None:
    with Store.open(path) as store:
        draining = fill(store, "running")
        with Reader.open(path) as reader:
            store.set_progress(draining, {**reader.progress(draining).data, "state": "draining", "unknown": 1})
        coming = store.create_run(method="magpie", plan={}, seed=1, target=5, state="running")
        fresh = store.create_run(method="magpie", plan={}, seed=1, target=5)
    watcher = Watcher(path)
    with hold(path, draining):
        assert watcher.run(draining, {}).state == "draining"
        assert watcher.run(coming, {}).state == "died"
    with hold(path, coming):
        assert watcher.run(coming, {}).state == "starting"
        assert watcher.run(fresh, {}).state == "created"
    assert watcher.run(fresh, {fresh: "2020-01-01T00:00:00Z"}).state == "starting"


def test_a_process_that_is_on_its_way_out_is_not_starting(path: Path) -> None:
    with Store.open(path) as store:
        run = fill(store, "stopped", finished="2026-01-01T10:00:05.000000Z")
    watcher = Watcher(path)
    assert watcher.run(run, {run: "2026-01-01T10:00:00.000000Z"}).state == "stopped"
    assert watcher.run(run, {run: "2026-01-01T10:00:10.000000Z"}).state == "starting"


async def test_an_import_has_no_progress_and_is_counted_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(path) as store:
        run = fill(store)
        bare = store.create_run(method="imported", plan={}, seed=1, target=5, state="finished")
    counted: list[str] = []
    rightly = Reader.counts
    monkeypatch.setattr(Reader, "counts", lambda reader, name: counted.append(name) or rightly(reader, name))
    watcher = Watcher(path)
    for _ in range(3):
        views = watcher.runs({})
    assert [view.progress.kept for view in views] == [0, 7]
    assert counted == [bare]
    assert run not in counted


async def test_only_the_last_events_are_kept(path: Path, run: str) -> None:
    with Store.open(path) as store:
        store.save([EventRow(run, "Retried", {"index": n, "error": "[b]", "wait": 1}) for n in range(2500)])
        other = fill(store)
    watcher = Watcher(path)
    events = watcher.events(run)
    assert [event.data["index"] for event in events] == list(range(2450, 2500))
    assert [event.kind for event in watcher.events(other)] == ["RunStarted", "WaveDecided"]
    assert watcher.events(run) == events


async def test_the_monitor_takes_the_newest_run(path: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(path) as store:
        newest = fill(store, "failed", error="llama.cpp gave [b]up[/b]")
    monkeypatch.setattr(launch, "start", lambda *_: None)
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        app.switch_mode("monitor")
        await settle(pilot)
        assert app.run_id == newest
        assert "Press s to try again. llama.cpp gave [b]up[/b]" in shown(app)
        await press(pilot, "escape")
        assert app.current_mode == "runs"
