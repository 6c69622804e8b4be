"""Writing: one connection, one transaction per call, upserts on keys so that saving twice changes nothing."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from localsynth.errors import NotFound
from localsynth.records import (
    Candidate,
    Embedding,
    Neighbour,
    Pair,
    Review,
    Ruling,
    Sample,
    Score,
    Turn,
    sample_id,
)
from localsynth.store import fts
from localsynth.store.connect import faults, open_writer, transaction
from localsynth.store.encode import TURN_COLUMNS, digest, dumps, now, optional, signed, text, write_turn
from localsynth.store.rows import Control, EventRow, InstructionKey, RunRow, ThresholdRow, Verb

Row = Sample | Turn | Score | Ruling | Embedding | Neighbour | Candidate | Pair | Review | InstructionKey | EventRow
_RUN_COLUMNS = frozenset(RunRow.__slots__) - {"id", "number", "created"}


def _upsert(table: str, columns: str, key: str = "", keep: str = "") -> str:
    """An INSERT that overwrites the row with the same key, except its columns in `keep`."""
    names = columns.replace(" ", "").split(",")
    sql = f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(names))})"
    fixed = {name.strip() for name in f"{key},{keep}".split(",")}
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in fixed)
    return f"{sql} ON CONFLICT ({key}) DO UPDATE SET {changes}" if key else sql


# In the order of writing: samples come before the rows that refer to them.
_SQL: Mapping[type, str] = {
    Sample: _upsert(
        "samples",
        "id, run, idx, attempt, state, operation, parent, error, detail, created, updated, topic",
        "id",
        "created",
    ),
    Turn: _upsert("turns", TURN_COLUMNS, "sample, position"),
    Score: _upsert("scores", "sample, name, version, value, passed, reason, detail, at", "sample, name, version"),
    Ruling: _upsert("rulings", "sample, name, version, passed, reason", "sample, name, version"),
    InstructionKey: _upsert("instruction_keys", "sample, key", "sample"),
    Embedding: _upsert("embeddings", "sample, field, encoder, content_hash, vector", "sample, field, encoder"),
    Neighbour: _upsert("neighbours", "sample, neighbour, encoder, similarity", "sample, neighbour, encoder"),
    Candidate: _upsert(
        "candidates", "sample, model, idx, purpose, text, tokens, chosen, checks", "sample, purpose, model, idx"
    ),
    Pair: _upsert("pairs", "sample, chosen, rejected, margin, source, digest", "sample, source, digest"),
    Review: _upsert("reviews", "sample, verdict, note, edits, created, tags, batch"),
    EventRow: _upsert("events", "run, at, kind, data"),
}


class Store:
    """The one writer of its thread. Every method raises StoreError when the file cannot take the rows."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._closed = False
        self._clock = 0  # microseconds since 1970, one more for every score: keeps the order of judgement
        self._at = ""
        self._encoders: Mapping[type, Callable[..., tuple[object, ...]]] = {
            Sample: self._sample,
            Turn: write_turn,
            Score: self._score,
            Ruling: _ruling,
            InstructionKey: lambda row: (row.sample, signed(row.key)),
            Embedding: lambda row: (row.sample, row.field, row.encoder, row.content_hash, row.vector),
            Neighbour: lambda row: (row.sample, row.neighbour, row.encoder, float(row.similarity)),
            Candidate: _candidate,
            Pair: _pair,
            Review: self._review,
            EventRow: lambda row: (row.run, row.at or self._at, row.kind, dumps(row.data)),
        }

    @classmethod
    def open(cls, path: Path, *, create: bool = True) -> Store:
        """Open, make or migrate the file. StoreError: not a database, newer version, read-only, full, locked."""
        return cls(path, open_writer(path, create=create))

    def create_run(
        self,
        *,
        method: str,
        plan: Mapping[str, object],
        seed: int,
        target: int,
        backend: str = "",
        model: str = "",
        name: str | None = None,
        state: str = "created",
        **columns: object,
    ) -> str:
        """Add a run and return its ULID. `columns`: any other column of `runs`, as `update_run` takes them."""
        run = new_run_id(self._runs())
        with self._transaction():
            (number,) = self._connection.execute("SELECT coalesce(max(number), 0) + 1 FROM runs").fetchone()
            self._connection.execute(
                "INSERT INTO runs (id, number, name, method, backend, model, plan, seed, target, state, versions, "
                "created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '{}', ?)",
                (run, number, optional(name), method, backend, model, dumps(plan), seed, target, state, now()),
            )
            self._set_columns(run, columns)
        return run

    def update_run(self, run: str, **columns: object) -> None:
        """Change columns of a run; mappings are written as JSON. NotFound when there is no such run."""
        with self._transaction():
            self._set_columns(run, columns)

    def save(self, rows: Iterable[Row]) -> None:
        """Write all rows in one transaction: all or none. A row with a key that is there already replaces it."""
        self._at = now()
        self._clock = max(self._clock, time.time_ns() // 1000)
        tables: dict[type, list[tuple[object, ...]]] = {}
        for row in rows:
            kind = type(row)
            if kind not in self._encoders:
                raise TypeError(f"the store has no table for {kind.__name__}")
            tables.setdefault(kind, []).append(self._encoders[kind](row))
        with self._transaction():
            for kind, sql in _SQL.items():
                if kind in tables:
                    self._connection.executemany(sql, tables[kind])

    def set_progress(self, run: str, data: Mapping[str, object]) -> None:
        """Overwrite the progress row of a run."""
        with self._transaction():
            self._connection.execute(_upsert("progress", "run, at, data", "run"), (run, now(), dumps(data)))

    def send(self, run: str, verb: Verb, argument: str | None = None) -> None:
        """Tell a run something; it takes it at its next poll."""
        with self._transaction():
            self._connection.execute(
                "INSERT INTO control (run, verb, argument, created) VALUES (?, ?, ?, ?)",
                (run, verb, optional(argument), now()),
            )

    def take_controls(self, run: str) -> list[Control]:
        """What the run was told since the last call, oldest first, now marked done."""
        waiting = "SELECT id, run, verb, argument, created FROM control WHERE run = ? AND done IS NULL ORDER BY id"
        with faults(self.path):
            if not self._connection.execute(waiting, (run,)).fetchone():
                return []  # polled often: nothing waiting takes no write lock
        with self._transaction():
            at = now()
            taken = [Control(*[*row, at]) for row in self._connection.execute(waiting, (run,))]
            self._connection.execute("UPDATE control SET done = ? WHERE run = ? AND done IS NULL", (at, run))
        return taken

    def thresholds(self) -> list[ThresholdRow]:
        """As `Reader.thresholds`, for a run that goes by them."""
        from localsynth.store.thresholds import history

        with faults(self.path):
            return history(self._connection)

    def add_export(
        self, *, path: str, export_format: str, query: Mapping[str, object], count: int, sha256: str
    ) -> None:
        """Note one exported file."""
        with self._transaction():
            self._connection.execute(
                "INSERT INTO exports (path, format, query, count, sha256, created) VALUES (?, ?, ?, ?, ?, ?)",
                (text(path), export_format, dumps(query), count, sha256, now()),
            )

    def index_text(self) -> bool:
        """Put some hundred waiting turns into the full-text index; False when none waited."""
        return fts.index(self.path, self._connection) > 0

    def close(self, *, wait: bool = True) -> None:
        """Finish the full-text index, fold the write-ahead log into the file, and close; may be called twice.

        Without `wait` the index is left to the next search, and what others still read stays in the log.
        """
        if self._closed:
            return
        self._closed = True
        try:
            while wait and self.index_text():
                pass
            with faults(self.path):
                self._connection.execute(f"PRAGMA wal_checkpoint({'TRUNCATE' if wait else 'PASSIVE'})")
        finally:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with faults(self.path), transaction(self._connection):
            yield

    def _set_columns(self, run: str, columns: Mapping[str, object]) -> None:
        if unknown := columns.keys() - _RUN_COLUMNS:
            raise ValueError(f"runs has no column to set named {', '.join(sorted(unknown))}")
        if not columns:
            return
        values = [dumps(value) if isinstance(value, Mapping) else value for value in columns.values()]
        values = [text(value) if isinstance(value, str) else value for value in values]
        changes = ", ".join(f"{name} = ?" for name in columns)
        if not self._connection.execute(f"UPDATE runs SET {changes} WHERE id = ?", (*values, run)).rowcount:
            raise NotFound(f"there is no run {run} in {self.path}", "`localsynth status` lists the runs")

    def _runs(self) -> list[str]:
        with faults(self.path):
            return [run for (run,) in self._connection.execute("SELECT id FROM runs")]

    def _sample(self, row: Sample) -> tuple[object, ...]:
        at, detail = self._at, dumps(row.detail)
        state, error = row.state, optional(row.error)
        topic = row.detail.get("topic")
        topic = text(topic) if isinstance(topic, str) else None
        return row.id, row.run, row.index, row.attempt, state, row.operation, row.parent, error, detail, at, at, topic

    def _score(self, row: Score) -> tuple[object, ...]:
        self._clock += 1
        value = None if row.value is None else float(row.value)
        passed = None if row.passed is None else int(row.passed)
        reason, detail = text(row.reason), optional(row.detail)
        return row.sample, row.name, row.version, value, passed, reason, detail, self._clock

    def _review(self, row: Review) -> tuple[object, ...]:
        # SQLite's own JSON reader ends a text at NUL; a person's edit never needs one.
        edits = {str(position): content.replace("\x00", "\ufffd") for position, content in row.edits.items()}
        tags = text(json.dumps(row.tags, ensure_ascii=False))
        return row.sample, row.verdict, optional(row.note), dumps(edits), self._at, tags, row.batch


def _ruling(row: Ruling) -> tuple[object, ...]:
    return row.sample, row.name, row.version, None if row.passed is None else int(row.passed), text(row.reason)


def _candidate(row: Candidate) -> tuple[object, ...]:
    checks = dumps(row.checks)
    return row.sample, row.model, row.index, row.purpose, text(row.text), row.tokens, int(row.chosen), checks


def _pair(row: Pair) -> tuple[object, ...]:
    key = digest(row.chosen, row.rejected)
    return row.sample, text(row.chosen), text(row.rejected), row.margin, row.source, key


def new_run_id(runs: Iterable[str]) -> str:
    """A new ULID whose samples share no number with those of `runs` (their ids hold 27 bits of its hash)."""
    taken = {sample_id(run, 0) for run in runs}
    while sample_id(run := _ulid(), 0) in taken:
        pass
    return run


def _ulid() -> str:
    """48 bits of milliseconds, 80 random bits, Crockford's base 32: sorts by time."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[number >> shift & 31] for shift in range(125, -1, -5))
