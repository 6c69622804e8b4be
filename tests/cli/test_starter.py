"""The whole way on the real starter model: generate, kill, resume, replay, export, doctor."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import until

QUICK = ("--slots", 8, "--question-tokens", 64, "--answer-tokens", 120)


def count(store: Path, what: str) -> int:
    with sqlite3.connect(store) as db:
        return int(db.execute(f"SELECT count(*) FROM {what}").fetchone()[0])


@pytest.mark.starter
@pytest.mark.slow
def test_a_killed_run_of_the_starter_goes_on_and_its_rows_come_out_again(
    cli: Callable, tmp_path: Path, starter: Path
) -> None:
    del starter
    store = tmp_path / "localsynth.db"
    assert cli("generate", "-n", 4, "--seed", 3, *QUICK, "--detach").code == 0
    until(lambda: count(store, "dataset") >= 1, "the first kept pair", seconds=240)
    with sqlite3.connect(store) as db:
        (pid,) = db.execute("SELECT pid FROM runs").fetchone()
        before = dict(db.execute("SELECT sample, messages FROM dataset"))
    os.kill(pid, signal.SIGKILL)
    done = cli("resume", "--json")
    assert done.code == 0, done.err
    assert done.json["kept"] == count(store, "dataset") == 4
    with sqlite3.connect(store) as db:
        after = dict(db.execute("SELECT sample, messages FROM dataset"))
        models = {row[0] for row in db.execute("SELECT DISTINCT model FROM turns")}
        reasons = {row[0] for row in db.execute("SELECT DISTINCT finish_reason FROM turns JOIN dataset USING (sample)")}
    assert before.items() <= after.items()
    assert models == {"smollm2-135m"}
    assert reasons == {"stop"}
    index = cli("ls", "--kept", "--json").json[0]["index"]
    again = cli("replay", index, "--json")
    assert again.code == 0, again.out
    assert [turn["same"] for turn in again.json] == [True, True]
    assert cli("export", "pairs.jsonl", "--format", "openai").code == 0
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    assert all([m["role"] for m in row["messages"]] == ["user", "assistant"] for row in rows)


@pytest.mark.starter
@pytest.mark.slow
def test_the_doctor_calls_the_starter_fit(cli: Callable, starter: Path) -> None:
    del starter
    done = cli("doctor", "-n", 48, "--json")
    assert done.code == 0, done.err
    assert done.json["grade"] == "fit"
    assert done.json["parts"]["pre_query"].endswith("<|im_start|>user\n")
    assert done.json["yield"] >= 0.85
