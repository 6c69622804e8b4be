"""Stores for other machines: one shard of a job, and the index of what is here already."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from localsynth.errors import DataError
from localsynth.records import sample_id
from localsynth.store.connect import faults, open_reader, open_writer, transaction
from localsynth.store.encode import dumps
from localsynth.store.queries import Reader
from localsynth.store.rows import RunRow, ShardRow

_AGAIN = "bring the shard's store again"
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


_STRAYS = """
SELECT count(*) FROM samples WHERE run <> ?1 OR idx % ?2 <> ?3 OR idx < 0 OR id <> ?4 + idx * (?5 - ?4) + attempt
"""
_LENGTHS = "SELECT DISTINCT encoder, length(vector) FROM embeddings WHERE field = 'instruction'"
_LENGTH = "SELECT length(vector) FROM embeddings WHERE field = 'instruction' AND encoder = ? LIMIT 1"


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
    try:
        with Reader.open(path) as reader:
            runs = reader.runs()
            parts = [part for run in runs for part in reader.shards(run.id)]
    except ValueError as error:
        raise DataError(f"{path} cannot be read: {error}", _AGAIN) from None
    if len(runs) != 1 or len(parts) != 1 or parts[0].merged is not None:
        raise DataError(
            f"{path} is no shard of a job: its rows were not made by `localsynth run FOLDER --shard I/K`",
            "name the stores in the packed folder's `shards`",
        )
    part = parts[0]
    if not 1 <= part.shard <= part.shards:
        raise DataError(f"{path} says that it is shard {part.shard} of {part.shards}", _AGAIN)
    return ShardFile(path, runs[0], part)


def check_rows(main: Path, files: Sequence[ShardFile]) -> None:
    """DataError for a shard with rows that are not its own, or with vectors that no others can be compared with.

    One such shard in the main store would spoil every later merge into it.
    """
    lengths: dict[str, int] = {}
    for file in files:
        run, part = file.run.id, file.shard
        first = sample_id(run, 0)
        with closing(open_reader(file.path)) as connection, faults(file.path):
            bounds = (run, part.shards, part.shard - 1, first, sample_id(run, 1))
            (strays,) = connection.execute(_STRAYS, bounds).fetchone()
            found = connection.execute(_LENGTHS).fetchall()
        if strays:
            raise DataError(f"{file.path} has {strays} rows that do not belong to shard {part.shard}", _AGAIN)
        for encoder, length in found:
            known = lengths.setdefault(encoder, _length(main, encoder) or length)
            if length != known or length % 2 or not length:
                raise DataError(
                    f"{file.path} has a vector by {encoder} of {length} bytes where others have {known}",
                    "leave out the shard that was made otherwise",
                )


def _length(main: Path, encoder: str) -> int | None:
    """Bytes of a vector that is in the main store already."""
    if not main.exists():
        return None
    with closing(open_reader(main)) as connection, faults(main):
        row = connection.execute(_LENGTH, (encoder,)).fetchone()
    return int(row[0]) if row else None


def reading(path: Path) -> str:
    """The URI that attaches a store for reading, on a medium as well that cannot be written to."""
    uri = f"{path.resolve().as_uri()}?mode=ro"
    # A log beside it would have to be read; without one, SQLite wants to make one, unless nothing can change.
    written = path.with_name(f"{path.name}-wal").exists() or os.access(path.resolve().parent, os.W_OK)
    return uri if written else f"{uri}&immutable=1"


def write_known(home: Path, target: Path) -> int:
    """Write hashes and embeddings of every admitted instruction of `home` into a new store; how many there are."""
    with closing(open_writer(target, create=True)) as connection, faults(target):
        connection.execute("ATTACH ? AS home", (reading(home),))
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
