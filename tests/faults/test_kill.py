"""SIGKILL at random moments: nothing committed is lost, nothing is there twice, the target is met exactly."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from localsynth.config import plan_from
from localsynth.engine import launch

KILLS = 30
TARGET = 6000


def worker(store: Path, run: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "localsynth", "run", run, "--store", str(store)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def committed(store: Path) -> dict[tuple[int, int], str]:
    with sqlite3.connect(store) as db:
        rows = db.execute("SELECT idx, attempt, state FROM samples").fetchall()
    return {(index, attempt): state for index, attempt, state in rows}


def texts(store: Path) -> dict[tuple[int, int], str]:
    sql = "SELECT s.idx, t.position, t.content FROM turns t JOIN samples s ON s.id = t.sample"
    with sqlite3.connect(store) as db:
        return {(index, position): content for index, position, content in db.execute(sql)}


@pytest.mark.slow
def test_thirty_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    plan = plan_from(
        {
            "target": TARGET,
            "seed": 11,
            "ask": {"backend": "scripted"},
            "answer": {"backend": "scripted"},
            "gate": {"near_duplicates": False},
        }
    )
    store, calm = tmp_path / "killed.db", tmp_path / "calm.db"
    run = launch.create(store, plan)
    luck = random.Random(int(os.environ.get("KILL_SEED", "1")))
    before: dict[tuple[int, int], str] = {}
    before_texts: dict[tuple[int, int], str] = {}
    killed = 0
    for _ in range(KILLS):
        process = worker(store, run)
        time.sleep(luck.uniform(0.0, 1.2))  # the moment of the kill is the test's subject, not a wait for something
        if process.poll() is None:
            killed += 1
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
        process.wait()
        after = committed(store)
        assert before.keys() <= after.keys(), "a committed row is gone"
        finished = {key for key, state in before.items() if state == "done"}
        assert all(after[key] == "done" for key in finished), "a finished row is open again"
        after_texts = texts(store)
        assert all(after_texts.get(key) == text for key, text in before_texts.items()), "a committed turn has changed"
        before, before_texts = after, after_texts
    assert killed >= KILLS // 2, "the run was over too soon for this test to mean something"
    assert worker(store, run).wait(timeout=300) == 0
    undisturbed = launch.create(calm, plan)
    assert worker(calm, undisturbed).wait(timeout=300) == 0
    one, other = dataset(store), dataset(calm)
    assert len(one) == TARGET
    assert one == other, "kills have changed what is kept"


def dataset(store: Path) -> list[tuple[int, str]]:
    with sqlite3.connect(store) as db:
        return db.execute("SELECT idx, messages FROM dataset ORDER BY idx").fetchall()
