"""The export screen: what it shows is what is written, and nothing half-written is ever left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static
from tui_stage import fill, notices, press, settle, shown

from localsynth.cli.main import main as command
from localsynth.config.thresholds import Threshold
from localsynth.export import formats
from localsynth.records import Sample, Score
from localsynth.store import Reader, Store
from localsynth.store.thresholds import Change, Thresholds
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.export_choices import Choices
from localsynth.tui.jobs import JobView
from localsynth.tui.screens.export import ExportScreen
from localsynth.tui.screens.field import AskValue
from localsynth.tui.widgets.export_part import ExportPart
from localsynth.tui.widgets.form_list import FormList

# Writes two rows, says so, and waits until it is ended.
SLOW = """
import sys, threading
from localsynth.engine import exporting
note = exporting.RowStream._note
def waits(self, row, sample):
    note(self, row, sample)
    if self._count == 2:
        print('{"rows": 2}', file=sys.stderr, flush=True)
        threading.Event().wait()
exporting.RowStream._note = waits
from localsynth.cli.main import main
main(sys.argv[3:])
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to write into."""
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children that stay at work in the middle of an export."""
    program = tmp_path / "slow.py"
    program.write_text(SLOW)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {program} "$@"\n')
    python.chmod(stat.S_IRWXU)
    monkeypatch.setattr(sys, "executable", str(python))


def part(app: LocalsynthApp) -> ExportPart:
    return app.screen_stack[0].query_one(ExportPart)


def text(app: LocalsynthApp, name: str) -> str:
    """What one part of the screen says, scrolled away or not."""
    return str(app.screen_stack[0].query_one(f"#{name}", Static).content)


async def until(pilot: Pilot[None], key: str, *states: str) -> JobView:
    """Wait until the screen has seen a job in one of these states."""
    screen = pilot.app.screen_stack[0]
    assert isinstance(screen, ExportScreen)
    async with asyncio.timeout(90):
        while (job := screen.jobs.get(key)) is None or job.state not in states:
            await pilot.pause(0.02)
    await settle(pilot)
    return job


async def choose(pilot: Pilot[None], line: str, *keys: str) -> None:
    """Go to a line of the form and press enter on it, then these keys."""
    form = pilot.app.screen_stack[0].query_one("#export-form", FormList)
    form.focus()
    form.highlighted = form.get_option_index(line)
    await press(pilot, "enter", *keys)


def by_command(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, object]:
    with pytest.raises(SystemExit) as ended:
        command(["export", *options, "--store", str(path), "--json"])
    assert not ended.value.code
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


async def test_what_is_shown_is_what_is_written(
    path: Path, run: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await press(pilot, "8")
        assert "Export 7 rows" in shown(app)
        first = part(app)._preview.line
        await press(pilot, "n")
        second = part(app)._preview.line
        await press(pilot, "N")
        assert part(app)._preview.line == first
        assert "Not written yet" in text(app, "export-text")
        await press(pilot, "enter")
        job = await until(pilot, "export", "done")
        card = (here / "localsynth-openai.jsonl.README.md").read_text()
        assert text(app, "export-text") == card
        assert str(job.result["sha256"]) in text(app, "export-outcome")
        assert "openai" in text(app, "export-list")
        assert not app.screen.query_one("#jobs").display
    written = (here / "localsynth-openai.jsonl").read_text().splitlines()
    assert [first, second] == written[:2]
    by_command(path, capsys, "cli.jsonl")
    assert (here / "cli.jsonl").read_text().splitlines() == written
    with Reader.open(path) as reader:
        assert [(each.format, each.count) for each in reader.exports()] == [("openai", 7), ("openai", 7)]


async def test_rows_that_are_not_judged_as_the_card_says_are_told_of(path: Path, run: str) -> None:
    with Thresholds(path) as thresholds:
        thresholds.put([Change("words", Threshold(5))], "you")
        thresholds.apply()
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await press(pilot, "8")
        assert not any("Not judged" in notice for notice in notices(app))
        with Store.open(path) as store:
            sample = Sample(run, 99, state="done")
            store.save([sample, Score(sample.id, "words", 1, 4.0, True)])
        await press(pilot, "1", "8")
        assert any("Not judged by the thresholds that the card names: 1 rows" in notice for notice in notices(app))


async def test_choices_by_keys_and_a_row_that_the_format_cannot_hold(path: Path, run: str, here: Path) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await press(pilot, "8")
        await choose(pilot, "kept")
        await choose(pilot, "format", "j", "j", "enter")
        await choose(pilot, "search", *"rivers", "enter")
        assert "Export 2 rows" in shown(app)
        await press(pilot, "n")
        assert "cannot hold instructions without answers" in text(app, "export-line")
        assert "--answered" in text(app, "export-line")
        await press(pilot, "n")
        assert "That was the last row." in notices(app)
        await choose(pilot, "answered", "j", "enter")
        assert "Export 1 row" in shown(app)
        await choose(pilot, "search", "backspace", "enter")
        await choose(pilot, "limit", "x", "enter")
        assert "type a whole number" in shown(app)
        await press(pilot, "backspace", "3", "enter")
        await choose(pilot, "path", *"a.jsonl", "enter")
        await choose(pilot, "split")
        assert "a.jsonl" in shown(app)
        (here / "a.jsonl").write_text("mine")
        await choose(pilot, "export")
        assert "a split is a folder" in notices(app)[-1]
        await choose(pilot, "split")
        await choose(pilot, "thinking")
        await choose(pilot, "export", "n")
        assert app.jobs.views() == {}
        await choose(pilot, "export", "y")
        await until(pilot, "export", "done")
        assert part(app).copy_text() == (
            f"localsynth export a.jsonl --format alpaca --store {path} --all --answered --limit 3 --thinking"
        )
    rows = [json.loads(line) for line in (here / "a.jsonl").read_text().splitlines()]
    assert len(rows) == 3
    assert rows[0]["output"].startswith("<think>")


async def test_an_export_that_cannot_be_made_says_what_to_do(path: Path, run: str, here: Path) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await press(pilot, "8")
        await choose(pilot, "answered", "G", "enter")
        assert "Export 0 rows" in shown(app)
        await choose(pilot, "export")
        assert "There are no rows to export" in notices(app)[-1]
        await choose(pilot, "kept")
        await choose(pilot, "format", "j", "j", "enter", "e")
        await until(pilot, "export", "failed")
        assert "cannot hold instructions without answers" in text(app, "export-outcome")
        assert "openai" in text(app, "export-outcome")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("how", ["killed", "cancelled"])
async def test_a_child_that_is_ended_leaves_no_file(path: Path, run: str, here: Path, slow: None, how: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await press(pilot, "8", "e")
        async with asyncio.timeout(90):
            while not (job := part(app).host.jobs.get("export")) or not job.progress:
                await pilot.pause(0.02)
        await settle(pilot)
        assert "2 of 7 rows" in shown(app)
        await press(pilot, "e")
        assert "An export is at work" in notices(app)[-1]
        if how == "killed":
            os.kill(app.jobs._children["export"].process.pid, signal.SIGKILL)
            await until(pilot, "export", "failed")
            assert "it ended with code -9" in text(app, "export-outcome")
        else:
            await press(pilot, "X", "y")
            await until(pilot, "export", "cancelled")
            assert "nothing of it is left" in text(app, "export-outcome")
            assert list(here.iterdir()) == []
    assert not (here / "localsynth-openai.jsonl").exists()
    with Reader.open(path) as reader:
        assert reader.exports() == []


async def test_rows_of_one_run(path: Path) -> None:
    with Store.open(path) as store:
        fill(store)
        fill(store, rows=2)
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "8")
        assert "Export 9 rows" in shown(app)
        await choose(pilot, "run", "j", "enter")  # the newest first
        assert "Export 2 rows" in shown(app)
        assert "run 2" in shown(app)


@pytest.mark.parametrize("fmt", formats())
def test_choices_are_what_the_command_takes(fmt: str, path: Path, run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Split where it can be, otherwise the same choices; a card's command makes the export again."""
    if fmt == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    choices = Choices(fmt, split=True, thinking=True)
    choices = replace(choices, selection=replace(choices.selection, answered=True, run=run))
    with pytest.raises(SystemExit) as ended:
        command(choices.arguments(path))
    said = capsys.readouterr()
    assert not ended.value.code, said.err
    assert choices.overwrites
    assert choices.target.is_dir() == (fmt not in {"xtuner", "parquet"})
    card = next(Path().rglob("*README.md")).read_text()
    assert choices.command(Path(path.name)) in card


@pytest.mark.parametrize("typed", ["~nobody-of-this-name/a.jsonl", "x" * 5000, "a\x00b", "~"])
async def test_odd_paths_are_no_crash(path: Path, run: str, here: Path, typed: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await press(pilot, "8")
        await choose(pilot, "path")
        app.screen.query_one("#value", Input).value = typed
        await press(pilot, "enter")
        assert isinstance(app.screen, AskValue) == bool(replace(Choices(), path=typed).fault)
        await press(pilot, "escape")
        assert app.current_mode == ("export" if isinstance(app.screen, ExportScreen) else "runs")
