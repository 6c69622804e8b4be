"""A packed job on a real Ray cluster of two workers: `make test-ray` makes the environment and runs this.

Every command is a process, so that nothing of Ray is loaded into the tests themselves.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from handed import write_plan
from processes import ask, end, start, until
from questions import repeated_questions

from localsynth.filters.duplicates import instruction_key

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed here: make test-ray"),
]

STARTER_PLAN = """
target = 4
seed = 3
[[ask.sampling]]
max_tokens = 64
[[answer.sampling]]
temperature = 0.0
max_tokens = 300
[gate]
near_duplicates = false
[machine]
context = 512
"""
_NOWHERE = subprocess.DEVNULL
_LONG_S = 400  # the slowest part takes 50 s on two idle cores, 100 s on busy ones
Cluster = Callable[..., subprocess.Popen[str]]
_RAY = Path(sys.executable).with_name("ray")
# The second one keeps Ray on the loopback interface; who connects must say the same, and have the token.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _QUIET.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """An existing cluster: one node on the loopback interface with more logical CPUs than there will be workers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    head = subprocess.Popen(
        [_RAY, "start", "--head", "--block", "--node-ip-address", "127.0.0.1", "--port", str(port), "--num-cpus", "6",
         "--include-dashboard", "false"],
        env=os.environ | _QUIET, stdin=_NOWHERE, stdout=_NOWHERE, stderr=_NOWHERE, start_new_session=True,
    )  # fmt: skip
    # A test run that is told to end must come to what stands below.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        until(lambda: head.poll() is not None or _listens(port), "Ray answers", _LONG_S)
        assert head.poll() is None
        yield f"127.0.0.1:{port}"
    finally:
        signal.signal(signal.SIGTERM, before)
        head.terminate()
        try:
            head.wait(20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(head.pid, signal.SIGKILL)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def pack(folder: Path, plan: Path, shards: int) -> Path:
    code, _, err = end(
        start("handoff", "pack", plan, folder / "job", "--shards", shards, "--store", folder / "no.db"), _LONG_S
    )
    assert code == 0, err
    return folder / "job"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Starts the command; one that is still there when the test ends is killed with the cluster that it began."""
    begun: list[subprocess.Popen[str]] = []

    def begin(job: Path, *more: object) -> subprocess.Popen[str]:
        begun.append(start("handoff", "cluster", job, "--workers", 2, "--cpus", 1, "--json", *more))
        return begun[-1]

    yield begin
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # Ray's reaper ends the rest
            process.communicate(timeout=10)


def rows(store: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(store)) as db:
        return db.execute(sql).fetchall()


def merged(job: Path, shards: int) -> Path:
    """The store that the shards were merged into; every row of theirs is there once."""
    main = job.parent / "main.db"
    stores = [job / "shards" / f"shard-{shard}-of-{shards}.db" for shard in range(1, shards + 1)]
    code, _, err = end(start("merge", main, *stores), _LONG_S)
    assert code == 0, err
    # What a shard had in flight when it reached its target stays there.
    samples = "SELECT id, run, idx, attempt FROM samples WHERE state IN ('done', 'failed')"
    there = [row for store in stores for row in rows(store, samples)]
    assert sorted(there) == sorted(rows(main, "SELECT id, run, idx, attempt FROM samples"))
    assert len({row[0] for row in there}) == len(there) == len({row[1:] for row in there})
    for shard, store in enumerate(stores):
        assert {index % shards for (index,) in rows(store, "SELECT idx FROM samples")} == {shard}
        assert rows(store, "SELECT state FROM runs") == [("finished",)]
    return main


def kept_texts(store: Path) -> list[str]:
    return [json.loads(messages)[0]["content"] for (messages,) in rows(store, "SELECT messages FROM dataset")]


@pytest.mark.starter
def test_a_worker_is_killed_in_the_middle_and_nothing_is_lost_or_made_twice(
    starter: Path, address: str, cluster: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "plan.toml").write_text(STARTER_PLAN)
    job = pack(tmp_path, tmp_path / "plan.toml", 2)
    running = cluster(job, "--address", address, "--slots", 4)
    victim = job / "shards" / "shard-2-of-2.db"
    done = "SELECT id, created FROM samples WHERE state = 'done'"
    until(lambda: running.poll() is not None or ask(victim, done), "a row is committed", _LONG_S)
    assert running.poll() is None, end(running)
    before = rows(victim, done)
    assert before
    assert ask(victim, "SELECT state FROM runs") == "running"
    os.kill(ask(victim, "SELECT pid FROM runs"), signal.SIGKILL)
    code, out, err = end(running, _LONG_S)
    assert code == 0, err
    assert "a worker died; its shard goes on with another one" in err
    found = json.loads(out)
    assert (found["finished"], found["kept"], found["retried"]) == (2, 4, 1)
    main = merged(job, 2)
    # What was committed before the kill was not made again.
    assert set(before) <= set(rows(victim, "SELECT id, created FROM samples"))
    texts = kept_texts(main)
    assert len(texts) == 4
    assert len({instruction_key(text) for text in texts}) == 4


def test_duplicates_of_other_shards_are_caught_before_they_are_answered(
    address: str, cluster: Cluster, tmp_path: Path
) -> None:
    questions = repeated_questions(tmp_path / "questions.jsonl", 300)
    more = f'method = "imported"\ninstructions = "{questions}"'
    job = pack(tmp_path, write_plan(tmp_path / "plan.toml", target=120, more=more), 4)
    code, out, err = end(cluster(job, "--address", address), _LONG_S)
    assert code == 0, err
    assert json.loads(out)["kept"] == 120
    assert "4 of 4 shards finished with 120 of 120 kept" in err
    main = merged(job, 4)
    early = rows(main, "SELECT sample FROM scores WHERE reason LIKE '%another shard%'")
    answered = rows(main, "SELECT sample FROM turns WHERE role = 'assistant'")
    assert early
    assert not set(early) & set(answered)
    texts = kept_texts(main)
    assert len(texts) == len({instruction_key(text) for text in texts}) == 120


def test_ctrl_c_finishes_what_is_in_flight_and_the_same_command_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "plan.toml", target=60)
    job = pack(tmp_path, plan, 2)
    running = cluster(job, "--address", "local", "--slots", 1)
    store = job / "shards" / "shard-1-of-2.db"
    until(
        lambda: running.poll() is not None or (ask(store, "SELECT count(*) FROM samples") or 0),
        "it is at work",
        _LONG_S,
    )
    running.send_signal(signal.SIGINT)
    code, _, err = end(running, _LONG_S)
    assert code in {0, 130}, err  # 0 where the last row was in flight
    open_rows = "SELECT count(*) FROM samples WHERE state <> 'done'"
    assert ask(store, "SELECT state FROM runs") in {"stopped", "finished"}
    assert ask(store, open_rows) is not None
    code, out, err = end(cluster(job, "--address", "local"), _LONG_S)
    assert code == 0, err
    assert json.loads(out)["kept"] == 60
    assert len(kept_texts(merged(job, 2))) == 60


def test_vllm_without_a_gpu_and_too_many_workers_are_one_line(address: str, cluster: Cluster, tmp_path: Path) -> None:
    job = pack(tmp_path, write_plan(tmp_path / "plan.toml"), 8)
    code, out, err = end(cluster(job, "--address", address, "--backend", "vllm"), _LONG_S)
    assert (code, out) == (3, "")
    assert err.startswith("localsynth: vLLM needs 1 GPU for each worker, and this cluster has none\n  next: ")
    code, out, err = end(start("handoff", "cluster", job, "--address", address, "--workers", 7), _LONG_S)
    assert (code, out) == (2, "")
    assert err.startswith("localsynth: 7 workers of 1 CPUs and 0 GPUs do not fit: the cluster has 6 and 0\n  next: ")
