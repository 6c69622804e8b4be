"""Heavy work beside the UI: each job is a child `python -m localsynth ... --json`, whose last words are read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Any, Literal

from localsynth.errors import LocalsynthError

State = Literal["running", "done", "failed", "cancelled"]
_TAIL = 8192
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as it stands. `said`: its last word; `progress`: its last one that was JSON; `result`: what it printed.

    `seconds`: how long it is at work, or was. `error` and `hint` are set when it failed.
    """

    key: str
    title: str
    state: State
    seconds: float
    said: str = ""
    progress: Mapping[str, Any] = field(default_factory=dict)
    rate: float = 0.0
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    hint: str = ""


@dataclass(slots=True)
class _Child:
    title: str
    process: subprocess.Popen[bytes]
    out: IO[bytes]
    err: IO[bytes]
    outlives: bool
    began: float = field(default_factory=time.monotonic)
    cancelled: bool = False
    told: bool = False
    marks: list[tuple[float, float]] = field(default_factory=list)
    last: JobView | None = None


class Jobs:
    """The jobs that this UI started, by key; a new one takes the place of an ended one with its key."""

    def __init__(self) -> None:
        self._children: dict[str, _Child] = {}

    def start(self, key: str, title: str, arguments: Sequence[str], *, text: str = "", outlives: bool = False) -> None:
        """Start `localsynth ARGUMENTS --json`; nothing happens while the job of this key is at work.

        `text`: what it reads from its standard input. `outlives`: it goes on when the UI is left; others end with it.
        LocalsynthError when it cannot be started.
        """
        child = self._children.get(key)
        if child is not None and child.process.poll() is None:
            return
        # Files without a name: a child that goes on when nobody reads writes into them as before.
        out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the job
        given = tempfile.TemporaryFile()  # noqa: SIM115
        given.write(text.encode())
        given.seek(0)
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "localsynth", *arguments, "--json"],
                stdin=given,
                stdout=out,
                stderr=err,
                start_new_session=outlives,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
        except OSError as error:
            raise LocalsynthError(f"{title} cannot be started: {error.strerror}", "free some memory") from None
        finally:
            given.close()
        self._children[key] = _Child(title, process, out, err, outlives)

    def views(self) -> dict[str, JobView]:
        """Every job as it stands now, the oldest first. Reads a few kilobytes: call it on a worker thread."""
        return {key: self._view(key, child) for key, child in list(self._children.items())}

    def cancel(self, key: str) -> bool:
        """End a job; what it has fetched so far stays. False where it is not at work."""
        child = self._children.get(key)
        if child is None or child.process.poll() is not None:
            return False
        child.cancelled = True
        child.process.terminate()
        return True

    def tell(self, key: str) -> bool:
        """Whether the end of this job has not been told yet; from now on it has."""
        child = self._children.get(key)
        if child is None or child.told:
            return False
        child.told = True
        return True

    def forget(self, key: str) -> None:
        """Drop a job that has ended."""
        child = self._children.get(key)
        if child is not None and child.process.poll() is not None:
            del self._children[key]

    def leave(self) -> list[str]:
        """The UI is left: end what does not outlive it; a line for each job that was at work."""
        said = []
        for child in self._children.values():
            if child.process.poll() is None and child.outlives:
                said.append(f"{child.title} goes on without the UI (process {child.process.pid})")
            elif child.process.poll() is None:
                child.process.terminate()
                try:
                    child.process.wait(2)
                except subprocess.TimeoutExpired:
                    child.process.kill()
                    child.process.wait()
                said.append(f"{child.title} was ended with the UI")
            child.out.close()
            child.err.close()
        self._children.clear()
        return said

    def _view(self, key: str, child: _Child) -> JobView:
        if child.last is not None:
            return child.last
        code = child.process.poll()
        seconds = time.monotonic() - child.began
        lines = _tail(child.err).decode("utf-8", "replace").splitlines()
        progress = next((found for line in reversed(lines) if (found := _json(line))), {})
        words = [line for line in lines if line.strip() and not _json(line)]
        view = JobView(key, child.title, "running", seconds, words[-1] if words else "", progress)
        if code is None:
            return _with_rate(view, child.marks)
        child.last = _ended(view, code, words, child)
        child.out.close()
        child.err.close()
        return child.last


def _ended(view: JobView, code: int, words: Sequence[str], child: _Child) -> JobView:
    if child.cancelled or code == _INTERRUPTED:
        return replace(view, state="cancelled")
    result = _json(_whole(child.out))
    if result:  # doctor ends with an error where it says unfit, and has said all
        return replace(view, state="done", result=result)
    error = next((line.removeprefix("localsynth: ") for line in words if line.startswith("localsynth: ")), "")
    hint = next((line.removeprefix("  next: ") for line in words if line.startswith("  next: ")), "")
    last = words[-1] if words else f"it ended with code {code} and without a word"
    return replace(view, state="failed", error=error or last, hint=hint or "try it on a terminal to see all it says")


def _with_rate(view: JobView, marks: list[tuple[float, float]]) -> JobView:
    """Bytes a second over the last ten seconds."""
    done = view.progress.get("all_done")
    if not isinstance(done, int | float):
        return view
    marks.append((view.seconds, float(done)))
    while len(marks) > 2 and marks[0][0] < view.seconds - 10:
        marks.pop(0)
    spent = marks[-1][0] - marks[0][0]
    return replace(view, rate=(marks[-1][1] - marks[0][1]) / spent if spent > 0 else 0.0)


def _tail(file: IO[bytes]) -> bytes:
    """The last bytes. The child has the same place in the file: it must not be moved."""
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), _TAIL, max(0, size - _TAIL))


def _whole(file: IO[bytes]) -> str:
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode("utf-8", "replace")


def _json(text: str) -> dict[str, Any]:
    if not text.lstrip().startswith("{"):
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
