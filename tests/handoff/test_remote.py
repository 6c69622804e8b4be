"""Another machine over ssh and rsync: stand-ins for both on PATH, and a home that is not ours."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path

import pytest
from handed import packed
from processes import end, start, until

from localsynth.errors import DataError, MissingPackage, PlanError
from localsynth.handoff import remote
from localsynth.handoff.job import Job, read_job

SSH = """#!/bin/bash
[ "$1" = -- ] || exit 99
echo "ssh $2 $3" >> "$CALLS"
[ "$2" = gone ] && { echo "ssh: connect to host gone port 22: Connection refused" >&2; exit 255; }
cd "$FAR" && exec bash -c "$3"
"""
RSYNC = """#!{python}
import os, pathlib, shutil, sys
*options, mark, source, target = sys.argv[1:]
assert options[0] == "-a" and mark == "--", sys.argv
left = [option.removeprefix("--exclude=/") for option in options[1:]]
far = lambda path: pathlib.Path(os.environ["FAR"], path.partition(":")[2]) if ":" in path else pathlib.Path(path)
print("rsync", source, target, file=open(os.environ["CALLS"], "a"))
shutil.copytree(far(source), far(target), dirs_exist_ok=True, ignore=shutil.ignore_patterns(*left))
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("packed"), target=6).folder


@pytest.fixture
def job(original: Path, tmp_path: Path) -> Job:
    shutil.copytree(original, tmp_path / "job")
    return read_job(tmp_path / "job")


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The other machine's home; what it was told is in `calls` beside it."""
    tools, home = tmp_path / "bin", tmp_path / "far"
    tools.mkdir()
    home.mkdir()
    for name, text in (("ssh", SSH), ("rsync", RSYNC.format(python=sys.executable))):
        (tools / name).write_text(text)
        (tools / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("FAR", str(home))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return home


def test_a_job_goes_there_and_its_shards_come_back(job: Job, far: Path, tmp_path: Path) -> None:
    (job.folder / ".venv").mkdir()
    assert remote.submit("me@gpu-1.example.org", job, None, "no") == ""
    there = far / "localsynth" / job.id
    assert (there / "run.sh").is_file()
    assert not (there / ".venv").exists()
    # What run.sh would have installed there, where VENV named another place.
    python = tmp_path / "my venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(stat.S_IRWXU)
    (there / ".installed").write_text(f"{python.parents[1]}\n")
    code, _, err = end(start("run", there, "--shard", "1/2"))
    assert code == 0, err
    stores = remote.fetch("me@gpu-1.example.org", job, None)
    assert [store.name for store in stores] == ["shard-1-of-2.db"]
    with closing(sqlite3.connect(stores[0])) as db:
        assert db.execute("SELECT count(*) FROM dataset").fetchone() == (3,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert sorted(path.name for path in stores[0].parent.iterdir()) == ["shard-1-of-2.db"]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == ["ssh", "rsync", "ssh", "ssh", "rsync"]


def test_it_is_started_there(job: Job, far: Path) -> None:
    place = far / "jobs" / "one"
    place.mkdir(parents=True)
    (place / "run.log").write_text("before\n")
    (job.folder / "run.sh").write_text("echo in $PWD\n")
    said = remote.submit("gpu", job, "jobs/one", "run")
    assert said.startswith("started, process ")
    assert int(said.rpartition(" ")[2]) > 1
    until(lambda: (place / "run.log").read_text() == f"before\nin {place}\n", "the start")


def test_a_live_store_is_copied_whole(job: Job) -> None:
    code, _, err = end(start("run", job.folder, "--shard", "1/2"))
    assert code == 0, err
    store = job.shard_store(1)
    with closing(sqlite3.connect(store)) as live:
        live.execute("PRAGMA wal_autocheckpoint = 0")
        live.execute("UPDATE runs SET name = 'in the log only'")
        live.commit()
        copies = remote.take_snapshots(job)
    with closing(sqlite3.connect(copies[0])) as db:
        assert db.execute("SELECT name FROM runs").fetchone() == ("in the log only",)


@pytest.mark.parametrize(
    "host", ["-oProxyCommand=touch x", "a b", "host;reboot", "$(reboot)", "host:22", "", "-", "me@-x", "a/b", "host\n"]
)
def test_a_host_that_is_an_option_or_a_command_is_refused(host: str, job: Job, far: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="is no name of a host"):
        remote.submit(host, job, None, "run")
    assert not (tmp_path / "calls").exists()


@pytest.mark.parametrize(
    "place", ["-x", "a;b", "a b", "../up", "~root", "$HOME", "a/../b", "a\nb", "a//b", "`x`", "a/-b"]
)
def test_a_folder_that_a_shell_would_read_is_refused(place: str, job: Job, far: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="is no folder"):
        remote.fetch("gpu", job, place)
    assert not (tmp_path / "calls").exists()


def test_an_unreachable_host_gives_one_line(job: Job, far: Path) -> None:
    with pytest.raises(DataError, match="ssh failed: ssh: connect to host gone port 22: Connection refused"):
        remote.submit("gone", job, None, "run")


def test_without_the_tools_it_says_so(job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPackage, match="ssh is not on this machine"):
        remote.submit("gpu", job, None, "run")


def test_stores_of_a_run_at_work_are_not_replaced(job: Job, far: Path) -> None:
    (job.folder / "shards" / "shard-1-of-2.db-wal").write_text("rows")
    with pytest.raises(DataError, match="shows a run at work"):
        remote.fetch("gpu", job, None)


def test_what_was_sent_and_fetched_as_json(job: Job, far: Path) -> None:
    code, out, err = end(start("handoff", "submit", "gpu", job.folder, "--start", "no", "--json"))
    assert (code, json.loads(out)) == (0, {"host": "gpu", "start": "no", "said": ""}), err
    (far / "localsynth" / job.id / ".installed").write_text(f"{Path(sys.executable).parents[1]}\n")
    code, out, err = end(start("handoff", "fetch", "gpu", job.folder, "--json"))
    assert (code, json.loads(out)) == (0, {"host": "gpu", "stores": []}), err
