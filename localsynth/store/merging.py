"""Copying finished rows from the stores of shards into one store; each batch is one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from localsynth.errors import StoreError
from localsynth.records import sample_id
from localsynth.store import fts
from localsynth.store.connect import faults, open_writer, transaction
from localsynth.store.encode import dumps, now
from localsynth.store.listing import sample_range
from localsynth.store.queries import Reader
from localsynth.store.rows import ShardRow
from localsynth.store.shards import ShardFile, insert, reading

_BATCH = 20_000  # samples of all shards in one transaction
_ATTACHED = 8  # SQLite takes ten
# Everything that belongs to a sample, in the order of writing. Ids that a table counts itself are given anew.
_TABLES: Mapping[str, str] = {
    "samples": "id, run, idx, attempt, state, operation, parent, error, detail, created, updated, topic",
    "turns": "sample, position, role, content, raw, rules, thinking, model, sampling, finish_reason, seed, "
    "prompt_tokens, completion_tokens, logprob, duration",
    "scores": "sample, name, version, value, passed, reason, detail, at",
    "rulings": "sample, name, version, passed, reason",
    "instruction_keys": "sample, key",
    "embeddings": "sample, field, encoder, content_hash, vector",
    "neighbours": "sample, neighbour, encoder, similarity",
    "candidates": "sample, model, idx, purpose, text, tokens, chosen, checks",
    "pairs": "sample, chosen, rejected, margin, source, digest",
    "reviews": "sample, verdict, note, edits, created, tags, batch",
}
# Finished for good: a failed attempt stays, and is tried again under another number.
_FRESH = """
INSERT INTO temp.fresh SELECT s.id FROM {shard}.samples s
WHERE s.id BETWEEN ? AND ? AND s.run = ? AND s.state IN ('done', 'failed')
AND NOT EXISTS (SELECT 1 FROM main.samples m WHERE m.id = s.id)
"""
_KNOWN = """
SELECT count(*) FROM {shard}.samples s JOIN main.samples m ON m.id = s.id
WHERE s.id BETWEEN ? AND ? AND s.run = ? AND s.state IN ('done', 'failed')
"""
# The same row with other words: two machines ran one shard.
_CONFLICTS = """
SELECT s.id FROM {shard}.samples s JOIN main.samples m ON m.id = s.id
WHERE s.id BETWEEN ? AND ? AND s.run = ? AND s.state IN ('done', 'failed') AND (
  s.state <> m.state OR EXISTS (
    SELECT 1 FROM {shard}.turns t LEFT JOIN main.turns n ON n.sample = t.sample AND n.position = t.position
    WHERE t.sample = s.id AND (n.content IS NOT t.content OR n.role IS NOT t.role)
  ) OR (SELECT count(*) FROM {shard}.turns t WHERE t.sample = s.id)
    <> (SELECT count(*) FROM main.turns n WHERE n.sample = s.id)
)
"""
# What a person said about a row in its shard's store after it was merged, where nobody said anything about it here.
_REVIEWS = """
INSERT INTO main.reviews (sample, verdict, note, edits, created, tags, batch)
SELECT t.sample, t.verdict, t.note, t.edits, t.created, t.tags, t.batch FROM {shard}.reviews t
WHERE t.sample BETWEEN ? AND ? AND (SELECT run FROM {shard}.samples s WHERE s.id = t.sample) = ?
AND EXISTS (SELECT 1 FROM main.samples m WHERE m.id = t.sample)
AND NOT EXISTS (SELECT 1 FROM main.reviews r WHERE r.sample = t.sample) ORDER BY t.id
"""
_UNFINISHED = "its merge was cut off: give the same `localsynth merge` again"


@dataclass(slots=True)
class Copied:
    """Rows of one shard: new here, here before, and here with other words; `conflicting` are some of those ids."""

    new: int = 0
    known: int = 0
    conflicts: int = 0
    conflicting: tuple[int, ...] = ()


class Merging:
    """The writer of one merge. Use it as a context; StoreError says what is wrong with a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = open_writer(path, create=True)
        self._connection.execute("PRAGMA foreign_keys = OFF")  # parents are copied first; looking each up costs
        self._connection.execute("PRAGMA trusted_schema = OFF")  # a shard comes from another machine
        self._connection.execute("CREATE TEMP TABLE fresh (id INTEGER PRIMARY KEY)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def begin(self, files: Sequence[ShardFile]) -> None:
        """Make the run where it is new and note the shards. StoreError when they are of another plan."""
        run, job = files[0].run, files[0].shard
        with self._transaction():
            self._check(run.id, job)
            if not self._connection.execute("SELECT 1 FROM runs WHERE id = ?", (run.id,)).fetchone():
                (number,) = self._connection.execute("SELECT coalesce(max(number), 0) + 1 FROM runs").fetchone()
                insert(self._connection, "runs", replace(run, number=number, name=None, pid=None, host=None))
            self._connection.execute(
                "UPDATE runs SET state = 'stopped', error = ?, finished = NULL WHERE id = ?", (_UNFINISHED, run.id)
            )
            # The plan is that of the first shard, whichever was merged first.
            self._connection.execute(
                "UPDATE runs SET plan = ?1 WHERE id = ?2 AND NOT EXISTS "
                "(SELECT 1 FROM shards WHERE run = ?2 AND shard < ?3)",
                (dumps(run.plan), run.id, job.shard),
            )
            for file in files:
                key = (run.id, file.shard.shard)
                if not self._connection.execute("SELECT 1 FROM shards WHERE run = ? AND shard = ?", key).fetchone():
                    insert(self._connection, "shards", replace(file.shard, expected={}, merged=now()))

    def copy(self, files: Sequence[ShardFile]) -> Iterator[list[Copied]]:
        """Copy what is finished and not here, batch by batch in the order of the indices; yields the counts so far."""
        counts = [Copied() for _ in files]
        run = files[0].run.id
        for start in range(0, len(files), _ATTACHED):
            some = files[start : start + _ATTACHED]
            with self._attached(some) as names:
                for first, last in self._ranges(run, names, some[0].shard.shards):
                    with self._transaction():
                        for name, count in zip(names, counts[start : start + _ATTACHED], strict=True):
                            self._copy(name, (first, last, run), count)
                    yield counts
                with self._transaction():
                    for name, file, count in zip(names, some, counts[start : start + _ATTACHED], strict=True):
                        self._note(name, file, elsewhere=count.conflicts > 0)

    def end(self, run: str) -> None:
        """Say in the run's row how far it is, by its shards: the first one's models, finished when all are."""
        with Reader.open(self.path) as reader:
            shards, row = reader.shards(run), reader.run(run)
        first = shards[0]
        over = len(shards) == first.shards and all(part.state == "finished" for part in shards)
        facts: dict[str, object] = {
            "target": first.total,
            "plan": dumps({**row.plan, "target": first.total}),
            "state": "finished" if over else "stopped",
            "error": None,
            "started": min((part.started for part in shards if part.started), default=None),
            "finished": max((part.finished for part in shards if part.finished), default=None),
        }
        facts |= {name: getattr(first, name) for name in ("backend", "model", "revision", "sha256", "template_hash")}
        facts["versions"] = dumps(first.versions)
        with self._transaction():
            changes = ", ".join(f"{name} = ?" for name in facts)
            self._connection.execute(f"UPDATE runs SET {changes} WHERE id = ?", (*facts.values(), run))

    def index_text(self) -> bool:
        """Put some waiting turns into the full-text index; False when none waited."""
        return fts.index(self.path, self._connection, _BATCH) > 0

    @property
    def connection(self) -> sqlite3.Connection:
        """For the half of a merge that compares: see `comparing`."""
        return self._connection

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with faults(self.path), transaction(self._connection):
            yield

    @contextmanager
    def _attached(self, files: Sequence[ShardFile]) -> Iterator[list[str]]:
        names = [f"shard{number}" for number in range(len(files))]
        attached: list[str] = []
        try:
            for name, file in zip(names, files, strict=True):
                with faults(file.path):
                    self._connection.execute(f"ATTACH ? AS {name}", (reading(file.path),))
                attached.append(name)
            yield names
        finally:
            for name in attached:
                self._connection.execute(f"DETACH {name}")

    def _check(self, run: str, job: ShardRow) -> None:
        known = "SELECT job, shards, total FROM shards WHERE run = ? AND merged IS NOT NULL"
        jobs = set(self._connection.execute(known, (run,)))
        if jobs - {job.whole}:
            raise StoreError(
                f"{self.path} has shards of this run from another plan", "merge into another store: a new file will do"
            )
        ids = [other for (other,) in self._connection.execute("SELECT id FROM runs")]
        if run in ids and not jobs:
            raise StoreError(f"{self.path} is itself a shard of this job", "name the store of home first")
        if any(sample_id(other, 0) == sample_id(run, 0) for other in ids if other != run):
            raise StoreError(
                f"a run in {self.path} has the same row numbers as this job", "merge into another store: a new file"
            )

    def _ranges(self, run: str, names: Sequence[str], shards: int) -> Iterator[tuple[int, int]]:
        """First and last sample id of each batch."""
        with faults(self.path):
            tops = [
                self._connection.execute(f"SELECT max(idx) FROM {name}.samples WHERE run = ?", (run,)).fetchone()[0]
                for name in names
            ]
        top = max((found for found in tops if found is not None), default=-1)
        low, high = sample_range(run)
        width = (high - low + 1) >> 32  # ids of one index: its attempts
        step = _BATCH * max(1, shards // len(names))
        for index in range(0, top + 1, step):
            yield low + index * width, low + min(index + step, 1 << 32) * width - 1

    def _copy(self, shard: str, bounds: tuple[int, int, str], count: Copied) -> None:
        execute = self._connection.execute
        (known,) = execute(_KNOWN.format(shard=shard), bounds).fetchone()
        if known:
            found = [number for (number,) in execute(_CONFLICTS.format(shard=shard), bounds)]
            count.known += known
            count.conflicts += len(found)
            count.conflicting = (*count.conflicting, *found)[:5]
            if not found:
                execute(_REVIEWS.format(shard=shard), bounds)
        fresh = execute(_FRESH.format(shard=shard), bounds).rowcount
        if not fresh:
            return
        count.new += fresh
        for table, columns in _TABLES.items():
            chosen = ", ".join(f"t.{name}" for name in columns.split(", "))
            key = "id" if table == "samples" else "sample"
            execute(
                f"INSERT INTO main.{table} ({columns}) SELECT {chosen} FROM temp.fresh f "
                f"CROSS JOIN {shard}.{table} t ON t.{key} = f.id"
            )
        execute("INSERT INTO main.merge_waiting (sample) SELECT id FROM temp.fresh")
        execute("DELETE FROM temp.fresh")

    def _note(self, name: str, file: ShardFile, *, elsewhere: bool) -> None:
        """Where and with what the shard was made, and its events since the last merge.

        `elsewhere`: this store was made by another machine than the rows that are here; it can only finish the shard.
        """
        run, part = file.run, file.shard
        key = (run.id, part.shard)
        known = "SELECT state, events FROM shards WHERE run = ? AND shard = ?"
        state, after = self._connection.execute(known, key).fetchone()
        if state == "finished" and (elsewhere or run.state != "finished"):  # an older copy
            return
        if elsewhere:
            self._connection.execute(
                "UPDATE shards SET state = ?, finished = ?, merged = ? WHERE run = ? AND shard = ?",
                (run.state, run.finished, now(), *key),
            )
            return
        self._connection.execute(
            "INSERT INTO main.events (run, at, kind, data) SELECT run, at, kind, json_set(data, '$.shard', ?) "
            f"FROM {name}.events WHERE run = ? AND id > ? ORDER BY id",
            (part.shard, run.id, after),
        )
        (last,) = self._connection.execute(f"SELECT coalesce(max(id), 0) FROM {name}.events").fetchone()
        made = {
            name: getattr(run, name)
            for name in ("state", "host", "backend", "model", "revision", "sha256", "template_hash", "versions",
                         "started", "finished")
        }  # fmt: skip
        self._connection.execute("DELETE FROM shards WHERE run = ? AND shard = ?", key)
        insert(self._connection, "shards", replace(part, expected={}, merged=now(), events=max(after, last), **made))
