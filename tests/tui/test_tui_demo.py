"""The demo: a recorded run that is played by a real process into a store that is gone afterwards."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from processes import until
from tui_stage import notices, press, settle, shown

from localsynth.cli.main import cli
from localsynth.engine import launch, recorded
from localsynth.errors import StoreBusy
from localsynth.store import Reader
from localsynth.tui import demo
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.places import PLACES

AT_ONCE = 1e9


@pytest.fixture
def played(tmp_path: Path) -> tuple[Path, str]:
    """A store with the whole recorded run."""
    store = tmp_path / "rows.db"
    run = recorded.begin(store)
    recorded.play(store, run, speed=AT_ONCE)
    return store, run


def test_the_recording_is_a_whole_run(played: tuple[Path, str]) -> None:
    store, run = played
    with Reader.open(store) as reader:
        row, progress, events = reader.run(run), reader.progress(run).data, reader.events(run)
        counts = reader.counts(run)
        kept = list(reader.dataset(run))
        ids, vectors = reader.embeddings("all-minilm-l6-v2", "instruction")
        latest = [reader.sample(sample) for sample in progress["latest"]]
    assert (row.state, progress["state"], row.finished is not None, row.pid) == ("finished", "finished", True, None)
    assert counts.kept == progress["kept"] == len(kept) == row.target
    assert counts.rejected > 0
    assert all(message.content for pair in kept for message in pair.messages)
    assert len(ids) == len(vectors) >= counts.kept
    assert all(sample.kept for sample in latest)
    assert [events[0].kind, events[-1].kind] == ["RunStarted", "RunEnded"]
    assert row.model.endswith(".gguf")


def test_the_recording_is_small_and_names_no_place_of_a_machine() -> None:
    text = recorded.LOG.read_text(encoding="utf-8")
    assert len(text) < 400_000
    assert not re.search(r"/(home|root|tmp|work|Users|usr|var)/|/[^\"]*\.gguf", text)


def test_a_run_that_is_played_can_be_paused_and_stopped(tmp_path: Path) -> None:
    with demo.playing(speed=1.0) as store:
        with Reader.open(store) as reader:
            run = reader.run(None).id
        until(lambda: launch.alive(store, run), "the recording is being played")
        with pytest.raises(StoreBusy):
            recorded.play(store, run)
        launch.tell(store, run, "pause")
        until(lambda: state(store) == "paused", "it pauses")
        with Reader.open(store) as reader:
            before = reader.progress(run)
        assert launch.true_state(store, row(store)) == "paused"
        launch.tell(store, run, "resume")
        until(lambda: progress(store) != before.data, "it goes on")
        launch.tell(store, run, "drain")
        until(lambda: state(store) == "stopped" and not launch.alive(store, run), "it stops")
        with Reader.open(store) as reader:
            assert [event.kind for event in reader.events(run)][-1] == "RunEnded"
            assert {"Paused", "Continued"} <= {event.kind for event in reader.events(run)}
    assert not store.parent.exists()


def test_the_process_ends_with_whoever_watches(tmp_path: Path) -> None:
    store = tmp_path / "rows.db"
    run = recorded.begin(store)
    looks = iter([True, True, False])
    recorded.play(store, run, watched=lambda: next(looks))
    assert next(looks, None) is None
    assert row(store).state == "running"
    assert launch.true_state(store, row(store)) == "died"


async def test_every_screen_works_on_the_demo(played: tuple[Path, str]) -> None:
    store, _ = played
    named = store.with_name(demo.NAME)
    store.rename(named)
    app = LocalsynthApp(named, demo.RecordedRun(named))
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        for place in PLACES:
            await press(pilot, place.key)
            assert app.current_mode == place.mode
            assert shown(app).splitlines()[0].endswith(" demo")
        await press(pilot, "4", "a")
        assert not notices(app)
    with Reader.open(named) as reader:
        assert reader.review_counts(reader.run(None).id) == {"accept": 1}


def test_the_demo_makes_no_run_of_ones_own(tmp_path: Path) -> None:
    from localsynth.config import Plan

    launcher = demo.RecordedRun(tmp_path / "x")
    for refused in (lambda: launcher.create(Plan()), lambda: launcher.start("x")):
        with pytest.raises(StoreBusy) as refusal:
            refused()
        assert "type localsynth for your own" in refusal.value.hint
    assert launcher.starting() == {}


def test_the_demo_needs_a_terminal_and_goes_with_no_command() -> None:
    for arguments in (["--demo"], ["ui", "--demo"]):
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 2
        assert "needs a terminal" in result.output
    result = CliRunner().invoke(cli, ["--demo", "status"])
    assert "--demo goes with no command" in result.output


def row(store: Path) -> object:
    with Reader.open(store) as reader:
        return reader.run(None)


def state(store: Path) -> str:
    return row(store).state


def progress(store: Path) -> object:
    with Reader.open(store) as reader:
        return reader.progress(reader.run(None).id).data
