from __future__ import annotations

import asyncio
import dataclasses
import threading
from pathlib import Path

import pytest
from tui_stage import MARKUP, fill, press, settle, shown

from localsynth.engine import launch
from localsynth.engine.lock import hold
from localsynth.events import Pace, Progress
from localsynth.records import Sample, Turn
from localsynth.store import EventRow, Reader, Store
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.watching import Watcher
from localsynth.tui.widgets import figures
from localsynth.tui.widgets.drawn import Drawn


def words(app: LocalsynthApp) -> str:
    """What is on the screen, wherever its lines break."""
    return " ".join(shown(app).split())


def told(run: str, seconds: float, **totals: object) -> EventRow:
    """A run's word on its pace."""
    return EventRow(run, "Pace", dataclasses.asdict(Pace(seconds, slots=8, **totals)))


async def test_a_past_run_shows_its_figures(path: Path) -> None:
    with Store.open(path) as store:
        run = fill(store)
        with Reader.open(path) as reader:
            latest = [Sample(run, index).id for index in (0, 3, 2)]
            store.set_progress(run, {**reader.progress(run).data, "latest": latest})
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "3")
        for part in ("Run 1 finished", "7/7 kept 100 %", "10 asked", "tokens/s 420", "saved 333", "duplicates 5 %"):
            assert part in words(app)
        for part in ("3 rejected, 30 % of 10 asked", "loops 1 10 %", "near duplicate 1 10 %", "at work for 10 s"):
            assert part in words(app)
        text = shown(app)
        assert text.index("0 What is overfitting") < text.index("3 Clear \ufffd[2J\ufffd[31mthe") < text.index(MARKUP)
        assert "[bold]not bold[/bold]" in text
        assert "asked 0 to 9: 7 passed; rejected 1 loops, 1 near duplicate, 1 refusal" in text
        assert "started with starter-model, 8 slots, process 77" in text
        assert "no history" in text  # an older version kept none
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
            assert "slots 5 of 8" in words(app)
            assert "tokens/s 412" in words(app)
            assert "Being written: [red]now[/red] \ufffd[31m" in shown(app)
            progress = Progress(
                "running", 3, 7, slots=8, elapsed=4.0, eta_low=65.0, eta_high=300.0, rejected={"a": 1, "b": 20},
                note="paused at 12 % battery \x1b[2J", duplicate_rate=0.6,
            )  # fmt: skip
            with Store.open(path) as store:
                store.set_progress(run, dataclasses.asdict(progress))
                store.save([EventRow(run, "Odd[/]", {"text": "[red]\x1b[0m"})])
            app.screen.look()
            await settle(pilot)
            assert "3/7 kept  42 %  65 s to 5 min left" in shown(app)
            assert "Paused at 12 % battery \ufffd[2J." in shown(app)
            assert "60 % of the last questions were duplicates: this prompt is used up" in shown(app)
            assert "x stops this one, n makes a new one" in words(app)
            assert words(app).index("b 20") < words(app).index("a 1 ")
            await press(pilot, "tab", "tab", "tab", "G")  # the pairs, what happened, the page
            assert 'Odd[/] {"text": "[red]\\u001b[0m"}' in shown(app)


@pytest.mark.parametrize(("size", "lines"), [((80, 24), 1), ((120, 40), 2), ((200, 60), 4)])
async def test_charts_tell_how_it_went_in_any_size(path: Path, size: tuple[int, int], lines: int) -> None:
    half = {"kept": 60, "asked": 100, "tokens": 6000, "slot_seconds": 480.0, "compared": 100}
    end = {"kept": 90, "asked": 200, "tokens": 6600, "slot_seconds": 960.0, "compared": 200, "duplicates": 50}
    with Store.open(path) as store:
        run = fill(store)
        store.save([told(run, 60, **half), told(run, 120, **end, rejected={"instruction.near_duplicate": 50})])
    app = LocalsynthApp(path)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await press(pilot, "3")
        chart = app.screen.query_one("#trends", Drawn).render().plain.splitlines()
        assert len(chart) == 5 * lines + 1
        at = {line.split()[0]: number for number, line in enumerate(chart) if line[0] != " "}
        assert list(at) == ["kept/min", "tokens/s", "slots", "saved", "duplicates"]
        # Fast at first and slow then; the slots were as busy all the time; the duplicates came late.
        kept, slots, duplicates = (chart[at[name]][20:] for name in ("kept/min", "slots", "duplicates"))
        assert kept[0] > kept[-1]
        assert len(set(slots)) == 1
        assert duplicates[0] in " \u2581" < duplicates[-1]
        assert "slots 8 of 8" in words(app)
        assert "2 min" in chart[-1]
        assert all(len(line) <= app.screen.query_one("#trends").size.width for line in chart)
        assert ("peak 60" in words(app)) == (lines > 1)


async def test_the_charts_go_on_to_now(path: Path) -> None:
    with Store.open(path) as store:
        run = fill(store, "running")
        store.save([told(run, 60, kept=60, asked=60)])
        with Reader.open(path) as reader:
            now = dataclasses.asdict(Pace(120.0, kept=60, asked=60, slots=8))
            store.set_progress(run, {**reader.progress(run).data, "pace": now})
    app = LocalsynthApp(path)
    with hold(path, run):
        async with app.run_test(size=(80, 24)) as pilot:
            await settle(pilot)
            await press(pilot, "3")
            assert "kept/min 0.0" in words(app)
            assert "2 min" in app.screen.query_one("#trends", Drawn).render().plain.splitlines()[-1]


def test_a_history_is_read_once_and_shards_are_added(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(path) as store:
        run, other = fill(store), fill(store)
        store.save([told(run, second, kept=second) for second in range(1, 1501)])
        store.save([EventRow(other, "Pace", {"seconds": 10, "kept": 5, "shard": 1})])
        store.save([EventRow(other, "Pace", {"seconds": 20, "kept": 8, "shard": 2, "unknown": 1})])
    read: list[int] = []
    rightly = Reader.events
    monkeypatch.setattr(
        Reader, "events", lambda reader, *args, **named: [read.append(1), rightly(reader, *args, **named)][1]
    )
    watcher = Watcher(path)
    assert watcher.watch(run, {}).history.last.kept == 1500
    read.clear()
    assert watcher.watch(run, {}).history.seconds == 1500
    assert len(read) == 1
    assert watcher.watch(other, {}).history.last.kept == 13
    assert watcher.watch(run, {}).history.last.kept == 1500


async def test_pairs_are_held_while_they_are_read(path: Path) -> None:
    with Store.open(path) as store:
        run = fill(store, "running")
    app = LocalsynthApp(path)

    def keep(*indices: int) -> None:
        with Store.open(path) as store, Reader.open(path) as reader:
            latest = [Sample(run, index).id for index in indices]
            store.set_progress(run, {**reader.progress(run).data, "latest": latest})

    with hold(path, run):
        keep(0, 9)
        async with app.run_test(size=(80, 24)) as pilot:
            await settle(pilot)
            await press(pilot, "3", "tab", "ctrl+d")
            keep(0, 9, 7)
            app.screen.look()
            await settle(pilot)
            assert "It sorts in place." not in shown(app)
            await press(pilot, "g")
            app.screen.look()
            await settle(pilot)
            assert "It sorts in place." in shown(app)


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


def test_only_the_last_events_are_shown_and_never_a_pace(path: Path, run: str) -> None:
    with Store.open(path) as store:
        store.save([EventRow(run, "Retried", {"index": n, "error": "[b]", "wait": 1}) for n in range(2500)])
        store.save([told(run, second) for second in range(1, 100)])
        other = fill(store)
    watcher = Watcher(path)
    events = watcher.watch(run, {}).events
    assert [event.data["index"] for event in events] == list(range(2450, 2500))
    assert [event.kind for event in watcher.watch(other, {}).events] == ["RunStarted", "WaveDecided"]


def test_what_is_of_no_known_version_is_no_fault(path: Path) -> None:
    with Store.open(path) as store:
        run = store.create_run(method="magpie", plan={"from": "the future"}, seed=1, target=5, state="finished")
        store.set_progress(run, {"kept": 1, "duplicate_rate": 0.9, "pace": {"seconds": 3, "warp": 9}})
    watched = Watcher(path).watch(run, {})
    assert (watched.view.progress.kept, watched.advice, watched.history.seconds) == (1, "", 3)


async def test_the_monitor_takes_the_newest_run(path: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(path) as store:
        newest = fill(store, "failed", error="llama.cpp gave [b]up[/b]")
    monkeypatch.setattr(launch, "start", lambda *_: None)
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        app.switch_mode("monitor")
        await settle(pilot)
        assert app.run_id == newest
        assert "Press s to try again. llama.cpp gave [b]up[/b]" in words(app)
        await press(pilot, "escape")
        assert app.current_mode == "runs"


async def test_a_run_that_is_slow_to_read_comes_however_often_is_looked(
    path: Path, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(path) as store:
        newest = fill(store)
    asked, begun, ready, rightly = list[str](), threading.Event(), threading.Event(), Watcher.watch

    def slowly(watcher: Watcher, name: str, starting: dict[str, str]) -> object:
        asked.append(name)
        begun.set()
        assert ready.wait(60)
        return rightly(watcher, name, starting)

    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        app.switch_mode("monitor")
        await settle(pilot)
        assert app.run_id == newest
        monkeypatch.setattr(Watcher, "watch", slowly)
        app.run_id = run
        for _ in range(4):
            app.screen.look()
            await pilot.pause()
        assert await asyncio.to_thread(begun.wait, 60)
        looks = list(asked)
        ready.set()
        await settle(pilot)
        assert looks == [run]
        assert "Run 1 finished" in words(app)


def test_a_look_that_nobody_waits_for_leaves_the_next_one_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(path) as store:
        left, wanted = fill(store), fill(store)
        store.save([told(left, second, kept=1000 * second) for second in range(1, 11)])
        store.save([told(wanted, second, kept=second) for second in range(1, 11)])
    read, go_on, rightly = threading.Event(), threading.Event(), Reader.events

    def slowly(reader: Reader, run: str, **named: object) -> object:
        found = rightly(reader, run, **named)
        if run == left:
            read.set()
            assert go_on.wait(60)
        return found

    monkeypatch.setattr(Reader, "events", slowly)
    watcher = Watcher(path)
    late = threading.Thread(target=watcher.watch, args=(left, {}))
    late.start()
    assert read.wait(60)
    assert watcher.watch(wanted, {}).history.last.kept == 10
    go_on.set()
    late.join()
    history = watcher.watch(wanted, {}).history
    assert (history.last.kept, len(history.paces)) == (10, 10)


def test_a_megabyte_is_not_drawn(path: Path) -> None:
    with Store.open(path) as store:
        run = fill(store)
        store.save([Turn(Sample(run, 0).id, 1, "assistant", "word " * 200_000, "")])
    with Reader.open(path) as reader:
        shown = figures.pairs(reader.rows([Sample(run, 0).id]), 76).plain
    assert len(shown) < 10_000
    assert "word word" in shown
    assert "... and 995,999 more characters: r shows them in Review" in shown
    assert figures.live("word " * 200_000 + "end", 76, 2).plain.endswith("end")
