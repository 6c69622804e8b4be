"""Whole runs over a server that fails: the target is reached, each failure is on record, no row is lost or doubled."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_model import MODEL, FakeModel
from fake_server import Fault, Script, in_thread

from localsynth.config import plan_from
from localsynth.engine import context, launch, runner
from localsynth.records import derive_seed

KINDS = (
    Fault(status=429, headers=(("retry-after", "0"),)),
    Fault(status=500),
    Fault("cut"),
    Fault(status=503),
    Fault("truncated"),
)


class Failing:
    """A fifth of all answers fail, by what they are: each twice at the most, so that five tries are enough."""

    def __init__(self) -> None:
        self.failed: dict[int, int] = {}
        self.count = self.answered = 0
        self._lock = threading.Lock()

    def __call__(self, number: int, body: dict[str, Any]) -> Fault | None:
        if body["max_tokens"] == 1:
            return None  # a probe
        name = derive_seed(str(body["prompt"]), body.get("seed", body.get("options", {}).get("seed", 0)))
        with self._lock:
            self.answered += 1
            times = self.failed.get(name, 0)
            if derive_seed(name, times, "fails") % 100 < 22 and times < 2:
                self.failed[name] = times + 1
                self.count += 1
                return KINDS[self.count % len(KINDS)]
        return None


def run(store: Path, *urls: str, target: int = 50) -> str:
    role = {"backend": "openai", "servers": list(urls), "model": MODEL}
    plan = {
        "target": target,
        "seed": 5,
        "ask": role | {"sampling": [{"max_tokens": 100}]},
        "answer": role | {"sampling": [{"temperature": 0.0, "max_tokens": 400}]},
        "gate": {"near_duplicates": False},
        "machine": {"slots": 16},
    }
    name = launch.create(store, plan_from(plan))
    state, reason = runner.run(store, name)
    assert state == "finished", reason
    return name


def rows(store: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(store)) as db:
        return db.execute(sql).fetchall()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "RETRY_WAITS", (0.0, 0.0, 0.0, 0.0))


def test_a_fifth_of_the_answers_fails_and_the_target_is_reached(served_model: FakeModel, tmp_path: Path):
    calm, rough, faults = tmp_path / "calm.db", tmp_path / "rough.db", Failing()
    with in_thread(served_model) as server:
        run(calm, server.url)
    with in_thread(served_model, Script(fault=faults)) as server:
        run(rough, server.url)
    assert faults.count / faults.answered > 0.15
    retried = rows(rough, "SELECT json_extract(data, '$.error') FROM events WHERE kind = 'Retried'")
    assert len(retried) == faults.count
    for word in ("429", "500", "503", "broke off", "no whole JSON|broke off in the middle|ended before"):
        assert any(part in error for (error,) in retried for part in word.split("|")), word
    assert rows(rough, "SELECT count(*) FROM dataset") == [(50,)]
    assert rows(rough, "SELECT count(*), count(DISTINCT idx) FROM samples WHERE state = 'failed'") == [(0, 0)]
    assert rows(rough, "SELECT idx, messages FROM dataset ORDER BY idx") == rows(
        calm, "SELECT idx, messages FROM dataset ORDER BY idx"
    )
    for store in (calm, rough):
        assert rows(store, "SELECT sample, position FROM turns GROUP BY sample, position HAVING count(*) > 1") == []


def test_two_servers_one_of_which_dies_in_the_middle(served_model: FakeModel, tmp_path: Path):
    store = tmp_path / "store.db"
    died = threading.Event()

    def dies(number: int, _: dict[str, Any]) -> Fault | None:
        if number < 40:
            return None
        died.set()
        return Fault("cut")

    with in_thread(served_model) as well, in_thread(served_model, Script(fault=dies)) as dead:
        run(store, dead.url, well.url, target=60)
        assert died.is_set()
        assert well.finished > dead.finished
    assert rows(store, "SELECT count(*) FROM dataset") == [(60,)]
    assert rows(store, "SELECT count(*) FROM samples WHERE state = 'failed'") == [(0,)]


def test_what_a_row_says_of_its_server(served_model: FakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOCALSYNTH_API_KEY", "sk-secret-0123456789")
    store = tmp_path / "store.db"
    with in_thread(served_model, Script(key="sk-secret-0123456789")) as server:
        run(store, server.url, target=5)
    assert {row[0] for row in rows(store, "SELECT model FROM turns WHERE role = 'assistant'")} == {MODEL}
    assert all(tokens > 0 for (tokens,) in rows(store, "SELECT prompt_tokens FROM turns WHERE role = 'assistant'"))
    assert b"sk-secret" not in store.read_bytes()
