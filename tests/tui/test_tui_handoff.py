"""A job handed over and taken back on the screen, each step as the command does it."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from processes import end, start
from textual.pilot import Pilot
from textual.widgets import Static
from tui_stage import notices, press, settle, shown

from localsynth.cli.main import main as command
from localsynth.errors import DataError
from localsynth.handoff.job import Job, read_job
from localsynth.handoff.merge_words import report_lines
from localsynth.store import Reader
from localsynth.tui import plan_files
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.handoff_choices import STEPS, Handoff, shard_files
from localsynth.tui.jobs import JobView
from localsynth.tui.screens.export import ExportScreen
from localsynth.tui.widgets.form_list import FormList
from localsynth.tui.widgets.handoff_part import HandoffPart

PLAN = """\
target = 6
seed = 11
ask = { backend = "scripted" }
answer = { backend = "scripted" }
gate = { near_duplicates = false }
"""
TOOLS = {
    "ssh": '#!/bin/bash\necho "ssh $2 $3" >> "$CALLS"\necho started, process 7\n',
    "rsync": '#!/bin/bash\necho "rsync ${@: -1}" >> "$CALLS"\n',
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to write into."""
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for ssh and rsync; what they were told, a line each."""
    (tmp_path / "bin").mkdir()
    for name, text in TOOLS.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


def part(app: LocalsynthApp) -> HandoffPart:
    return app.screen_stack[0].query_one(HandoffPart)


def text(app: LocalsynthApp, name: str) -> str:
    return str(app.screen_stack[0].query_one(f"#{name}", Static).content)


async def choose(pilot: Pilot[None], line: str, *keys: str) -> None:
    """Go to a line of the form and press enter on it, then these keys."""
    form = pilot.app.screen_stack[0].query_one("#handoff-form", FormList)
    form.focus()
    form.highlighted = form.get_option_index(line)
    await press(pilot, "enter", *keys)


async def do(pilot: Pilot[None], step: str, state: str = "done") -> JobView:
    """Do a step, and wait until the screen has seen its end."""
    await choose(pilot, step)
    screen = pilot.app.screen_stack[0]
    assert isinstance(screen, ExportScreen)
    async with asyncio.timeout(90):
        while (job := screen.jobs.get(f"handoff {step}")) is None or job.state == "running":
            await pilot.pause(0.02)
    await settle(pilot)
    assert job.state == state, job
    return job


async def made(job: Job, shard: str) -> int:
    """Carry a shard out, as another machine would; its exit code."""
    return (await asyncio.to_thread(lambda: end(start("run", job.folder, "--shard", shard))))[0]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        command([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


async def test_a_job_is_packed_made_elsewhere_and_merged(
    path: Path, here: Path, tools: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        app.plan = PLAN
        await press(pilot, "8", "right_square_bracket")
        assert "[ Export" in shown(app)
        assert "] Hand-off" not in shown(app)
        await choose(pilot, "shards", "2", "enter")
        await choose(pilot, "submit")
        assert "Name the host first" in notices(app)
        await choose(pilot, "merge")
        assert any("no shards in" in notice for notice in notices(app))
        await do(pilot, "pack")
        job = read_job(here / "job")
        assert (job.plan.target, job.shards) == (6, 2)
        assert "6 rows are packed in 2 shards" in text(app, "handoff-outcome")

        await choose(pilot, "host", *"gpu", "enter")
        await do(pilot, "submit")
        assert "gpu: started, process 7" in text(app, "handoff-outcome")
        assert tools.read_text().splitlines()[1] == f"rsync gpu:localsynth/{job.id}/"

        assert await made(job, "1/2") == 0
        await do(pilot, "merge")
        assert "missing: shard 2" in text(app, "handoff-outcome")
        assert await made(job, "2/2") == 0
        done = await do(pilot, "merge")
        with Reader.open(path) as reader:
            (row,) = reader.runs()
            assert (row.id, reader.counts(row.id).kept) == (job.id, 6)
        assert text(app, "handoff-outcome").startswith("\n".join(report_lines(path.name, done.result)))
        await press(pilot, "left_square_bracket")
        assert "Export 6 rows" in shown(app)
    capsys.readouterr()
    # What is copied is what was done: the same once more changes nothing.
    assert Handoff().command("merge", path) == f"localsynth merge {path} {here / 'job'}/shards/*.db"
    assert run("merge", path, *shard_files(Handoff()), "--json") == 0
    again = json.loads(capsys.readouterr().out)
    assert [shard["new"] for shard in again["shards"]] == [0, 0]


async def test_a_step_that_fails_says_why(path: Path, here: Path) -> None:
    (here / "job").mkdir()
    (here / "job" / "mine").write_text("mine")
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        app.plan = PLAN
        await press(pilot, "8", "right_square_bracket")
        await do(pilot, "pack", "failed")
        assert "exists already" in text(app, "handoff-outcome")
        assert "name a new folder" in text(app, "handoff-outcome")
        assert part(app).copy_text() == (
            f"localsynth handoff pack /dev/stdin {here / 'job'} --shards 4 --store {path} <<'PLAN'\n{PLAN}PLAN"
        )
    assert [file.name for file in (here / "job").iterdir()] == ["mine"]


async def test_the_plan_of_a_run_or_of_a_file(path: Path, run: str, here: Path) -> None:
    (here / "my.toml").write_text(PLAN)
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "8", "right_square_bracket")
        assert "as on New run" in shown(app)
        await choose(pilot, "plan", "G", "enter")
        assert "as run 1" in shown(app)
        assert part(app).choices.plan_text.startswith("# localsynth generate --plan")
        await choose(pilot, "plan", "g", "j", "enter", *["backspace"] * 9, *"no.toml", "enter")
        assert "there is no such file" in shown(app)
        await press(pilot, *["backspace"] * 7, *"my.toml", "enter")
        await choose(pilot, "price", *"x", "enter")
        assert "type a number" in shown(app)
        await press(pilot, "backspace", "2", "enter")
        assert part(app).copy_text() == f"localsynth estimate {here / 'my.toml'} --price-per-hour 2"


def test_every_step_is_a_command_line(path: Path, tmp_path: Path) -> None:
    from localsynth.cli.main import cli

    chosen = Handoff("x", plan_file="plan.toml", price=2.0, parameters=8.0, host="gpu", place="there", start="slurm")
    for choices in (chosen, replace(chosen, follow=True)):
        for step in STEPS:
            words = choices.arguments(step, path, [tmp_path / "a.db"])
            found, context = cli, None
            while hasattr(found, "commands") or hasattr(found, "list_commands"):
                context = found.make_context(words[0], list(words), parent=context, ignore_unknown_options=True)
                _, found, words = found.resolve_command(context, words)
            found.make_context(step, [*words, "--json"], parent=context)


def test_shards_by_file_pattern_and_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a job"
    (folder / "shards").mkdir(parents=True)
    stores = [folder / "shards" / f"shard-{number}-of-2.db" for number in (1, 2)]
    for store in stores:
        store.touch()
    named = shlex.quote(str(folder))
    assert shard_files(Handoff(source=f"{named}/shards/*.db")) == stores
    assert shard_files(Handoff(source=f"{named}/shards")) == stores
    assert shard_files(Handoff(source=f"{named}/shards/shard-2-of-2.db")) == stores[1:]
    (folder / "job.json").touch()
    assert shard_files(Handoff(folder=str(folder))) == stores
    for wrong in ("none/*.db", "'open", str(tmp_path)):
        with pytest.raises(DataError):
            shard_files(Handoff(source=wrong))


def test_without_ssh_the_sending_steps_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Handoff(host="gpu").missing("submit").startswith("ssh is not on this machine")
    assert any(line.fault for line in Handoff().lines("a.db") if line.id == "host")


def test_odd_names_are_no_crash() -> None:
    for name in ("~nobody-of-this-name/x", "x" * 5000, "a\x00b"):
        assert plan_files.wrong_source(name)
        assert Handoff(folder=name, host="gpu", follow=True).missing("merge")
        assert Handoff(folder=name).lines("a.db")
    assert plan_files.wrong_target("~nobody-of-this-name/x")
