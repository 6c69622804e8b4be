"""Who gets which shard, and what happens when workers die: the driver over a stand-in for Ray."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from localsynth.config import plan_from
from localsynth.errors import BackendError, DataError
from localsynth.handoff.cluster import driver
from localsynth.handoff.cluster.connect import Size
from localsynth.handoff.cluster.driver import Request, run_on_cluster
from localsynth.handoff.cluster.standing import Standing
from localsynth.handoff.cluster.workers import Outcome
from localsynth.handoff.job import Job


class RayError(Exception):
    """As ray.exceptions.RayError: a process or a node is gone."""


class RayTaskError(RayError):
    """What a task itself raised; `cause` is the error, where it can be pickled."""

    cause: Exception | None = None


@dataclass(eq=False)
class Ref:
    call: Callable[[], Any]


@dataclass
class Cluster:
    """Actors are plain objects here; a worker's words are what the test says."""

    shard: Callable[[int, int], Outcome]  # shard, how often it was given out
    look: Callable[[], tuple[str, str]] = lambda: ("node", "")
    options: list[dict[str, Any]] = field(default_factory=list)
    given: list[int] = field(default_factory=list)
    killed: int = 0

    def remote(self, cls: type) -> Any:
        def options(**asked: Any) -> Any:
            self.options.append({"actor": cls.__name__, **asked})
            return SimpleNamespace(remote=lambda *args, **more: self.actor(cls, args, more))

        return SimpleNamespace(options=options)

    def actor(self, cls: type, args: tuple[Any, ...], more: dict[str, Any]) -> Any:
        if cls.__name__ == "Worker":
            return SimpleNamespace(
                look=SimpleNamespace(remote=lambda digest: Ref(self.look)),
                carry_out=SimpleNamespace(remote=self.carry_out),
            )
        made = cls(*args, **more)
        return SimpleNamespace(read=SimpleNamespace(remote=lambda **asked: Ref(lambda: made.read(**asked))))

    def carry_out(self, shard: int) -> Ref:
        self.given.append(shard)
        times = self.given.count(shard)
        return Ref(lambda: self.shard(shard, times))

    def module(self) -> ModuleType:
        ray = ModuleType("ray")
        ray.__dict__.update(
            remote=self.remote,
            get=lambda ref, timeout=None: ref.call(),
            wait=lambda refs, num_returns, timeout: (refs[:1], refs[1:]),
            kill=self.kill,
            exceptions=SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError),
        )
        return ray

    def kill(self, actor: Any) -> None:
        self.killed += 1


@pytest.fixture
def job(tmp_path: Path) -> Job:
    plan = plan_from({"target": 40, "ask": {"backend": "scripted"}, "answer": {"backend": "scripted"}})
    return Job(tmp_path, "01J", 4, "digest", plan, {}, None)


Run = Callable[..., Standing]


@pytest.fixture
def run(job: Job, monkeypatch: pytest.MonkeyPatch) -> Run:
    @contextmanager
    def connected(address: str, workers: int) -> Iterator[Size]:
        yield Size(1, 8, 0)

    monkeypatch.setattr(driver, "connected", connected)

    def start(cluster: Cluster, *, interrupts: Callable[[], int] = lambda: 0, workers: int = 2) -> Standing:
        monkeypatch.setitem(sys.modules, "ray", cluster.module())
        return run_on_cluster(job, Request(workers=workers), print, lambda standing: None, interrupts)

    return start


def finished(shard: int, times: int) -> Outcome:
    return Outcome(shard, "finished", 10)


def test_every_shard_is_carried_out_once(run: Run):
    cluster = Cluster(finished)
    standing = run(cluster)
    assert sorted(cluster.given) == [1, 2, 3, 4]
    assert (standing.finished, standing.kept, standing.retried) == (4, 40, 0)
    asked = {each["actor"]: each for each in cluster.options}
    assert (asked["Worker"]["num_cpus"], asked["Worker"]["num_gpus"]) == (4, 0)
    # Neither takes a place from a worker, and both come back.
    assert all(asked[name]["num_cpus"] == 0 and asked[name]["max_restarts"] == -1 for name in ("Board", "KeyServer"))


def test_the_shard_of_a_worker_that_died_goes_to_another_one(run: Run):
    def shard(number: int, times: int) -> Outcome:
        if number == 2 and times < 3:
            raise RayError("the node is gone")
        return finished(number, times)

    cluster = Cluster(shard)
    standing = run(cluster)
    assert sorted(cluster.given) == [1, 2, 2, 2, 3, 4]
    assert (standing.finished, standing.retried) == (4, 2)
    assert cluster.killed == 2
    assert len([each for each in cluster.options if each["actor"] == "Worker"]) == 2 + 2


def test_a_shard_that_brings_every_worker_down_is_given_up_and_the_others_are_not(run: Run):
    def shard(number: int, times: int) -> Outcome:
        if number == 2:
            raise RayError("trace\n  killed by SIGKILL")
        return finished(number, times)

    standing = run(Cluster(shard))
    assert standing.finished == 3
    assert standing.outcomes[2] == Outcome(2, "failed", 0, "4 workers died of it: killed by SIGKILL")


def test_what_a_shard_raises_is_its_reason_and_its_worker_goes_on(run: Run):
    def shard(number: int, times: int) -> Outcome:
        if number == 1:
            raise RayTaskError("trace\nValueError: no such thing")
        return finished(number, times)

    cluster = Cluster(shard)
    standing = run(cluster)
    assert standing.outcomes[1] == Outcome(1, "failed", 0, "ValueError: no such thing")
    assert (standing.finished, cluster.killed) == (3, 0)


def test_an_error_of_our_own_keeps_its_hint_on_the_way(run: Run):
    def shard(number: int, times: int) -> Outcome:
        if number == 1:
            error = RayTaskError("trace\nlocalsynth.errors.DataError: /job is no packed job")
            error.cause = pickle.loads(pickle.dumps(DataError("/job is no packed job", "mount it again")))
            raise error
        return finished(number, times)

    assert run(Cluster(shard)).outcomes[1] == Outcome(1, "failed", 0, "/job is no packed job (mount it again)")


def test_when_all_workers_fail_at_their_first_shard_the_rest_is_left(run: Run):
    cluster = Cluster(lambda shard, times: Outcome(shard, "failed", 0, "another model"))
    standing = run(cluster)
    assert len(cluster.given) < 4
    assert (standing.finished, len(standing.outcomes)) == (0, len(cluster.given))


def test_nodes_without_the_folder_are_named(run: Run):
    cluster = Cluster(finished, look=lambda: ("far", "job is no packed job: it has no job.json"))
    with pytest.raises(BackendError, match=r"^no worker can be started: job is no packed job: .* \(on far\)$"):
        run(cluster)
    assert cluster.given == []
    assert cluster.killed == 2


def test_a_cluster_that_gives_no_place_is_not_waited_for_for_ever(run: Run, monkeypatch: pytest.MonkeyPatch):
    cluster = Cluster(finished)
    full = cluster.module()
    full.__dict__["wait"] = lambda refs, num_returns, timeout: ([], refs)
    monkeypatch.setattr(cluster, "module", lambda: full)
    times = iter(range(0, 10_000, 100))
    monkeypatch.setattr(driver, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with pytest.raises(BackendError, match=r"^no worker was started within 600 s: others have the CPUs"):
        run(cluster)
    assert cluster.given == []


def test_one_node_without_localsynth_leaves_the_work_to_the_others(run: Run):
    looks = iter([False, True])

    def look() -> tuple[str, str]:
        if next(looks):
            return "near", ""
        raise RayError("trace\nModuleNotFoundError: No module named 'localsynth'")

    assert run(Cluster(finished, look=look)).finished == 4


def test_one_interrupt_starts_no_other_shard_and_two_leave_at_once(run: Run):
    cluster = Cluster(lambda shard, times: Outcome(shard, "stopped", 3, "it was told to stop"))
    standing = run(cluster, workers=1, interrupts=lambda: len(cluster.given))
    assert cluster.given == [1]
    assert standing.outcomes == {1: Outcome(1, "stopped", 3, "it was told to stop")}
    assert standing.draining
    cluster = Cluster(finished)
    assert run(cluster, interrupts=lambda: 2 * len(cluster.given)).outcomes == {}
