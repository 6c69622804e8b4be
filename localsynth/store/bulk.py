"""The same review of many samples: chunk by chunk, each whole or not at all, and taken back as one batch.

A review is appended for each sample that changes; it repeats what stays as it was.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from localsynth.store.connect import faults, open_writer, transaction
from localsynth.store.encode import now, text

BulkVerb = Literal["accept", "reject", "clear", "tag", "note"]
_LATEST = (
    "FROM json_each(:ids) j JOIN samples s ON s.id = j.value "
    "LEFT JOIN reviews r ON r.id = (SELECT max(id) FROM reviews WHERE sample = s.id)"
)
_NOW = "coalesce(r.verdict, 'undecided')"
_TAGS = "coalesce(r.tags, '[]')"
# One review that is damaged must not stop what is said about the others.
_SOUND = "CASE WHEN json_valid(r.tags) THEN CASE json_type(r.tags) WHEN 'array' THEN r.tags ELSE '[]' END ELSE '[]' END"
_MORE = f"SELECT n.value FROM json_each(:tags) n WHERE n.value NOT IN (SELECT value FROM json_each({_SOUND}))"


@dataclass(frozen=True, slots=True)
class _Rule:
    """`changes`: samples that are not so already; `may`: those of them where nothing of a person's is overwritten."""

    changes: str
    may: str = "1"
    verdict: str = _NOW
    note: str = "r.note"
    tags: str = _TAGS


_RULES: Mapping[BulkVerb, _Rule] = {
    "accept": _Rule(f"s.state = 'done' AND {_NOW} <> 'accept'", f"{_NOW} = 'undecided'", verdict="'accept'"),
    "reject": _Rule(f"s.state = 'done' AND {_NOW} <> 'reject'", f"{_NOW} = 'undecided'", verdict="'reject'"),
    "clear": _Rule(f"{_NOW} <> 'undecided'", "(r.id <= :since OR r.batch IS NOT NULL)", verdict="'undecided'"),
    "tag": _Rule(
        f"EXISTS ({_MORE})",
        tags=f"(SELECT json_group_array(value) FROM (SELECT value FROM json_each({_SOUND}) UNION ALL {_MORE}))",
    ),
    "note": _Rule("r.note IS NOT :text", "r.note IS NULL", note=":text"),
}
# What samples were before a batch that has the last word about them. The batch that they were of then comes back too,
# so that it can be taken back next. (`+`: not by the index of batches, which would meet every row of it every time.)
_BEFORE = """
SELECT b.sample, coalesce(p.verdict, 'undecided'), p.note, coalesce(p.edits, '{}'), coalesce(p.tags, '[]'), p.batch
FROM json_each(:ids) j JOIN reviews b ON b.id = (SELECT max(id) FROM reviews WHERE sample = j.value)
LEFT JOIN reviews p ON p.id = (SELECT max(id) FROM reviews WHERE sample = j.value
  AND id < (SELECT min(id) FROM reviews WHERE sample = j.value AND batch = :batch))
WHERE +b.batch = :batch
"""
_STANDING = (
    "FROM reviews b WHERE b.batch = :batch AND b.sample BETWEEN :first AND :last "
    "AND (SELECT batch FROM reviews WHERE sample = b.sample ORDER BY id DESC LIMIT 1) = :batch"
)
_EVERY = {"first": 0, "last": (1 << 63) - 1}


@dataclass(frozen=True, slots=True)
class BulkAction:
    """What is said about every sample. `text`: the note. `tags`: those that are added.

    `overwrite`: also where a person said otherwise: another verdict, another note. Clearing takes verdicts back that
    are not newer than the review `since`; with `overwrite` all.
    """

    verb: BulkVerb
    text: str = ""
    overwrite: bool = False
    since: int = 0
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reach:
    """How many samples an action changes, and how many it leaves because a person said otherwise."""

    changed: int = 0
    held: int = 0

    def __add__(self, other: Reach) -> Reach:
        return Reach(self.changed + other.changed, self.held + other.held)


class BulkReviews:
    """Writes what concerns many samples. Belongs to one thread; raises StoreError as Store does."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """StoreError: missing, read-only, locked."""
        return cls(path, open_writer(path, create=False))

    def latest(self) -> int:
        """The number of the newest review; 0 before the first."""
        return int(self._row("SELECT coalesce(max(id), 0) FROM reviews")[0])

    def reach(self, ids: Sequence[int], action: BulkAction) -> Reach:
        """What `apply` would do to these samples as they are now."""
        return self._reach(_values(ids, action), action)

    def apply(self, ids: Sequence[int], action: BulkAction, batch: str) -> Reach:
        """Say it about these samples in one transaction, as part of a batch."""
        rule, values = _RULES[action.verb], _values(ids, action)
        may = "1" if action.overwrite else rule.may
        sql = (
            "INSERT INTO reviews (sample, verdict, note, edits, tags, batch, created) "
            f"SELECT s.id, {rule.verdict}, {rule.note}, coalesce(r.edits, '{{}}'), {rule.tags}, :batch, :at "
            f"{_LATEST} WHERE {rule.changes} AND {may}"
        )
        with faults(self.path), transaction(self._connection):
            found = self._reach(values, action)
            self._connection.execute(sql, values | {"batch": batch, "at": now()})
        return found

    def standing(self, batch: str) -> list[int]:
        """The samples about which a batch has the last word, by number."""
        with faults(self.path):
            sql = f"SELECT DISTINCT b.sample {_STANDING} ORDER BY b.sample"
            rows = self._connection.execute(sql, _EVERY | {"batch": batch})
            return [sample for (sample,) in rows]

    def undo(self, batch: str, ids: Sequence[int]) -> Reach:
        """Put the samples of a batch back to what they were, those of `ids`, in one transaction.

        `held`: those about which something was said since; they stay.
        """
        values = {"ids": json.dumps([int(each) for each in ids]), "batch": batch, "at": now()}
        sql = f"INSERT INTO reviews (sample, verdict, note, edits, tags, batch, created) SELECT *, :at FROM ({_BEFORE})"
        with faults(self.path), transaction(self._connection):
            changed = self._connection.execute(sql, values).rowcount
        return Reach(changed, len(ids) - changed)

    def last_batch(self, bounds: tuple[int, int]) -> str | None:
        """The newest batch that has the last word about a sample between these bounds."""
        with faults(self.path):
            batches = self._connection.execute("SELECT DISTINCT batch FROM reviews WHERE batch IS NOT NULL").fetchall()
        for batch in sorted((str(batch) for (batch,) in batches), key=_when, reverse=True):
            values = {"batch": batch, "first": bounds[0], "last": bounds[1]}
            if self._row(f"SELECT 1 {_STANDING} LIMIT 1", values):
                return batch
        return None

    def close(self) -> None:
        """May be called twice."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _reach(self, values: dict[str, object], action: BulkAction) -> Reach:
        rule = _RULES[action.verb]
        may = "1" if action.overwrite else rule.may
        sql = f"SELECT count(*), coalesce(sum(NOT ({may})), 0) {_LATEST} WHERE {rule.changes}"
        count, held = self._row(sql, values)
        return Reach(count - held, held)

    def _row(self, sql: str, values: Mapping[str, object] | Sequence[object] = ()) -> Any:
        with faults(self.path):
            return self._connection.execute(sql, values).fetchone()


def new_batch(what: str) -> str:
    """An id that says what was done and when."""
    return f"{what} {now()} {os.urandom(3).hex()}"


def _when(batch: str) -> list[str]:
    return batch.split()[-2:]


def _values(ids: Sequence[int], action: BulkAction) -> dict[str, object]:
    return {
        "ids": json.dumps([int(each) for each in ids]),
        "text": text(action.text),
        "tags": json.dumps([text(tag) for tag in action.tags]),
        "since": action.since,
    }
