"""Runs from outside: create one, start its process, tell it something. For the command line and the terminal UI."""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from localsynth import paths
from localsynth.config import Plan, plan_data, plan_from
from localsynth.engine.lock import holder, refuse_busy
from localsynth.errors import NotFound, StoreError
from localsynth.store.encode import now
from localsynth.store.queries import Reader
from localsynth.store.rows import RunRow, Verb
from localsynth.store.store import Store

_MARK = "--- process started "
_PROGRESS = re.compile(r"run \d+: ")


def create(store: Path, plan: Plan, name: str | None = None) -> str:
    """Write a new run into the store, which is made where it does not exist; its id."""
    plan = plan if plan.date else replace(plan, date=dt.date.today().isoformat())  # noqa: DTZ011 - the user's own day
    with Store.open(store) as opened:
        return opened.create_run(
            method=plan.method,
            plan=plan_data(plan),
            seed=plan.seed,
            target=plan.target,
            backend=plan.ask.backend,
            model=plan.ask.model,
            name=name,
        )


def force(store: Path, row: RunRow) -> None:
    """From now on the run goes on though its model is unfit for Magpie."""
    with Store.open(store, create=False) as opened:
        opened.update_run(row.id, plan=plan_data(replace(plan_from(row.plan), force=True)))


def start(store: Path, run: str) -> subprocess.Popen[bytes]:
    """Start `localsynth run` as a process that outlives this one; what it says goes to `paths.run_log`.

    StoreBusy when a live process is at work on the store already. NotFound when the run was handed over.
    """
    refuse_busy(store)
    refuse_handed(store, run)
    log = paths.run_log(store, run)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            # Takes up a block of the disk, so that a disk which fills up later leaves room for the last words.
            file.write(f"{_MARK}{now()}\n".encode())
            file.flush()
            return subprocess.Popen(
                [sys.executable, "-m", "localsynth", "run", run, "--store", str(store)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
    except OSError as error:
        raise StoreError(f"cannot start the run: {error}", "free some space, or check the folder's rights") from None


def await_start(store: Path, run: str, process: subprocess.Popen[bytes], seconds: float = 30) -> None:
    """Return when the process has taken the store, or is over: from then on the run can be paused and stopped."""
    end = time.monotonic() + seconds
    while process.poll() is None and not alive(store, run) and time.monotonic() < end:
        time.sleep(0.02)


def tell(store: Path, run: str, verb: Verb) -> None:
    """Leave a word for a run; a live process takes it within a quarter of a second."""
    with Store.open(store, create=False) as opened:
        opened.send(run, verb)


def alive(store: Path, run: str) -> bool:
    """Whether a process is at work on this run now."""
    who = holder(store)
    return who is not None and who.get("run") == run


def at_work(store: Path) -> str:
    """The id of the run whose process is at work on this store, "" when there is none."""
    return str((holder(store) or {}).get("run") or "")


def true_state(store: Path, row: RunRow) -> str:
    """The run's state, "died" where it says running and no process is there."""
    if row.state in {"running", "paused"} and not alive(store, row.id):
        return "died"
    return row.state


def log_tail(store: Path, run: str, lines: int = 3) -> list[str]:
    """The last lines that the latest process of a run printed."""
    try:
        with paths.run_log(store, run).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 4000))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    said = text.rpartition(_MARK)[2].splitlines()[_MARK in text :]
    return [line for line in said if line.strip()][-lines:]


def last_words(store: Path, run: str) -> list[str]:
    """The error that the latest process of a run printed, with its hint; else its last line if it is no progress."""
    lines = log_tail(store, run, 6)
    errors = [number for number, line in enumerate(lines) if line.startswith("localsynth: ")]
    said = [line.strip().removeprefix("localsynth: ") for line in lines[errors[-1] if errors else -1 :]]
    return [] if said and _PROGRESS.match(said[0]) else said


def newest(store: Path, name: str | None) -> RunRow:
    """The run of this name; without one the newest that generates. NotFound when there is none, or it is an import."""
    with Reader.open(store) as reader:
        if name is None:
            generating = [row for row in reader.runs() if row.method != "import"]
            return generating[-1] if generating else reader.run(None)
        row = reader.run(name)
    if row.method == "import":
        raise NotFound(
            f"run {row.number} is an import: there is nothing to run", "import the rest: localsynth import FILE"
        )
    return row


def refuse_handed(store: Path, run: str) -> None:
    """NotFound when the run was handed over: its shards go on where they are, never here."""
    with Reader.open(store) as reader:
        shards, number = reader.shards(run), reader.run(run).number
    if shards:
        raise NotFound(
            f"run {number} is a job of {shards[0].shards} shards: it does not go on from its store",
            "localsynth run FOLDER --shard I/K makes its rows, localsynth merge brings them here",
        )
