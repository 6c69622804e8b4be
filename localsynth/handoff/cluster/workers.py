"""What runs on the cluster: a worker for each place, which carries out shards, and a board on which they report.

Both are plain classes that the driver turns into actors. The packed folder must be at the same path on every node.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from localsynth.errors import LocalsynthError
from localsynth.events import Progress
from localsynth.handoff.cluster.index import Entry, Held
from localsynth.handoff.cluster.sharing import SharedKeys
from localsynth.handoff.job import Job, read_job
from localsynth.store.queries import Reader
from localsynth.store.rows import RunRow
from localsynth.store.store import Store

_LISTEN_S = 1.0
_ANSWER_S = 60.0  # of the board or the keys, which may be on their way back from a death
_HIDDEN = {"live", "last_instruction", "last_response", "latest", "pace"}

# Carries one shard out: job, shard, what was typed, who hears of progress, the shared keys; state and reason.
CarryOut = Callable[..., tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a shard ended on a worker: its run's state, rows kept, and why it is not finished, "" where it is."""

    shard: int
    state: str
    kept: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """What every worker is to do. `typed`: the models and the machine, as `localsynth run FOLDER --shard` takes them;
    `env`: what the driver's environment says of where models are."""

    folder: Path
    carry_out: CarryOut
    typed: Mapping[str, Any]
    env: Mapping[str, str]


class Board:
    """Reports of shards that are at work, by shard, and whether they are to stop."""

    def __init__(self) -> None:
        self._reports: dict[int, dict[str, Any]] = {}
        self._draining = False

    def report(self, shard: int, figures: dict[str, Any]) -> None:
        """Take in where a shard stands."""
        self._reports[shard] = figures

    def draining(self) -> bool:
        """Whether shards are to finish what is in flight and stop."""
        return self._draining

    def read(self, *, draining: bool) -> dict[int, dict[str, Any]]:
        """The driver's look; what it wants is told anew each time, since a board may have been restarted."""
        self._draining = draining
        return self._reports


class Worker:
    """Carries out one shard at a time, each in this process, with the backend that was typed."""

    def __init__(self, order: Order, board: Any, keys: Any) -> None:
        """`board` and `keys` are handles of actors."""
        os.environ.update(order.env)
        self._folder, self._carry_out, self._typed = order.folder, order.carry_out, order.typed
        self._board, self._keys = board, keys

    def look(self, digest: str) -> tuple[str, str]:
        """The host, and why it cannot work on the job of this digest, "" where it can."""
        host = socket.gethostname()
        try:
            same = read_job(self._folder).digest == digest
        except LocalsynthError as error:
            return host, error.message
        return host, "" if same else f"{self._folder} is another job there"

    def carry_out(self, shard: int) -> Outcome:
        """From wherever the shard's store stands. What a person can change is in the outcome; all else is raised."""
        job = read_job(self._folder)
        store = job.shard_store(shard)

        def narrate(row: RunRow, progress: Progress) -> None:
            del row
            figures = {key: value for key, value in asdict(progress).items() if key not in _HIDDEN}
            self._board.report.remote(shard, figures | {"host": socket.gethostname(), "pid": os.getpid()})

        keys = self._shared(job, store)
        with _own_signals(), self._listening(job, store):
            try:
                state, reason = self._carry_out(job, shard, self._typed, narrate, shared=keys)
            except LocalsynthError as error:
                state, reason = "failed", told(error)
        return Outcome(shard, state, _kept(store, job.id), reason)

    def _shared(self, job: Job, store: Path) -> SharedKeys:
        import ray

        def reach(ask: Any, *arguments: Any) -> Any:
            try:
                return ray.get(ask.remote(*arguments), timeout=_ANSWER_S)
            except ray.exceptions.RayError as error:
                raise ConnectionError(str(error)) from None

        def life() -> str:
            return str(reach(self._keys.life))

        def ask(known: str, entries: list[Entry]) -> list[Held | None] | None:
            found: list[Held | None] | None = reach(self._keys.claim, known, entries)
            return found

        return SharedKeys(store, life, ask, near=job.plan.gate.near_duplicates)

    @contextlib.contextmanager
    def _listening(self, job: Job, store: Path) -> Iterator[None]:
        """Pass on to the run that it is to drain, as `localsynth stop` would."""
        import ray

        over = threading.Event()

        def listen() -> None:
            while not over.wait(_LISTEN_S):
                with contextlib.suppress(ray.exceptions.RayError, LocalsynthError):
                    if ray.get(self._board.draining.remote(), timeout=_ANSWER_S) and store.exists():
                        # Again and again: a run that is still loading takes no word from before its start.
                        with Store.open(store, create=False) as opened:
                            opened.send(job.id, "drain")

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            yield
        finally:
            over.set()
            listener.join(_ANSWER_S)


def told(error: LocalsynthError) -> str:
    """What happened and what to do next, in the one line that an outcome has for both."""
    return f"{error.message} ({error.hint})" if error.hint else error.message


def _kept(store: Path, run: str) -> int:
    if not store.exists():
        return 0
    with Reader.open(store) as reader:
        return reader.counts(run).kept


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Give Ray back its handlers, which a run takes for its own."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: not set by Python, and then not changed either
                signal.signal(number, handler)
