"""Helpers of tests that start real processes: waiting with a deadline, runs to start, stores to compare."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from localsynth.config import plan_from
from localsynth.engine import launch

DRIVER = Path(__file__).with_name("faults") / "driver.py"
SCRIPTED = {"ask": {"backend": "scripted"}, "answer": {"backend": "scripted"}, "gate": {"near_duplicates": False}}


def until(question: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Ask again and again; a failure when the answer is still no after `seconds`."""
    end = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < end, f"still not so after {seconds} s: {what}"
        time.sleep(0.02)


def ask(store: Path, sql: str) -> Any:
    """The first value that a query gives; None where there is no store yet, or while it is made."""
    if not store.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as db:
            row = db.execute(sql).fetchone()
    except sqlite3.OperationalError:
        return None
    return row[0] if row else None


def dataset(store: Path) -> list[tuple[int, str]]:
    with closing(sqlite3.connect(store)) as db:
        return db.execute("SELECT idx, messages FROM dataset ORDER BY idx").fetchall()


def create(store: Path, **plan: object) -> str:
    return launch.create(store, plan_from({**SCRIPTED, "seed": 11, **plan}))


def start(*arguments: object, faults: Mapping[str, object] | None = None, **options: Any) -> subprocess.Popen[str]:
    """`localsynth ARGUMENTS` as a process of its own session, on a scripted backend with these faults."""
    command = [sys.executable, "-m", "localsynth"] if faults is None else [sys.executable, str(DRIVER)]
    env = os.environ | {f"FAULT_{name}": str(value) for name, value in (faults or {}).items()}
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [*command, *map(str, arguments)], text=True, start_new_session=True, **{"env": env, **streams, **options}
    )


def end(process: subprocess.Popen[str], seconds: float = 60) -> tuple[int, str, str]:
    """Its exit code and what it said; a process that does not end is killed and fails the test."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"the process did not end:\n{out}\n{err}") from None
    return process.returncode, out, err
