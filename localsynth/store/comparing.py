"""What a merge compares, and where it writes what it found: the rows of shards beside everything else in the store.

A row that was handed over can take another's place only if no rule rejected it; what this machine made itself always
stands. The scores of a merge are named `merge.*`; they follow from the rows that are there, whatever came first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localsynth.errors import DataError
from localsynth.records import Neighbour, Score
from localsynth.store.connect import faults, transaction
from localsynth.store.encode import text

_FIELD = "instruction"
_READ = 4096
_CANDIDATES = """
SELECT k.sample, k.key FROM instruction_keys k
WHERE k.sample NOT IN (SELECT id FROM samples WHERE state <> 'done' AND state = 'failed')
"""
_REJECTED = """
SELECT DISTINCT f.sample FROM scores f WHERE f.passed = 0 AND f.name NOT LIKE 'merge.%' AND NOT EXISTS (
  SELECT 1 FROM scores n WHERE n.sample = f.sample AND n.name = f.name AND n.version > f.version)
"""
_SCORE = """
INSERT INTO scores (sample, name, version, value, passed, reason, at)
VALUES (?, ?, ?, ?, ?, ?, (SELECT coalesce(max(at), 0) + 1 FROM scores WHERE sample = ?))
"""


@dataclass(frozen=True, slots=True)
class Admitted:
    """Every admitted instruction, sorted by sample: ids, keys of the normalised text, and whether a rule rejected the
    row; arrays of shape (n,)."""

    samples: NDArray[np.int64]
    keys: NDArray[np.int64]
    rejected: NDArray[np.bool_]


class Comparing:
    """Reads and writes through the connection of a merge."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path, self._connection = path, connection

    def waiting(self) -> NDArray[np.int64]:
        """Rows that were merged and not compared yet, sorted."""
        return self._ids("SELECT sample FROM merge_waiting ORDER BY sample")

    def admitted(self) -> Admitted:
        """All of them; 17 bytes a row."""
        with faults(self.path):
            rows = np.fromiter(self._connection.execute(_CANDIDATES), dtype=[("sample", np.int64), ("key", np.int64)])
        rows.sort(order="sample")
        return Admitted(rows["sample"].copy(), rows["key"].copy(), np.isin(rows["sample"], self._ids(_REJECTED)))

    def encoders(self) -> list[str]:
        """The names of the encoders that judged instructions."""
        with faults(self.path):
            found = self._connection.execute("SELECT DISTINCT encoder FROM embeddings WHERE field = ?", (_FIELD,))
            return sorted(name for (name,) in found)

    def vectors(self, encoder: str) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float16]]]:
        """All instructions' vectors in pieces: ids [n] and rows [n, dim]."""
        sql = "SELECT sample, vector FROM embeddings WHERE field = ? AND encoder = ?"
        with faults(self.path):
            rows = self._connection.execute(sql, (_FIELD, encoder))
            while piece := rows.fetchmany(_READ):
                yield np.array([row[0] for row in piece]), _matrix([row[1] for row in piece])

    def vectors_of(self, encoder: str, samples: Sequence[int]) -> NDArray[np.float16]:
        """The vectors of these samples, [n, dim] in their order; each must be there."""
        sql = "SELECT vector FROM embeddings WHERE sample = ? AND field = ? AND encoder = ?"
        with faults(self.path):
            return _matrix([self._connection.execute(sql, (s, _FIELD, encoder)).fetchone()[0] for s in samples])

    def near(self, encoder: str, floor: float) -> list[Neighbour]:
        """The pairs known to have a cosine of `floor` or more, sorted."""
        sql = (
            "SELECT sample, neighbour, encoder, similarity FROM neighbours WHERE encoder = ? AND similarity >= ? "
            "ORDER BY sample, neighbour"
        )
        with faults(self.path):
            return [Neighbour(*row) for row in self._connection.execute(sql, (encoder, floor))]

    def text(self, sample: int) -> str:
        """The first question of a sample."""
        sql = "SELECT content FROM turns WHERE sample = ? AND role = 'user' ORDER BY position LIMIT 1"
        with faults(self.path):
            row = self._connection.execute(sql, (sample,)).fetchone()
        return str(row[0]) if row else ""

    def add_near(self, pairs: Iterable[Neighbour]) -> None:
        """Note pairs, and that nothing waits to be compared any more."""
        with faults(self.path), transaction(self._connection):
            self._connection.executemany(
                "INSERT OR REPLACE INTO neighbours (sample, neighbour, encoder, similarity) VALUES (?, ?, ?, ?)",
                ((pair.sample, pair.neighbour, pair.encoder, pair.similarity) for pair in pairs),
            )
            self._connection.execute("DELETE FROM merge_waiting")

    def set_scores(self, scores: Sequence[Score]) -> None:
        """Make these the merge's scores, and no others."""
        wanted = {(score.sample, score.name): score for score in scores}
        with faults(self.path), transaction(self._connection):
            # Failing scores have an index of their own, so the rows that no merge judged are not looked at.
            there = self._connection.execute(
                "SELECT sample, name, reason FROM scores WHERE passed = 0 AND name LIKE 'merge.%'"
            ).fetchall()
            same = {(s, n) for s, n, reason in there if (s, n) in wanted and wanted[s, n].reason == reason}
            gone = [(s, n) for s, n, _ in there if (s, n) not in same]
            self._connection.executemany("DELETE FROM scores WHERE sample = ? AND name = ?", gone)
            self._connection.executemany(
                _SCORE,
                (
                    (each.sample, each.name, each.version, each.value, 0, text(each.reason), each.sample)
                    for key, each in wanted.items()
                    if key not in same
                ),
            )

    def _ids(self, sql: str) -> NDArray[np.int64]:
        with faults(self.path):
            return np.fromiter((row[0] for row in self._connection.execute(sql)), np.int64)


def _matrix(blobs: Sequence[bytes]) -> NDArray[np.float16]:
    joined = b"".join(blobs)
    if len({len(blob) for blob in blobs}) > 1 or len(joined) % 2:
        raise DataError(
            "one encoder's vectors are not all of one length", "leave out the shard that was made otherwise"
        )
    return np.frombuffer(joined, "<f2").reshape(len(blobs), len(joined) // (2 * max(1, len(blobs))))
