"""Merging the shards of a job: rows a second, seconds and peak memory, beside a bare copy of the same tables.

    python bench/merge.py [--shards 8] [--rows 125000] [--folder FOLDER]

Each row is a finished pair as a run leaves it: two turns, seven scores, its key and a vector of 384 half floats. Texts
are the scripted backend's. Vectors are as all-MiniLM-L6-v2 gives them to real questions: the same spectrum, the same
spread of cosines (0.10, the nearest of 2,600 at 0.57 in the middle). One row in a hundred has the same text as a row of
another shard, one in a hundred a vector near another shard's. The limit is SQLite's own copy: ATTACH and INSERT ...
SELECT of all tables, shard after shard, which looks for nothing.
"""

from __future__ import annotations

import argparse
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from localsynth.backends.scripted_texts import answer, question
from localsynth.config import plan_data, plan_from
from localsynth.filters.duplicates import instruction_key
from localsynth.records import sample_id
from localsynth.store.rows import RunRow, ShardRow
from localsynth.store.shards import create_shard

RUN, DIM, POOL = "01MERGEBENCH00000000000000", 384, 2048
SECONDS, MEGABYTES = 180, 1000
TABLES = ("samples", "turns", "scores", "instruction_keys", "embeddings", "neighbours")
SCORES = ("instruction.length", "instruction.symbol_ratio", "instruction.repetition", "instruction.near_duplicate",
          "answer.length", "answer.symbol_ratio", "answer.repetition")  # fmt: skip


def vectors(count: int, seed: int) -> np.ndarray:
    """Unit rows; those of equal number in two shards are near each other when the number is divisible by 100."""
    dice = np.random.default_rng(seed)
    # As measured over 2,599 real questions: variances fall off as the power of -0.7, 72 directions hold 60 %.
    scale = np.arange(1, DIM + 1, dtype=np.float32) ** -0.35
    subjects = np.random.default_rng(7).normal(size=(300, DIM)).astype(np.float32) * scale
    found = dice.normal(size=(count, DIM)).astype(np.float32) * scale + subjects[dice.integers(300, size=count)]
    shared = np.random.default_rng(8).normal(size=(count // 100 + 1, DIM)).astype(np.float32)
    found[::100] = shared[: len(found[::100])] + dice.normal(scale=0.1, size=(len(found[::100]), DIM))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found.astype(np.float16)


def fill(path: Path, shard: int, shards: int, rows: int) -> None:
    """Write one shard's store."""
    plan = plan_from({"target": rows * shards, "ask": {"backend": "scripted"}, "answer": {"backend": "scripted"}})
    run = RunRow(
        RUN, 1, None, "magpie", "scripted", "scripted", None, None, None, plan_data(plan), 0, rows, "finished", {},
        "2026-01-01", "2026-01-01", None, "2026-01-02", None, f"host{shard}", None,
    )  # fmt: skip
    create_shard(path, run, ShardRow(RUN, shard, shards, "bench", rows, rows * shards))
    questions, answers = [question(n) for n in range(POOL)], [answer(n, question(n)) for n in range(POOL)]
    found = vectors(rows, shard)
    ids = [sample_id(RUN, n * shards + shard - 1) for n in range(rows)]
    # One question in a hundred is the same in all shards, the others carry their own number.
    texts = [f"{questions[n % POOL]} {n}" + ("" if n % 100 == 50 else f"/{shard}") for n in range(rows)]
    sampling = json.dumps({"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_tokens": 512})
    with closing(sqlite3.connect(path)) as db:
        db.executemany(
            "INSERT INTO samples (id, run, idx, attempt, state, operation, detail, created, updated) "
            "VALUES (?, ?, ?, 0, 'done', 'magpie', '{}', '2026-01-01', '2026-01-01')",
            ((each, RUN, n * shards + shard - 1) for n, each in enumerate(ids)),
        )

        def turns() -> Iterator[tuple[object, ...]]:
            for n, each in enumerate(ids):
                yield each, 0, "user", texts[n], sampling, 30
                yield each, 1, "assistant", answers[n * 7 % POOL], sampling, 90

        db.executemany(
            "INSERT INTO turns (sample, position, role, content, rules, model, sampling, finish_reason, seed, "
            "prompt_tokens, completion_tokens, duration) VALUES (?, ?, ?, ?, '[]', 'scripted', ?, 'stop', 1, 20, ?, 1)",
            turns(),
        )
        db.executemany(
            "INSERT INTO scores VALUES (?, ?, 1, 0.5, 1, 'words', NULL, ?)",
            ((each, name, at) for each in ids for at, name in enumerate(sorted(SCORES))),
        )
        db.executemany("INSERT INTO instruction_keys VALUES (?, ?)", zip(ids, map(instruction_key, texts), strict=True))
        db.executemany(
            "INSERT INTO embeddings VALUES (NULL, ?, 'instruction', 'all-MiniLM-L6-v2', ?, ?)",
            ((each, "0" * 64, found[n].tobytes()) for n, each in enumerate(ids)),
        )
        pairs = zip(ids[1:], ids[:-1], strict=True)
        db.executemany("INSERT INTO neighbours VALUES (?, ?, 'all-MiniLM-L6-v2', 0.8)", pairs)
        db.commit()


def bare(target: Path, shards: list[Path]) -> float:
    """Seconds of a copy that looks for nothing."""
    from localsynth.store.store import Store

    Store.open(target).close()
    began = time.perf_counter()
    with closing(sqlite3.connect(target, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = NORMAL")
        for number, shard in enumerate(shards):
            db.execute("ATTACH ? AS shard", (str(shard),))
            db.execute("BEGIN")
            if not number:
                db.execute("INSERT INTO runs SELECT * FROM shard.runs")
            for table in TABLES:
                names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
                columns = ", ".join(n for n in names if n != "id" or table == "samples")
                db.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM shard.{table}")
            db.execute("COMMIT")
            db.execute("DETACH shard")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return time.perf_counter() - began


def merge(main: Path, shards: list[Path]) -> tuple[float, float, float, dict[str, object]]:
    """Seconds, seconds of CPU, peak megabytes and the report of `localsynth merge` as a process."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "localsynth", "merge", str(main), *map(str, shards), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    assert done.returncode == 0, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    burnt = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, burnt, after.ru_maxrss / 1024, json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--rows", type=int, default=125_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        shards = [folder / f"shard-{n}.db" for n in range(1, options.shards + 1)]
        for number, shard in enumerate(shards, start=1):
            fill(shard, number, options.shards, options.rows)
        rows = options.shards * options.rows
        seconds, burnt, peak, report = merge(folder / "main.db", shards)
        print(f"{rows} rows of {options.shards} shards, {sum(s.stat().st_size for s in shards) / 1e6:.0f} MB")
        print(f"  merge       {seconds:7.1f} s {rows / seconds:9.0f} rows/s {peak:6.0f} MB peak "
              f"(limits {SECONDS} s, {MEGABYTES} MB), {burnt:.1f} s of CPU")  # fmt: skip
        print(f"  duplicates  {report['exact']} exact, {report['near']} near, {report['kept']} rows kept")
        again, _, _, _ = merge(folder / "main.db", shards)
        print(f"  again       {again:7.1f} s, nothing new")
        (folder / "main.db").unlink()
        limit = bare(folder / "bare.db", shards)
        print(f"  bare copy   {limit:7.1f} s {rows / limit:9.0f} rows/s, {seconds / limit:.2f} times as long")


if __name__ == "__main__":
    main()
