"""Shards with rows made by hand, packed jobs on the scripted backend, and what a store holds whatever its order."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localsynth.cli.main import main as command
from localsynth.config import plan_data, plan_from
from localsynth.filters.duplicates import instruction_key
from localsynth.handoff.job import Job, read_job
from localsynth.records import Embedding, Sample, Score, Turn, sample_id
from localsynth.store import EventRow, InstructionKey, Row, RunRow, ShardRow, Store
from localsynth.store.shards import create_shard

RUN = "01HANDEDOVERHANDEDOVER0000"
ENCODER = "all-MiniLM-L6-v2"
PLAN = """
target = {target}
seed = {seed}
{more}
[ask]
backend = "scripted"
[answer]
backend = "scripted"
[gate]
near_duplicates = false
"""


@dataclass(frozen=True)
class Made:
    """One row of a shard: what it asks, the angle of its vector in degrees, and whether a rule rejected it."""

    index: int
    text: str
    angle: float | None = None
    rejected: bool = False
    state: str = "done"
    answer: str = "So it is."


def rows_of(run: str, made: Made) -> list[Row]:
    sample = Sample(run, made.index, state=made.state, operation="magpie")  # type: ignore[arg-type]
    rows: list[Row] = [
        sample,
        Turn(sample.id, 0, "user", made.text, made.text, model="scripted", seed=made.index),
        Turn(sample.id, 1, "assistant", made.answer, made.answer, model="scripted"),
        Score(sample.id, "instruction.length", 1, 3.0, True),
        InstructionKey(sample.id, instruction_key(made.text) & (1 << 64) - 1),
        EventRow(run, "Kept", {"index": made.index}),
    ]
    if made.rejected:
        rows.append(Score(sample.id, "answer.cut_off", 1, 1.0, False, "cut off"))
    if made.angle is not None:
        vector = np.array([np.cos(np.radians(made.angle)), np.sin(np.radians(made.angle))], "<f2")
        rows.append(Embedding(sample.id, "instruction", ENCODER, "0" * 64, vector.tobytes()))
    return rows


def shard_store(
    path: Path, shard: int, shards: int, made: Sequence[Made], *, job: str = "job", run: str = RUN,
    state: str = "finished", host: str | None = None, total: int = 99,
) -> Path:  # fmt: skip
    """The store of one shard; called again it adds rows."""
    if not path.exists():
        roles = {"ask": {"backend": "scripted"}, "answer": {"backend": "scripted"}}
        plan = plan_from({"target": total // shards, "machine": {"slots": shard}, **roles})
        row = RunRow(
            run, 1, None, "magpie", "scripted", "scripted", None, f"hash{shard}", None, plan_data(plan), 7, total,
            "running", {"ask": {"backend": f"scripted {shard}"}}, "2026-01-01", None, None, None, None, None, None,
        )  # fmt: skip
        create_shard(path, row, ShardRow(run, shard, shards, job, total // shards, total, {"ask": {}}))
    with Store.open(path) as store:
        store.save([row for each in made for row in rows_of(run, each)])
        store.update_run(run, state=state, host=host or f"host{shard}", started=f"2026-01-0{shard}")
    return path


def home_store(path: Path, made: Sequence[Made]) -> Path:
    with Store.open(path) as store:
        run = store.create_run(method="magpie", plan={}, seed=1, target=9, model="scripted", state="finished")
        store.save([row for each in made for row in rows_of(run, each)])
    return path


def content(path: Path) -> dict[str, list[Any]]:
    """All that a merged store says, without what counts or tells the time of the merge."""
    queries = {
        "runs": "SELECT id, number, method, backend, sha256, plan, seed, target, state, versions, error FROM runs",
        "samples": "SELECT * FROM samples",
        "turns": "SELECT sample, position, role, content, raw, model, seed FROM turns",
        "scores": "SELECT * FROM scores",
        "keys": "SELECT * FROM instruction_keys",
        "embeddings": "SELECT sample, field, encoder, vector FROM embeddings",
        "neighbours": "SELECT * FROM neighbours",
        "events": "SELECT run, kind, data FROM events",
        "shards": "SELECT run, shard, shards, job, total, state, host, sha256, versions, started FROM shards",
        "waiting": "SELECT * FROM merge_waiting",
        "dataset": "SELECT sample, messages FROM dataset",
    }
    with closing(sqlite3.connect(path)) as db:
        return {name: sorted(db.execute(sql).fetchall(), key=repr) for name, sql in queries.items()}


def reasons(path: Path) -> dict[int, str]:
    """Index to the reason of each duplicate that a merge found."""
    with closing(sqlite3.connect(path)) as db:
        return dict(
            db.execute(
                "SELECT s.idx, f.reason FROM scores f JOIN samples s ON s.id = f.sample WHERE f.name LIKE 'merge.%'"
            )
        )


def kept(path: Path, run: str = RUN) -> list[int]:
    with closing(sqlite3.connect(path)) as db:
        return [row[0] for row in db.execute("SELECT idx FROM dataset WHERE run = ? ORDER BY idx", (run,))]


def number(index: int) -> int:
    return sample_id(RUN, index)


def write_plan(path: Path, target: int = 30, seed: int = 11, more: str = "") -> Path:
    path.write_text(PLAN.format(target=target, seed=seed, more=more), encoding="utf-8")
    return path


def packed(folder: Path, target: int, shards: int = 2) -> Job:
    """A job on the scripted backend, packed into `folder`/job by the command."""
    plan = write_plan(folder / "plan.toml", target=target)
    with pytest.raises(SystemExit) as ended:
        command(["handoff", "pack", str(plan), str(folder / "job"), "--shards", str(shards), "--store",
                 str(folder / "none.db")])  # fmt: skip
    assert not ended.value.code
    return read_job(folder / "job")
