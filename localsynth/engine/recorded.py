"""A recorded run, played as if it went on now: for `localsynth --demo`, and as a store for tests.

The log was written by `scripts/record_demo.py` while the starter model worked: JSON lines with the seconds since the
start. Whoever plays it holds the store's lock, beats and obeys as a run does, so nobody who watches needs to know.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from localsynth.engine.lock import hold
from localsynth.records import Embedding, Neighbour, Sample, Sampling, Score, Turn
from localsynth.store.encode import now
from localsynth.store.rows import EventRow, InstructionKey
from localsynth.store.store import Row, Store

LOG = Path(__file__).with_name("recorded.jsonl")
PERIOD = 0.1  # seconds between two looks at what the run is told
_STOPPED = "it was told to stop"

Data = Mapping[str, Any]


class _Told(Exception):
    """The run was told to stop, or nobody watches it any more."""


def begin(store: Path, log: Path = LOG) -> str:
    """Make the store with the recorded run in it, not started yet; the run's id."""
    with log.open(encoding="utf-8") as lines:
        head = json.loads(next(lines))
    with Store.open(store) as opened:
        return opened.create_run(**head["run"])


def play(
    store: Path, run: str, *, speed: float = 1.0, log: Path = LOG, watched: Callable[[], bool] = lambda: True
) -> None:
    """Write the recorded rows in their time, `speed` times as fast. Returns at the end, when the run is told to stop,
    or when `watched` says no.

    StoreBusy when another process is at work on the store.
    """
    with hold(store, run), Store.open(store, create=False) as opened:
        opened.update_run(run, state="running", pid=os.getpid(), host=socket.gethostname(), started=now())
        player = _Player(opened, run, speed, watched)
        with contextlib.suppress(_Told):
            for step in _steps(log):
                player.rest(step["at"])
                player.write(step)


class _Player:
    def __init__(self, store: Store, run: str, speed: float, watched: Callable[[], bool]) -> None:
        self._store, self._run, self._speed, self._watched = store, run, speed, watched
        self._at = 0.0  # seconds of the recording
        self._paused = False
        self._progress: dict[str, Any] = {}

    def rest(self, until: float) -> None:
        """Wait for the next step, with an ear for what the run is told."""
        while self._paused or self._at < until:
            if not self._watched():
                raise _Told
            for control in self._store.take_controls(self._run):
                self._obey(control.verb)
            if not self._paused:
                pause = min(PERIOD * self._speed, until - self._at)
                self._at += pause
                time.sleep(max(0.0, pause / self._speed))
            else:
                time.sleep(PERIOD)

    def write(self, step: Data) -> None:
        """Carry out one line of the log."""
        if "samples" in step:
            self._store.save([row for sample in step["samples"] for row in _rows(self._run, sample)])
        if "event" in step:
            kind, data = step["event"]["kind"], step["event"]["data"]
            self._say(kind, data | {"pid": os.getpid()} if "pid" in data else data)
        if "progress" in step:
            self._tell(step["progress"])
        if "run" in step:
            self._store.update_run(self._run, **step["run"])
        if "end" in step:
            self._store.update_run(self._run, state=step["end"], finished=now(), pid=None)

    def _obey(self, verb: str) -> None:
        if verb in {"pause", "resume"} and self._paused != (verb == "pause"):
            self._paused = verb == "pause"
            self._say("Paused" if self._paused else "Continued", {"reason": ""} if self._paused else {})
            self._tell({"state": "paused" if self._paused else "running"})
        elif verb in {"drain", "cancel"}:
            self._say("RunEnded", {"state": "stopped", "kept": self._progress.get("kept", 0), "reason": _STOPPED})
            self._tell({"state": "stopped", "slots_used": 0, "live": ""})
            self._store.update_run(self._run, state="stopped", finished=now(), pid=None)
            raise _Told

    def _say(self, kind: str, data: Data) -> None:
        self._store.save([EventRow(self._run, kind, data)])

    def _tell(self, changed: Data) -> None:
        self._progress |= changed
        latest = [Sample(self._run, *place).id for place in self._progress.get("latest", ())]
        self._store.set_progress(self._run, self._progress | {"latest": latest})
        state = "paused" if self._paused else "running"
        self._store.update_run(self._run, heartbeat=now(), state=state)


def _steps(log: Path) -> Iterator[Data]:
    with log.open(encoding="utf-8") as lines:
        next(lines)  # what `begin` took
        for line in lines:
            yield json.loads(line)


def _rows(run: str, data: Data) -> Iterator[Row]:
    sample = Sample(run, **data["sample"])
    yield sample
    for turn in data.get("turns", ()):
        sampling = turn.get("sampling")
        if sampling is not None:
            sampling = Sampling(**sampling | {"avoid_first": tuple(sampling.get("avoid_first", ()))})
        yield Turn(sample.id, **turn | {"sampling": sampling, "rules": tuple(turn.get("rules", ()))})
    for score in data.get("scores", ()):
        yield Score(sample.id, **score)
    for near in data.get("neighbours", ()):
        yield Neighbour(sample.id, Sample(run, *near["place"]).id, near["encoder"], near["similarity"])
    if "key" in data:
        yield InstructionKey(sample.id, data["key"])
    for vector in data.get("embeddings", ()):
        yield Embedding(sample.id, **vector | {"vector": base64.b64decode(vector["vector"])})


def main(arguments: list[str]) -> int:
    """`python -m localsynth.engine.recorded STORE RUN SPEED`: play until the end or until the parent is gone."""
    store, run, speed = arguments
    parent = os.getppid()
    play(Path(store), run, speed=float(speed), watched=lambda: os.getppid() == parent)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
