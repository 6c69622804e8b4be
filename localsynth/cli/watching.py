"""Following a run from its progress row: a live panel on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from localsynth.cli.exits import Exit
from localsynth.cli.narration import data_json, say
from localsynth.engine import launch
from localsynth.events import Progress
from localsynth.store.queries import Reader
from localsynth.store.rows import RunRow

_TICK = 0.25
_LINE_EVERY = 5.0


def follow(store: Path, run: str, process: subprocess.Popen[bytes] | None, *, as_json: bool) -> int:
    """Watch a run until it ends; its exit code. `process` is its process where it is our child."""
    view = _Panel() if sys.stderr.isatty() else _Lines()
    interrupts = 0
    with view, Reader.open(store) as reader:
        while True:
            try:
                row, progress = _look(reader, run)
                view.show(row, progress)
                if _over(store, row, process):
                    break
                time.sleep(_TICK)
            except KeyboardInterrupt:
                interrupts += 1
                if interrupts == 3:
                    say("the run goes on in the background: localsynth status --watch")
                    return Exit.INTERRUPTED
                view.note(_interrupt(store, run, interrupts))
        row, progress = _look(reader, run)
        view.show(row, progress)
    return _conclude(store, row, progress, as_json=as_json, interrupted=interrupts > 0)


def summary(store: Path, row: RunRow, progress: Progress | None) -> dict[str, Any]:
    """A run as plain data."""
    return {
        "run": row.number,
        "id": row.id,
        "name": row.name,
        "state": launch.true_state(store, row),
        "model": row.model,
        "seed": row.seed,
        "store": str(store),
        "error": row.error,
        **(dataclasses.asdict(progress) if progress else {"kept": 0, "target": row.target}),
    } | {"state": launch.true_state(store, row)}


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


def _conclude(store: Path, row: RunRow, progress: Progress | None, *, as_json: bool, interrupted: bool) -> int:
    state = launch.true_state(store, row)
    kept = progress.kept if progress else 0
    if as_json:
        data_json(summary(store, row, progress))
    if state == "finished":
        say(f"run {row.number} finished: {kept} kept in {store}")
        say(f"  next: localsynth ls, localsynth show 0, localsynth export pairs.jsonl{_option(store)}")
        return Exit.OK
    tail = launch.log_tail(store, row.id)
    if state == "stopped":
        say(f"run {row.number} stopped with {kept} of {row.target} kept: {progress.note if progress else ''}")
    else:
        say(f"run {row.number} {state}: {row.error or ' / '.join(tail) or 'its process ended without a word'}")
    say(f"  next: localsynth resume {row.number}{_option(store)}")
    if state == "failed":
        return Exit.MODEL
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
