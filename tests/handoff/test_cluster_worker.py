"""A worker on the scripted backend, in this process: the keys and the board are asked as actors would be."""

from __future__ import annotations

import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from handed import write_plan
from processes import end, start
from questions import repeated_questions

from localsynth.cli.shards import carry_out
from localsynth.handoff.cluster import workers as module
from localsynth.handoff.cluster.sharing import KeyServer
from localsynth.handoff.cluster.workers import Board, Order, Worker
from localsynth.handoff.job import Job, read_job


class Handle:
    """Calls like an actor's: `handle.method.remote(...)`, then `ray.get`."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=getattr(self.actor, name))


@pytest.fixture(autouse=True)
def ray(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = ModuleType("ray")
    stand_in.__dict__.update(get=lambda value, timeout: value, exceptions=SimpleNamespace(RayError=LookupError))
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    monkeypatch.setattr(module, "_LISTEN_S", 0.01)


def packed(folder: Path, target: int, shards: int, more: str = "") -> Job:
    plan = write_plan(folder / "plan.toml", target=target, more=more)
    code, _, err = end(start("handoff", "pack", plan, folder / "job", "--shards", shards, "--store", folder / "no.db"))
    assert code == 0, err
    return read_job(folder / "job")


def worker(job: Job, board: Board, keys: KeyServer, **typed: Any) -> Worker:
    order = Order(job.folder, carry_out, {"backend": "scripted", **typed}, {})
    return Worker(order, Handle(board), Handle(keys))


def server(job: Job) -> KeyServer:
    return KeyServer([job.shard_store(shard) for shard in range(1, job.shards + 1)], near=False)


def rows(store: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(store)) as db:
        return db.execute(sql).fetchall()


def test_shards_on_workers_share_their_keys_and_are_finished(tmp_path: Path):
    repeated_questions(tmp_path / "questions.jsonl", 200)
    job = packed(tmp_path, 100, 2, f'method = "imported"\ninstructions = "{tmp_path}/questions.jsonl"')
    before = signal.getsignal(signal.SIGTERM)
    board, keys = Board(), server(job)
    for shard in (1, 2):
        outcome = worker(job, board, keys).carry_out(shard)
        assert (outcome.state, outcome.kept, outcome.reason) == ("finished", 50, "")
    assert rows(job.shard_store(1), "SELECT 1 FROM scores WHERE reason LIKE '%another shard%'") == []
    early = "SELECT sample FROM scores WHERE reason LIKE 'the same text as % of another shard'"
    found = rows(job.shard_store(2), early)
    assert found
    assert not set(found) & set(rows(job.shard_store(2), "SELECT sample FROM turns WHERE role = 'assistant'"))
    texts = [row for shard in (1, 2) for row in rows(job.shard_store(shard), "SELECT key FROM instruction_keys")]
    assert len(texts) == len(set(texts))
    # A shard that is finished is not begun again, and Ray has its handlers back.
    assert worker(job, board, keys).carry_out(2).kept == 50
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_shard_alone_does_not_depend_on_the_keys_of_nobody(tmp_path: Path):
    (tmp_path / "a").mkdir()
    job = packed(tmp_path / "a", 20, 2)
    assert worker(job, Board(), server(job)).carry_out(1).state == "finished"
    texts = "SELECT s.idx, t.content FROM samples s JOIN turns t ON t.sample = s.id ORDER BY 1, t.position"
    shared = rows(job.shard_store(1), texts)
    job.shard_store(1).unlink()
    assert carry_out(job, 1, {"backend": "scripted"}, lambda row, progress: None)[0] == "finished"
    assert rows(job.shard_store(1), texts) == shared


def test_a_worker_passes_on_that_the_job_is_to_stop(tmp_path: Path):
    job = packed(tmp_path, 100_000, 2)
    board = Board()
    board.read(draining=True)
    outcome = worker(job, board, server(job)).carry_out(1)
    assert (outcome.state, outcome.reason) == ("stopped", "it was told to stop")
    assert 0 <= outcome.kept < 50_000
    assert rows(job.shard_store(1), "SELECT count(*) FROM samples WHERE state = 'done'")[0][0] >= outcome.kept


def test_what_a_person_can_change_is_in_the_outcome(tmp_path: Path):
    job = packed(tmp_path, 20, 2)
    outcome = worker(job, Board(), server(job), backend="llamacpp", model=str(tmp_path / "no.gguf")).carry_out(1)
    assert outcome.state == "failed"
    assert "no.gguf" in outcome.reason


def test_a_worker_says_why_it_cannot_work_on_a_job(tmp_path: Path):
    job = packed(tmp_path, 20, 2)
    there = worker(job, Board(), server(job))
    host, problem = there.look(job.digest)
    assert (bool(host), problem) == (True, "")
    assert there.look("another")[1] == f"{job.folder} is another job there"
    job.folder.rename(tmp_path / "moved")
    assert there.look(job.digest)[1] == f"{job.folder} is no packed job: it has no job.json"
