"""Stores for other machines: one shard of a job, and the index of what is here already."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from localsynth.errors import DataError
from localsynth.store.connect import faults, open_reader, open_writer, transaction
from localsynth.store.encode import dumps
from localsynth.store.queries import Reader
from localsynth.store.rows import RunRow, ShardRow

# Rows without a word of the texts: what the gate needs, under the ids by which they are known here.
_KNOWN = """
INSERT INTO runs (id, number, method, backend, model, plan, seed, target, state, versions, created)
SELECT id, number, '', '', '', '{}', 0, 0, 'stopped', '{}', '' FROM home.runs;
INSERT INTO samples (id, run, idx, attempt, state, operation, detail, created, updated)
SELECT s.id, s.run, s.idx, s.attempt, 'done', '', '{}', '', '' FROM home.instruction_keys k
JOIN home.samples s ON s.id = k.sample WHERE s.state <> 'failed';
INSERT INTO instruction_keys (sample, key)
SELECT k.sample, k.key FROM home.instruction_keys k WHERE k.sample IN (SELECT id FROM samples);
INSERT INTO embeddings (sample, field, encoder, content_hash, vector)
SELECT e.sample, e.field, e.encoder, '', e.vector FROM home.embeddings e
WHERE e.field = 'instruction' AND e.sample IN (SELECT id FROM samples)
"""


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A shard's store as it is now. `run` is the run's row in it."""

    path: Path
    run: RunRow
    shard: ShardRow


def create_shard(path: Path, run: RunRow, shard: ShardRow) -> None:
    """Make the store of one shard: the run with its id, and which part of it belongs here. StoreError as `Store`.

    It is there whole or not at all, for a merge that watches. One that came to be there meanwhile stays as it is.
    """
    with _part(path) as part:
        with closing(open_writer(part, create=True)) as connection, faults(path), transaction(connection):
            insert(connection, "runs", run)
            insert(connection, "shards", shard)
        # Another process may have made it, and have rows in it: linking never replaces.
        try:
            path.hardlink_to(part)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            part.replace(path)


def read_shard(path: Path) -> ShardFile:
    """What a shard's store says of itself. DataError when it is no shard's."""
    with Reader.open(path) as reader:
        runs = reader.runs()
        parts = [part for run in runs for part in reader.shards(run.id)]
    if len(runs) != 1 or len(parts) != 1 or parts[0].merged is not None:
        raise DataError(
            f"{path} is no shard of a job: its rows were not made by `localsynth run FOLDER --shard I/K`",
            "name the stores in the packed folder's `shards`",
        )
    part = parts[0]
    if not 1 <= part.shard <= part.shards:
        raise DataError(f"{path} says that it is shard {part.shard} of {part.shards}", "bring the shard's store again")
    return ShardFile(path, runs[0], part)


def write_known(home: Path, target: Path) -> int:
    """Write hashes and embeddings of every admitted instruction of `home` into a new store; how many there are."""
    with closing(open_writer(target, create=True)) as connection, faults(target):
        connection.execute("ATTACH ? AS home", (f"{home.resolve().as_uri()}?mode=ro",))
        with transaction(connection):
            for statement in _KNOWN.split(";"):
                connection.execute(statement)
        connection.execute("DETACH home")
        (count,) = connection.execute("SELECT count(*) FROM instruction_keys").fetchone()
        # One file without a log beside it: it is copied, and read where nothing can be written.
        connection.execute("PRAGMA journal_mode = DELETE")
    return int(count)


def snapshot(path: Path, target: Path) -> None:
    """Copy a store as it is at one moment, beside a run that writes to it; `target` is replaced whole or not at all."""
    with _part(target) as part:
        with closing(open_reader(path)) as source, faults(path), closing(sqlite3.connect(part)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        part.replace(target)


@contextmanager
def _part(path: Path) -> Iterator[Path]:
    """A name beside `path` that no other process uses; nothing is left of it."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def insert(connection: sqlite3.Connection, table: str, row: RunRow | ShardRow) -> None:
    """Insert a record into the table that has its fields as columns."""
    values = [getattr(row, name) for name in type(row).__slots__]
    plain = [dumps(value) if isinstance(value, Mapping) else value for value in values]
    columns = ", ".join(type(row).__slots__)
    connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(plain))})", plain)
