"""Following a run from its progress row: a live panel on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Self

from localsynth.cli.exits import Exit
from localsynth.cli.narration import data, data_json, say
from localsynth.config import plan_from
from localsynth.engine import launch
from localsynth.events import Progress
from localsynth.store.queries import Reader
from localsynth.store.rows import RunRow

_TICK = 0.25
_LINE_EVERY = 5.0


def follow(store: Path, run: str, process: subprocess.Popen[bytes] | None, *, as_json: bool) -> int:
    """Watch a run until it ends; its exit code. `process` is its process where it is our child.

    The first Ctrl-C drains the run, the second cancels it, the third leaves it alone.
    """
    view = _Panel() if sys.stderr.isatty() else _Lines()
    obeyed = 0
    with _Interrupts() as interrupts, view, Reader.open(store) as reader:
        while True:
            row, progress = _look(reader, run)
            view.show(row, progress)
            if _over(store, row, process):
                break
            if interrupts.count >= 3:
                say(f"the run goes on in the background: localsynth status --watch{_option(store)}")
                return Exit.INTERRUPTED
            if interrupts.count > obeyed:
                obeyed += 1
                view.note(_interrupt(store, run, obeyed))
            time.sleep(_TICK)
        row, progress = _look(reader, run)
        view.show(row, progress)
        found = summary(store, reader, row)
    _conclude(store, row, found)
    if as_json:
        data_json(found)
    return _code(found, process, interrupted=obeyed > 0)


def begin(store: Path, run: str, process: subprocess.Popen[bytes], *, as_json: bool) -> int:
    """Wait until the run's process can be told to pause or stop, and say its number; a run that failed is concluded."""
    launch.await_start(store, run, process)
    if process.returncode:
        return follow(store, run, process, as_json=as_json)
    with Reader.open(store) as reader:
        row = reader.run(run)
    if as_json:
        data_json({"run": row.number, "id": row.id, "pid": process.pid})
    else:
        data(str(row.number))
    return Exit.OK


class _Interrupts:
    """Counts Ctrl-C while something is watched, so that a quick second one is not lost while the first is obeyed."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._count)
        return self

    def __exit__(self, *exception: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _count(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.count += 1


def summary(store: Path, reader: Reader, row: RunRow) -> dict[str, Any]:
    """A run as plain data. The figures of a live run are its own last word, those of any other are counted."""
    progress = progress_of(reader, row.id)
    if not launch.alive(store, row.id):
        counts = reader.counts(row.id)
        progress = dataclasses.replace(
            progress or Progress(row.state, 0, row.target),
            kept=counts.kept,
            rejected=counts.by_rule,
            failed=counts.failed,
            asked=counts.kept + counts.rejected + counts.asked + counts.ready + counts.failed,
        )
    state = launch.true_state(store, row)
    about = {"run": row.number, "id": row.id, "name": row.name, "state": state, "method": row.method}
    about |= {"model": row.model, "seed": row.seed, "store": str(store), "error": row.error}
    return about | dataclasses.asdict(progress or Progress(state, 0, row.target)) | {"state": state}


def progress_of(reader: Reader, run: str) -> Progress | None:
    """The last progress of a run; None before its first, or from a version that counted other things."""
    found = reader.progress(run)
    if found is None:
        return None
    known = {field.name for field in dataclasses.fields(Progress)}
    return Progress(**{key: value for key, value in found.data.items() if key in known})  # type: ignore[arg-type]


def _look(reader: Reader, run: str) -> tuple[RunRow, Progress | None]:
    return reader.run(run), progress_of(reader, run)


def _over(store: Path, row: RunRow, process: subprocess.Popen[bytes] | None) -> bool:
    if process is not None:
        return process.poll() is not None
    return not launch.alive(store, row.id)


def _interrupt(store: Path, run: str, count: int) -> str:
    launch.tell(store, run, "drain" if count == 1 else "cancel")
    if count == 1:
        return "finishing what is in flight; Ctrl-C again stops at once"
    return "stopping at once; Ctrl-C again leaves the run alone"


def _conclude(store: Path, row: RunRow, found: Mapping[str, Any]) -> None:
    """Say how it ended and what to type next."""
    state, kept, note = found["state"], f"{found['kept']} of {row.target} kept", found["note"]
    because = f": {note}" if note else ""
    resume = f"localsynth resume {row.number}{_option(store)}"
    if state == "finished":
        say(f"run {row.number} finished with {kept}{because}")
        if found["kept"]:
            say(f"  next: localsynth ls, localsynth show 0, localsynth export{_option(store)}")
        return
    if state == "stopped":
        say(f"run {row.number} stopped with {kept}{because}")
        if found["asked"] >= plan_from(row.plan).attempts():
            resume = "localsynth generate, with more --max-attempts, other --topics or another --seed"
    elif state == "created":
        said = _last_words(store, row)
        say(f"run {row.number} {'could not start: ' + said if said else 'was never started'}")
    elif state in {"running", "paused"}:
        say(f"run {row.number} is {state}")
        resume = f"localsynth status --watch{_option(store)}"
    else:
        why = row.error or _last_words(store, row) or "its process ended without a word; is the disk full?"
        say(f"run {row.number} {state} with {kept}: {why}")
    say(f"  next: {resume}")


def _last_words(store: Path, row: RunRow) -> str:
    """The error that the run's process printed, where it could not write it into the store; "" when it did not."""
    lines = launch.log_tail(store, row.id, 6)
    starts = [number for number, line in enumerate(lines) if line.startswith("localsynth: ")]
    return " ".join(line.strip() for line in lines[starts[-1] :]).removeprefix("localsynth: ") if starts else ""


def _code(found: Mapping[str, Any], process: subprocess.Popen[bytes] | None, *, interrupted: bool) -> int:
    """What the run's own process ended with, where that says more than the state in which it left the run."""
    if found["state"] == "finished":
        return Exit.OK if found["kept"] >= found["target"] else Exit.INCOMPLETE
    if process is not None and process.returncode in {Exit.ERROR, Exit.USAGE, Exit.MODEL, Exit.STORE, Exit.DATA}:
        return int(process.returncode)
    if found["state"] == "failed":
        return Exit.ERROR
    return Exit.INTERRUPTED if interrupted else Exit.INCOMPLETE


def _option(store: Path) -> str:
    """How to name this store, where it is not the default."""
    from localsynth.paths import default_store

    return "" if store == default_store() else f" --store {store}"


class _Lines:
    """A line every few seconds."""

    def __init__(self) -> None:
        self._next = 0.0
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def show(self, row: RunRow, progress: Progress | None) -> None:
        from localsynth.cli.panel import status_line

        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LINE_EVERY
        line = status_line(row, progress)
        if line != self._last:
            say(line)
        self._last = line

    def note(self, text: str) -> None:
        say(text)


class _Panel:
    """A panel that is drawn again in place."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), refresh_per_second=8, transient=False)
        self._note = ""

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def show(self, row: RunRow, progress: Progress | None) -> None:
        from localsynth.cli.panel import panel

        self._live.update(panel(row, progress, self._note, self._live.console.size))

    def note(self, text: str) -> None:
        self._note = text
