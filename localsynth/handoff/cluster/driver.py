"""Running the shards of a packed job on a Ray cluster, from the machine that was asked to.

Every worker is an actor with the CPUs or GPUs that one backend needs; a free one takes the next shard. When a worker or
its node dies, another takes its place and its shard goes on from what its store holds: rows are committed as they come,
and a row's identity does not depend on who makes it, so none is made twice.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from localsynth.errors import BackendError, LocalsynthError, PlanError
from localsynth.handoff.cluster.connect import Size, connected
from localsynth.handoff.cluster.sharing import KeyServer
from localsynth.handoff.cluster.standing import Standing
from localsynth.handoff.cluster.workers import Board, CarryOut, Order, Outcome, Worker, told
from localsynth.handoff.job import Job

_LOOK_S = 1.0
_START_S = 600.0  # for the first of the workers that wait for a place: others may be at work on the cluster
_LIVES = 4  # of one shard: a model that always brings its process down must not do so for ever
_ENV = ("LOCALSYNTH_HOME", "HF_HOME", "HF_HUB_OFFLINE")


@dataclass(frozen=True, slots=True)
class Request:
    """What was typed. `workers` 0: one for each GPU group, or for each node; `cpus` 0: a worker's share of them.

    `typed`: the models and the machine of the shards, as `localsynth run FOLDER --shard` takes them.
    """

    address: str = "auto"
    workers: int = 0
    cpus: int = 0
    typed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Places:
    """How many workers there are, what each takes of the cluster, and the backend that they run, "" for servers."""

    workers: int
    cpus: int
    gpus: int
    backend: str


def places(request: Request, size: Size, job: Job) -> Places:
    """Divide a cluster. BackendError where it has not what was asked for, PlanError for more workers than it holds."""
    backend = request.typed.get("backend") or ("" if request.typed.get("servers") else job.plan.ask.backend)
    if backend == "auto":
        backend = "vllm" if size.gpus else "llamacpp"
    gpus = (request.typed.get("tensor_parallel") or 1) if backend == "vllm" else 0
    if gpus > size.gpus:
        raise BackendError(
            f"vLLM needs {gpus} GPU{'s' * (gpus > 1)} for each worker, and this cluster has {size.gpus or 'none'}",
            "choose another backend: --backend llamacpp; or a cluster with GPUs: --address HOST:PORT",
        )
    most = size.gpus // gpus if gpus else size.cpus
    workers = min(request.workers or (most if gpus else size.nodes), job.shards)
    cpus = request.cpus or (1 if gpus else max(1, size.cpus // workers))
    if workers > most or workers * cpus > max(size.cpus, workers):
        raise PlanError(
            f"{workers} workers of {cpus} CPUs and {gpus} GPUs do not fit: the cluster has {size.cpus} and {size.gpus}",
            "ask for fewer: --workers N --cpus N",
        )
    return Places(workers, cpus, gpus, backend)


def run_on_cluster(
    job: Job, request: Request, carry_out: CarryOut, show: Callable[[Standing], None], interrupts: Callable[[], int]
) -> Standing:
    """Carry every shard of the job out; where it stands at the end.

    `show` is called every second. One interrupt finishes what is in flight, a second one ends at once. BackendError
    when no worker can be started.
    """
    with connected(request.address, request.workers) as size:
        return _Driver(job, request, places(request, size, job), carry_out).run(show, interrupts)


class _Driver:
    def __init__(self, job: Job, request: Request, of: Places, carry_out: CarryOut) -> None:
        import ray

        self._ray, self._job, self._places = ray, job, of
        typed = {**request.typed, "backend": of.backend, "threads": of.cpus}
        env = {name: os.environ[name] for name in _ENV if name in os.environ}
        self._order = Order(job.folder, carry_out, typed, env)
        forever = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
        near = job.plan.gate.near_duplicates
        stores = [job.shard_store(shard) for shard in range(1, job.shards + 1)]
        self._board = ray.remote(Board).options(**forever).remote()
        self._keys = ray.remote(KeyServer).options(**forever).remote(stores, near=near)
        self._starting: dict[Any, Any] = {}
        self._working: dict[Any, tuple[Any, int]] = {}
        self._idle: list[Any] = []
        self._waiting = deque(range(1, job.shards + 1))
        self._lives: Counter[int] = Counter()
        self._outcomes: dict[int, Outcome] = {}
        self._problems: dict[str, str] = {}
        self._start_by = 0.0

    def run(self, show: Callable[[Standing], None], interrupts: Callable[[], int]) -> Standing:
        for _ in range(self._places.workers):
            self._start()
        while (stop := interrupts()) <= 1 and (self._working or (self._waiting and not stop)):
            while self._idle and self._waiting and not stop:
                self._give(self._idle.pop(), self._waiting.popleft())
            self._look()
            show(self._standing(draining=bool(interrupts())))
        return self._standing(draining=bool(interrupts()))

    def _start(self) -> None:
        of = self._places
        actor = self._ray.remote(Worker).options(
            num_cpus=of.cpus, num_gpus=of.gpus, max_restarts=0, scheduling_strategy="SPREAD"
        )
        worker = actor.remote(self._order, self._board, self._keys)
        self._starting[worker.look.remote(self._job.digest)] = worker
        self._start_by = time.monotonic() + _START_S

    def _give(self, worker: Any, shard: int) -> None:
        self._lives[shard] += 1
        self._working[worker.carry_out.remote(shard)] = worker, shard

    def _look(self) -> None:
        if not (self._starting or self._working):
            host, problem = next(iter(self._problems.items()))
            raise BackendError(
                f"no worker can be started: {problem} (on {host})",
                "the packed folder and localsynth must be at the same path on every node: bash run.sh --install",
            )
        if not self._working and time.monotonic() > self._start_by:
            raise BackendError(
                f"no worker was started within {_START_S:.0f} s: others have the CPUs or GPUs of this cluster",
                "ask for fewer: --workers N --cpus N; `ray status` says who has them",
            )
        ready, _ = self._ray.wait([*self._starting, *self._working], num_returns=1, timeout=_LOOK_S)
        for ref in ready:
            if ref in self._starting:
                self._started(ref, self._starting.pop(ref))
            else:
                self._ended(ref, *self._working.pop(ref))

    def _started(self, ref: Any, worker: Any) -> None:
        try:
            host, problem = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            host, problem = "a node", _cause(error)
        if problem:
            self._problems[host] = problem
            self._ray.kill(worker)
        else:
            self._idle.append(worker)

    def _ended(self, ref: Any, worker: Any, shard: int) -> None:
        try:
            self._outcomes[shard] = self._ray.get(ref)
            self._idle.append(worker)
        except self._ray.exceptions.RayTaskError as error:
            self._outcomes[shard] = Outcome(shard, "failed", reason=_cause(error))
            self._idle.append(worker)
        except self._ray.exceptions.RayError as error:
            self._ray.kill(worker)  # one that is out of reach only would keep the shard's store
            if self._lives[shard] < _LIVES:
                self._waiting.appendleft(shard)
            else:
                reason = f"{_LIVES} workers died of it: {_cause(error)}"
                self._outcomes[shard] = Outcome(shard, "failed", reason=reason)
            self._start()
        states = [outcome.state for outcome in self._outcomes.values()]
        if len(states) >= self._places.workers and set(states) == {"failed"}:
            self._waiting.clear()  # the next one would load a model for nothing

    def _standing(self, *, draining: bool) -> Standing:
        try:
            reports = self._ray.get(self._board.read.remote(draining=draining), timeout=10)
        except self._ray.exceptions.RayError:
            reports = {}  # it is being restarted
        working = {shard: reports.get(shard, {}) for _, shard in self._working.values()}
        retried = sum(lives - 1 for lives in self._lives.values())
        return Standing(self._job, self._places.workers, working, dict(self._outcomes), retried, draining=draining)


def _cause(error: BaseException) -> str:
    """An error of our own as a worker raised it; else the last line of what Ray says, behind the trace of the actor."""
    raised = getattr(error, "cause", None)
    if isinstance(raised, LocalsynthError):
        return told(raised)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
