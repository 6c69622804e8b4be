"""What `localsynth handoff cluster` does without a cluster: dividing one, saying where a job stands, and its errors."""

from __future__ import annotations

import importlib.util
import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from handed import write_plan
from processes import end, start

from localsynth.cli.cluster import _Lines, cluster_line, unfinished
from localsynth.config import plan_from
from localsynth.errors import BackendError, LocalsynthError, MissingPackage, PlanError
from localsynth.handoff.cluster.connect import Size, connected
from localsynth.handoff.cluster.driver import Places, Request, places
from localsynth.handoff.cluster.standing import Standing
from localsynth.handoff.cluster.workers import Board, Outcome
from localsynth.handoff.job import Job

JOB = Job(Path("job"), "01J", 10, "digest", plan_from({}), {}, None)


def typed(**values: Any) -> Request:
    own = {key: values.pop(key) for key in ("workers", "cpus") if key in values}
    return Request(typed=values, **own)


@pytest.mark.parametrize(
    ("request_", "size", "expected"),
    [
        (typed(), Size(3, 24, 0), Places(3, 8, 0, "llamacpp")),
        (typed(workers=2), Size(1, 2, 0), Places(2, 1, 0, "llamacpp")),
        (typed(), Size(2, 64, 8), Places(8, 1, 1, "vllm")),
        (typed(tensor_parallel=4), Size(2, 64, 8), Places(2, 1, 4, "vllm")),
        (typed(backend="llamacpp"), Size(2, 64, 8), Places(2, 32, 0, "llamacpp")),
        (typed(servers=("http://127.0.0.1:1/v1",)), Size(2, 64, 8), Places(2, 32, 0, "")),
        (typed(cpus=4), Size(1, 16, 0), Places(1, 4, 0, "llamacpp")),
        (typed(workers=50), Size(40, 400, 0), Places(10, 40, 0, "llamacpp")),
    ],
)
def test_a_cluster_is_divided_among_workers(request_: Request, size: Size, expected: Places):
    assert places(request_, size, JOB) == expected


def test_what_was_packed_on_no_model_runs_on_none(job: Job):
    assert places(typed(), Size(1, 8, 2), job) == Places(1, 8, 0, "scripted")


@pytest.mark.parametrize(
    ("request_", "size", "kind", "words"),
    [
        (typed(backend="vllm"), Size(2, 16, 0), BackendError, "vLLM needs 1 GPU for each worker, and this cluster has none"),
        (typed(backend="vllm", tensor_parallel=4), Size(1, 8, 2), BackendError, "vLLM needs 4 GPUs"),
        (typed(workers=9), Size(1, 4, 0), PlanError, "9 workers of 1 CPUs and 0 GPUs do not fit"),
        (typed(workers=2, cpus=3), Size(1, 4, 0), PlanError, "2 workers of 3 CPUs"),
        (typed(workers=3), Size(2, 64, 2), PlanError, "3 workers"),
    ],
)  # fmt: skip
def test_more_than_the_cluster_has_is_refused(request_: Request, size: Size, kind: type[LocalsynthError], words: str):
    with pytest.raises(kind) as refused:
        places(request_, size, JOB)
    assert words in refused.value.message
    assert "--" in refused.value.hint


@pytest.fixture
def job() -> Job:
    plan = plan_from({"target": 100, "ask": {"backend": "scripted"}, "answer": {"backend": "scripted"}})
    return Job(Path("job"), "01J", 4, "digest", plan, {}, None)


Stand = Callable[..., Standing]


@pytest.fixture
def stand(job: Job) -> Stand:
    def make(working: Mapping[int, Mapping[str, Any]], *outcomes: Outcome, **more: Any) -> Standing:
        return Standing(job, 2, working, {each.shard: each for each in outcomes}, more.pop("retried", 0), **more)

    return make


def figures(kept: int, low: float | None, high: float | None) -> dict[str, Any]:
    return {"kept": kept, "target": 25, "tokens_per_second": 50.0, "eta_low": low, "eta_high": high}


def test_the_time_left_is_that_of_all_shards_at_the_pace_of_those_that_run(stand: Stand):
    # 15 rows in 10 to 30 s on each of two workers; 75 rows are left: half of them wait.
    standing = stand({2: figures(10, 10, 30), 3: figures(10, 10, 30)}, Outcome(1, "finished", 25))
    assert standing.kept == 45
    assert standing.eta == pytest.approx((55 / 3, 55))
    assert cluster_line(standing) == "1/4 shards, 45/100 kept, 2 at work, 100 tokens/s, 18 s to 55 s left"


def test_no_job_ends_before_its_slowest_shard(stand: Stand):
    ended = [Outcome(1, "finished", 25), Outcome(2, "finished", 25)]
    assert stand({3: figures(24, 1, 2), 4: figures(5, 300, 500)}, *ended).eta == pytest.approx((300, 500))


@pytest.mark.parametrize(
    ("working", "more", "line"),
    [
        ({}, {}, "0/4 shards, 0/100 kept, starting"),
        ({1: {}, 2: {}}, {}, "0/4 shards, 0/100 kept, loading the model on 2 workers"),
        ({1: figures(3, None, None)}, {}, "0/4 shards, 3/100 kept, 1 at work, 50 tokens/s, time left not known yet"),
        ({1: figures(3, 1, 2), 2: {}}, {}, "0/4 shards, 3/100 kept, 2 at work, 50 tokens/s, time left not known yet"),
        ({1: figures(3, 1, 2)}, {"draining": True}, "0/4 shards, 3/100 kept, finishing what is in flight on 1 workers"),
    ],
)
def test_where_a_job_stands_on_one_line(stand: Stand, working: dict[int, Any], more: dict[str, Any], line: str):
    assert cluster_line(stand(working, **more)) == line


def test_a_worker_that_died_is_told_at_once_and_once(stand: Stand, capsys: pytest.CaptureFixture[str]):
    lines = _Lines()
    lines.show(stand({1: {}}))
    lines.show(stand({1: {}}))
    lines.show(stand({1: {}}, retried=1))
    lines.show(stand({1: {}}, retried=1))
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "0/4 shards, 0/100 kept, loading the model on 1 workers",
        "a worker died; its shard goes on with another one",
    ]


def test_shards_that_failed_for_one_reason_are_one_line(stand: Stand):
    ended = [Outcome(1, "failed", 0, "why"), Outcome(2, "finished", 25), Outcome(3, "stopped", 4, "told to"),
             Outcome(4, "failed", 0, "why")]  # fmt: skip
    assert unfinished(stand({}, *ended)) == ["shards 1, 4 of 4 failed: why", "shard 3 of 4 stopped: told to"]


def test_the_summary_is_plain(stand: Stand):
    summary = stand({}, Outcome(2, "failed", 3, "why"), Outcome(1, "finished", 25)).summary()
    assert json.loads(json.dumps(summary)) == summary
    assert (summary["kept"], summary["finished"], summary["shards"]) == (28, 1, 4)
    assert list(summary["outcomes"]) == ["1", "2"]


def test_the_board_keeps_the_latest_word_and_says_when_to_stop():
    board = Board()
    board.report(1, {"kept": 1})
    board.report(1, {"kept": 2})
    assert board.draining() is False
    assert board.read(draining=True) == {1: {"kept": 2}}
    assert board.draining() is True


def test_an_address_at_which_nobody_listens_is_refused_before_ray_is_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("localsynth.handoff.cluster.connect.find_spec", lambda name: name)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BackendError) as refused, connected(address, 2):
            pass
    assert refused.value.message.startswith(f"no Ray cluster answers at {address}: ")
    assert "--address local" in refused.value.hint


def test_without_ray_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("localsynth.handoff.cluster.connect.find_spec", lambda name: None)
    with pytest.raises(MissingPackage) as refused, connected("auto", 2):
        pass
    assert refused.value.hint == "pip install 'localsynth[ray]'"


def test_a_folder_that_is_no_job_is_said_in_one_line(tmp_path: Path):
    code, out, err = end(start("handoff", "cluster", tmp_path))
    assert (code, out) == (5, "")
    assert err.startswith(f"localsynth: {tmp_path} is no packed job: it has no job.json\n  next: ")


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="says what is missing where ray is not there")
def test_the_command_without_ray_leaves_the_job_as_it_was(tmp_path: Path):
    plan = write_plan(tmp_path / "plan.toml")
    code, _, err = end(start("handoff", "pack", plan, tmp_path / "job", "--shards", 2, "--store", tmp_path / "no.db"))
    assert code == 0, err
    code, out, err = end(start("handoff", "cluster", tmp_path / "job"))
    assert (code, out) == (3, "")
    assert err == "localsynth: ray is not installed\n  next: pip install 'localsynth[ray]'\n"
    assert list((tmp_path / "job" / "shards").iterdir()) == []
