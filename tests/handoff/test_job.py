"""A job from end to end through the command line: packed, run in shards, killed, merged."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import sys
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from handed import Made, content, shard_store, write_plan
from hypothesis import given
from hypothesis import strategies as st
from processes import ask, create, end, start, until

from localsynth.cli.main import main
from localsynth.config import plan_from
from localsynth.engine import launch
from localsynth.engine.lock import hold
from localsynth.errors import DataError, PlanError
from localsynth.handoff.job import Job, parse_shard, read_job
from localsynth.handoff.wheel import constraints
from localsynth.store import shards
from localsynth.store.shards import create_shard, read_shard

SECRETS = {"HF_TOKEN": "hf_abcdefghijklmnop", "OPENAI_API_KEY": "sk-secretsecretsecret"}  # pragma: allowlist secret
ROOT = Path(__file__).resolve().parents[2]


def do(*arguments: object, code: int = 0) -> tuple[str, str]:
    """`localsynth ARGUMENTS` in this process: what it wrote on stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    assert int(ended.value.code or 0) == code, err.getvalue()
    return out.getvalue(), err.getvalue()


def pack(folder: Path, *options: object, shards: int = 3, **plan: object) -> Path:
    do("handoff", "pack", write_plan(folder / "plan.toml", **plan), folder / "job", "--shards", shards,
       "--store", folder / "main.db", *options)  # fmt: skip
    return folder / "job"


def dataset(store: Path) -> list[tuple[int, str]]:
    with closing(sqlite3.connect(store)) as db:
        return db.execute("SELECT idx, messages FROM dataset ORDER BY idx").fetchall()


def test_three_shards_one_of_them_killed_make_the_job_and_merge_into_it(tmp_path: Path) -> None:
    job = pack(tmp_path, target=31)
    do("run", job, "--shard", "1/3")
    code, _, _ = end(start("run", job, "--shard", "2/3", faults={"KILL_AT": 12}))
    assert code == -signal.SIGKILL
    code, _, err = end(start("run", job, "--shard", 2))
    assert code == 0, err
    do("run", job, "--shard", "3/3")
    stores = [job / "shards" / f"shard-{n}-of-3.db" for n in (1, 2, 3)]
    assert [ask(store, "SELECT count(*) FROM dataset") for store in stores] == [11, 10, 10]
    for number, store in enumerate(stores):
        with closing(sqlite3.connect(store)) as db:
            assert {index % 3 for (index,) in db.execute("SELECT idx FROM samples")} == {number}
    home = tmp_path / "main.db"
    out, _ = do("merge", home, *stores, "--json")
    said = json.loads(out)
    assert (said["kept"] + said["exact"], said["target"], said["missing"], said["conflicts"]) == (31, 31, [], 0)
    before = content(home)
    do("merge", home, *reversed(stores))
    assert content(home) == before
    # The hosts and the engine of each part are on record.
    assert {shard[6] for shard in before["shards"]} == {socket.gethostname()}


def test_a_job_in_one_shard_is_the_run_of_one_machine(tmp_path: Path) -> None:
    job = pack(tmp_path, shards=1, target=12)
    do("run", job, "--shard", "1/1")
    alone = tmp_path / "alone.db"
    launch.create(alone, read_job(job).plan)
    do("run", "--store", alone)
    found = dataset(job / "shards" / "shard-1-of-1.db")
    assert found == dataset(alone)
    assert len(found) == 12


def test_what_home_has_is_not_made_again(tmp_path: Path) -> None:
    create(tmp_path / "main.db", target=10)
    do("run", "--store", tmp_path / "main.db")
    job = pack(tmp_path, shards=2, target=8)
    do("run", job, "--shard", "1/2")
    shard = job / "shards" / "shard-1-of-2.db"
    reason = ask(shard, "SELECT reason FROM scores WHERE name = 'instruction.duplicate' AND passed = 0")
    assert reason == "the same text as 1:0 at home"
    assert ask(shard, "SELECT count(*) FROM dataset") == 4
    with closing(sqlite3.connect(job / "known.db")) as db:
        assert db.execute("SELECT count(*) FROM turns").fetchone() == (0,)


def test_a_shard_drains_when_it_is_told_and_goes_on(tmp_path: Path) -> None:
    job = pack(tmp_path, shards=2, target=400)  # half a minute at this delay
    store = job / "shards" / "shard-1-of-2.db"
    process = start("run", job, "--shard", "1/2", faults={"DELAY": 0.005})
    until(lambda: ask(store, "SELECT count(*) FROM dataset"), "a first row")
    process.send_signal(signal.SIGTERM)
    code, _, err = end(process)
    assert code == 6, err
    assert "shard 1/2 stopped: it was told to stop" in err
    assert 0 < ask(store, "SELECT count(*) FROM dataset") < 200
    do("run", job, "--shard", "1/2")
    assert ask(store, "SELECT count(*) FROM dataset") == 200


def test_a_shard_at_which_somebody_works_is_left_alone(tmp_path: Path) -> None:
    job = pack(tmp_path, shards=2, target=4)
    store = read_job(job).shard_store(1)
    with hold(store, "01OTHER"):
        _, err = do("run", job, "--shard", "1/2", code=4)
    assert "is at work on" in err
    assert not store.exists(), "who works on it makes it"


def test_a_store_that_was_made_meanwhile_keeps_its_rows(tmp_path: Path) -> None:
    store = shard_store(tmp_path / "shard.db", 1, 2, [Made(0, "Why?")])
    file = read_shard(store)
    create_shard(store, file.run, file.shard)
    assert ask(store, "SELECT count(*) FROM samples") == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_copies_that_are_made_at_once_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, target = shard_store(tmp_path / "shard.db", 1, 2, [Made(0, "Why?")]), tmp_path / "copy.db"
    opened = shards.open_reader

    def meanwhile(path: Path) -> sqlite3.Connection:
        monkeypatch.undo()
        with shards._part(target) as part:
            part.write_text("another one is at it")
            shards.snapshot(store, target)
        return opened(path)

    monkeypatch.setattr(shards, "open_reader", meanwhile)
    shards.snapshot(store, target)
    assert ask(target, "SELECT count(*) FROM samples") == 1


def test_imported_instructions_are_split_among_the_shards(tmp_path: Path) -> None:
    lines = [json.dumps({"instruction": f"Describe the colour number {number}."}) for number in range(9)]
    (tmp_path / "asked.jsonl").write_text("\n".join(lines))
    more = f'method = "imported"\ninstructions = "{tmp_path}/asked.jsonl"'
    job = pack(tmp_path, shards=2, target=9, more=more)
    assert read_job(job).plan.instructions == "instructions/asked.jsonl"
    moved = tmp_path / "elsewhere"
    shutil.move(job, moved)
    for shard in (1, 2):
        do("run", moved, "--shard", shard)
    do("merge", tmp_path / "main.db", *sorted((moved / "shards").glob("*.db")))
    asked = [json.loads(messages)[0]["content"] for _, messages in dataset(tmp_path / "main.db")]
    assert asked == [f"Describe the colour number {number}." for number in range(9)]


def test_another_chat_format_stops_the_shard_before_it_starts(tmp_path: Path) -> None:
    job = pack(tmp_path, shards=2)
    data = json.loads((job / "job.json").read_text())
    data["models"]["answer"]["formats"][0]["parts"]["stop_ids"] = [7]
    (job / "job.json").write_text(json.dumps(data))
    _, err = do("run", job, "--shard", "1/2", code=3)
    assert "the answer model scripted does not write its turns as at home: stop_ids is [1, 2] and was [7]" in err
    assert ask(job / "shards" / "shard-1-of-2.db", "SELECT count(*) FROM samples") == 0


def test_another_file_of_the_same_model_is_only_mentioned(tmp_path: Path) -> None:
    job = pack(tmp_path, shards=2, target=4)
    data = json.loads((job / "job.json").read_text())
    data["models"]["ask"] |= {"sha256": "0" * 64, "quantisation": "Q4_0"}
    (job / "job.json").write_text(json.dumps(data))
    _, err = do("run", job, "--shard", "1/2")
    assert err.count("the chat format is the same") == 1
    assert "was scripted Q4_0 by scripted at home" in err


def test_shards_of_another_job_are_refused(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    first, second = pack(tmp_path / "first", shards=2, target=4), pack(tmp_path / "second", shards=2, target=6)
    do("run", first, "--shard", "1/2", "--out", tmp_path / "out")
    _, err = do("run", second, "--shard", "1/2", "--out", tmp_path / "out", code=4)
    assert "is not shard 1 of this job: it belongs to another plan" in err
    (second / "plan.toml").write_text((second / "plan.toml").read_text().replace("target = 6", "target = 7"))
    _, err = do("run", second, "--shard", "1/2", code=5)
    assert "was changed after the job was packed" in err


def test_nothing_of_this_machine_and_no_secret_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    create(tmp_path / "main.db", target=3)
    do("run", "--store", tmp_path / "main.db")
    job = pack(tmp_path)
    told = [str(tmp_path), str(ROOT), sys.prefix, str(Path.home()), os.environ["LOCALSYNTH_HOME"], *SECRETS.values()]
    found = {file.relative_to(job).as_posix(): file.read_bytes() for file in job.rglob("*") if file.is_file()}
    assert {"job.json", "plan.toml", "known.db", "run.sh", "slurm.sh", "README.md", "constraints.txt"} <= found.keys()
    wheel = zipfile.ZipFile(next(job.glob("*.whl")))
    found |= {name: wheel.read(name) for name in wheel.namelist()}
    for name, data in found.items():
        assert not [text for text in told if text.encode() in data], name
    assert not any(name.endswith("direct_url.json") for name in found)
    for name in ("run.sh", "slurm.sh", "README.md"):
        assert not re.search(rb"@[A-Z_]+@", found[name]), name


def test_the_wheel_carries_the_package(tmp_path: Path) -> None:
    from localsynth.handoff.wheel import build_wheel

    names = zipfile.ZipFile(build_wheel(tmp_path)).namelist()
    sources = [file for file in (ROOT / "localsynth").rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert {file.relative_to(ROOT).as_posix() for file in sources} <= set(names)
    assert "localsynth/models/README.md" in names
    first = build_wheel(tmp_path).read_bytes()
    assert build_wheel(tmp_path).read_bytes() == first


def test_only_what_runs_is_pinned() -> None:
    light, heavy = constraints(["starter"])
    names = {pin.partition("==")[0] for pin in light}
    assert {"click", "textual", "tomlkit", "rich"} <= names
    assert not names & {"torch", "numpy", "transformers"}
    assert {"numpy", "torch"} <= {pin.partition("==")[0] for pin in heavy}
    assert not {"pytest", "ruff", "mypy", "hypothesis"} & {pin.partition("==")[0] for pin in [*light, *heavy]}
    assert all("+" not in pin for pin in [*light, *heavy])


@given(target=st.integers(1, 10_000), shards=st.integers(1, 200))
def test_the_target_is_split_exactly(target: int, shards: int) -> None:
    job = Job(Path(), "R", shards, "d", plan_from({"target": target}), {}, None)
    shares = [target // shards + (shard <= target % shards) for shard in range(1, shards + 1)]
    wanted = [job.shard_plan(shard).target for shard in range(1, shards + 1)]
    assert wanted == shares
    assert sum(wanted) == target


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/4", "x", "1/", "-1/3", "99999999999/3", ""])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(PlanError):
        parse_shard(text, 3)


def test_folders_that_are_no_job_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no packed job"):
        read_job(tmp_path)
    (tmp_path / "job.json").write_text('{"format": 9}')
    with pytest.raises(DataError, match="a job of format 9"):
        read_job(tmp_path)
    (tmp_path / "job.json").write_text("[")
    with pytest.raises(DataError, match="cannot be read"):
        read_job(tmp_path)


def test_a_folder_in_use_and_too_many_shards_are_refused(tmp_path: Path) -> None:
    job = pack(tmp_path, shards=2)
    plan = tmp_path / "plan.toml"
    _, err = do("handoff", "pack", plan, job, "--shards", 2, code=5)
    assert f"{job} exists already" in err
    _, err = do("handoff", "pack", plan, tmp_path / "new", "--shards", 31, code=2)
    assert "a target of 30 cannot be split into 31 shards" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job", "plan.toml"]
