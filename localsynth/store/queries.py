"""Reading: runs, what they say, what they left undone. Samples and the data set are in `listing`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from localsynth.errors import NotFound
from localsynth.records import SampleState
from localsynth.store.abandoning import watch
from localsynth.store.connect import faults, open_reader
from localsynth.store.encode import unsigned
from localsynth.store.listing import ANSWERED, sample_range
from localsynth.store.ranking import RankingQueries
from localsynth.store.rows import (
    Control,
    EventRow,
    ExportRow,
    Progress,
    RunRow,
    SampleRow,
    ShardRow,
    ThresholdRow,
    Unfinished,
)
from localsynth.store.selecting import SelectionQueries
from localsynth.store.vectors import VectorQueries

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_RUN_FIELDS = ", ".join(RunRow.__slots__)
# A sample that failed is tried again with another attempt, which must not be a duplicate of the first one.
_ADMITTED = "k.sample NOT IN (SELECT id FROM samples WHERE state = 'failed' AND state <> 'done')"
_EVERY = range(1 << 32)
_INDEX_LIMIT = 1 << 32  # a number below it is an index, one above it a whole sample id


class Reader(SelectionQueries, VectorQueries, RankingQueries):
    """Reads a store while others write it; cannot write. A Reader belongs to one thread."""

    @classmethod
    def open(cls, path: Path) -> Reader:
        """StoreError: missing, not a database, of another program, newer version."""
        connection = open_reader(path)
        watch(connection)
        return cls(path, connection)

    def close(self) -> None:
        """May be called twice."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def runs(self) -> list[RunRow]:
        """All runs, the oldest first."""
        return [_run(row) for row in self._all(f"SELECT {_RUN_FIELDS} FROM runs ORDER BY number")]

    def run(self, name: str | None = None) -> RunRow:
        """The run with this number, name, id or beginning of an id; the newest when None, without those that
        only answer one row again. NotFound otherwise."""
        if name is None:
            rows = "coalesce(json_extract(plan, '$.again'), 0) = 0"
            found = self._all(f"SELECT {_RUN_FIELDS} FROM runs WHERE {rows} ORDER BY number DESC LIMIT 1")
        else:
            found = self._all(f"SELECT {_RUN_FIELDS} FROM runs WHERE name = ? ORDER BY number DESC LIMIT 1", (name,))
            if not found and name.isdecimal() and len(name) < 10:
                found = self._all(f"SELECT {_RUN_FIELDS} FROM runs WHERE number = ?", (int(name),))
            if not found and name:
                prefix = name.upper()
                found = self._all(f"SELECT {_RUN_FIELDS} FROM runs WHERE substr(id, 1, ?) = ?", (len(prefix), prefix))
        if not found:
            what = "no run" if name is None else f"no run {name!r}"
            raise NotFound(f"there is {what} in {self.path}", "`localsynth status` lists the runs")
        if len(found) > 1:
            raise NotFound(f"{len(found)} runs begin with {name!r}", "type more of the id, or the run's number")
        return _run(found[0])

    def shards(self, run: str) -> list[ShardRow]:
        """The parts of a run that was handed over, by number; the one part in a shard's own store; [] otherwise."""
        fields = ", ".join(ShardRow.__slots__)
        found = []
        for row in self._all(f"SELECT {fields} FROM shards WHERE run = ? ORDER BY shard", (run,)):
            named = dict(zip(ShardRow.__slots__, row, strict=True))
            plain = {key: json.loads(named[key]) for key in ("expected", "versions")}
            found.append(ShardRow(**named | plain))
        return found

    def merged(self) -> dict[str, str]:
        """When something was last merged into a run, for every run that shards were merged into."""
        return dict(self._all("SELECT run, max(merged) FROM shards WHERE merged IS NOT NULL GROUP BY run"))

    def uncompared(self) -> int:
        """How many rows a merge that was cut off left uncompared: duplicates may be among those that are kept."""
        return int(self._all("SELECT count(*) FROM merge_waiting")[0][0])

    def resolve_sample(self, name: str) -> int:
        """The sample id that a person means: `17` (index, newest run), `RUN:17`, `RUN:17.1` (attempt) or a whole id.

        Without an attempt the latest one is meant. NotFound when there is no such row.
        """
        run, _, rest = name.rpartition(":")
        index, _, attempt = rest.partition(".")
        number = int(index) if index.isdecimal() and len(index) < 20 else -1
        if number < 0 or (attempt and not attempt.isdecimal()):
            raise NotFound(f"{name!r} names no sample", "name one as 17, RUN:17 or by its whole id")
        if number >= _INDEX_LIMIT:
            found = self._all("SELECT id FROM samples WHERE id = ?", (number if number < 1 << 63 else -1,))
        else:
            sql = (
                "SELECT id FROM samples WHERE run = ? AND idx = ? AND (? = '' OR attempt = ?) "
                "ORDER BY attempt DESC LIMIT 1"
            )
            found = self._all(sql, (self.run(run or None).id, number, attempt, int((attempt or "0")[:9])))
        if not found:
            raise NotFound(f"there is no sample {name} in {self.path}", "`localsynth ls` lists the samples")
        return int(found[0][0])

    def unfinished(self, run: str, indices: range = _EVERY) -> Unfinished:
        """What `resume` has to take up again. Costs one pass over the run's index numbers.

        `indices`: those that belong to this store, where it is a shard.
        """
        (highest, distinct) = self._all("SELECT max(idx), count(DISTINCT idx) FROM samples WHERE run = ?", (run,))[0]
        top = -1 if highest is None else int(highest)
        missing: tuple[int, ...] = ()
        touched = range(indices.start, top + 1, indices.step)
        if distinct != len(touched):
            there = {row[0] for row in self._all("SELECT DISTINCT idx FROM samples WHERE run = ?", (run,))}
            missing = tuple(index for index in touched if index not in there)
        return Unfinished(top, missing, self._open(run, "asked"), self._open(run, "ready"), self._open(run, "failed"))

    def _open(self, run: str, state: SampleState) -> tuple[SampleRow, ...]:
        sql = (
            "SELECT id FROM samples s WHERE run = ? AND state = ? AND state <> 'done' AND NOT EXISTS "
            "(SELECT 1 FROM samples n WHERE n.run = s.run AND n.idx = s.idx AND n.attempt > s.attempt) ORDER BY idx"
        )
        return tuple(self.rows([row[0] for row in self._all(sql, (run, state))]))

    def events(self, run: str, after: int = 0, limit: int = 1000, kind: str | None = None) -> list[EventRow]:
        """What a run said since the event with id `after`, oldest first; only events of `kind` where one is given."""
        only = "" if kind is None else " AND kind = :kind"
        sql = f"SELECT kind, data, at, id FROM events WHERE run = :run AND id > :after{only} ORDER BY id LIMIT :limit"
        return self._events(run, sql, {"run": run, "after": after, "limit": limit, "kind": kind})

    def last_events(self, run: str, limit: int, but: str = "") -> list[EventRow]:
        """The last things that a run said, oldest first, without events of the kind `but`."""
        sql = "SELECT kind, data, at, id FROM events WHERE run = :run AND kind <> :but ORDER BY id DESC LIMIT :limit"
        return self._events(run, sql, {"run": run, "but": but, "limit": limit})[::-1]

    def _events(self, run: str, sql: str, values: Mapping[str, object]) -> list[EventRow]:
        rows = self._all(sql, values)
        return [EventRow(run, kind, json.loads(data), at, number) for kind, data, at, number in rows]

    def progress(self, run: str) -> Progress | None:
        """The latest progress of a run, None before its first."""
        rows = self._all("SELECT at, data FROM progress WHERE run = ?", (run,))
        return Progress(run, rows[0][0], json.loads(rows[0][1])) if rows else None

    def controls(self, run: str) -> list[Control]:
        """Everything the run was told, taken or not, oldest first."""
        sql = "SELECT id, run, verb, argument, created, done FROM control WHERE run = ? ORDER BY id"
        return [Control(*row) for row in self._all(sql, (run,))]

    def sample_count(
        self,
        run: str | None = None,
        *,
        kept: bool | None = None,
        answered: bool | None = None,
        search: str | None = None,
    ) -> int:
        """How many finished samples with a text match, in one run or in all. A pass over them, unless kept or all
        of them are asked for."""
        runs = [run] if run is not None else [row[0] for row in self._all("SELECT id FROM runs ORDER BY number")]
        if answered is None and search is None:
            found = [self.counts(each) for each in runs]
            return sum((each.kept if kept is not False else 0) + (0 if kept else each.rejected) for each in found)
        total = 0
        for each in runs:
            where = ["s.id BETWEEN ? AND ?", "+s.run = ?", "s.state = 'done'"]
            parameters: list[object] = [*sample_range(each), each]
            if kept is not None:
                where.append("(SELECT v.kept FROM verdicts v WHERE v.sample = s.id) = ?")
                parameters.append(int(kept))
            if answered is not None:
                where.append(ANSWERED if answered else f"NOT {ANSWERED}")
            if search is not None:
                clause, values = self._search(search)
                where.append(clause)
                parameters += values
            total += int(self._all(f"SELECT count(*) FROM samples s WHERE {' AND '.join(where)}", parameters)[0][0])
        return total

    def exports(self) -> list[ExportRow]:
        """Every noted export, oldest first."""
        rows = self._all("SELECT id, path, format, query, count, sha256, created FROM exports ORDER BY id")
        return [ExportRow(*[*row[:3], json.loads(row[3]), *row[4:]]) for row in rows]

    def thresholds(self) -> list[ThresholdRow]:
        """Every threshold that was set or taken back, oldest first; `thresholds.in_force` says which count."""
        from localsynth.store.thresholds import history

        with faults(self.path):
            return history(self._connection)

    def thresholds_waiting(self) -> list[str]:
        """The scores whose rows are not all judged by their thresholds: judging them was cut off."""
        return [row[0] for row in self._all("SELECT score FROM thresholds_waiting ORDER BY score")]

    def unanswered(self, samples: Sequence[int]) -> int:
        """How many of these samples have no answer."""
        sql = (
            "SELECT count(*) FROM json_each(?) j WHERE NOT EXISTS "
            "(SELECT 1 FROM turns t WHERE t.sample = j.value AND t.role = 'assistant')"
        )
        pieces = (samples[start : start + 5000] for start in range(0, len(samples), 5000))
        return sum(int(self._all(sql, (json.dumps(list(piece)),))[0][0]) for piece in pieces)

    def last_review(self) -> int:
        """The id of the latest review, 0 before there is one: it tells whether another was given."""
        return int(self._all("SELECT coalesce(max(id), 0) FROM reviews")[0][0])

    def instruction_keys(self) -> Iterator[tuple[int, int]]:
        """(sample, key) of every admitted instruction that did not fail later; keys are 0 to 2**64-1."""
        with faults(self.path):
            for sample, key in self._connection.execute(
                f"SELECT k.sample, k.key FROM instruction_keys k WHERE {_ADMITTED}"
            ):
                yield sample, unsigned(key)

    def embeddings(self, encoder: str, field: str) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        """Ids [n] and vectors [n, dim] of one field of what `instruction_keys` gives; [0, 0] when there are none."""
        import numpy as np

        sql = (
            "SELECT e.sample, e.vector FROM instruction_keys k "
            f"JOIN embeddings e ON e.sample = k.sample AND e.field = ? AND e.encoder = ? WHERE {_ADMITTED}"
        )
        ids: list[int] = []
        joined = bytearray()  # one buffer: a list of a million small objects would weigh several times the vectors
        with faults(self.path):
            for sample, vector in self._connection.execute(sql, (field, encoder)):
                ids.append(sample)
                joined += vector
        width = len(joined) // (2 * len(ids)) if ids else 0
        return np.array(ids, dtype=np.int64), np.frombuffer(joined, dtype="<f2").reshape(len(ids), width)


def _run(row: tuple[Any, ...]) -> RunRow:
    named = dict(zip(RunRow.__slots__, row, strict=True))
    return RunRow(**named | {"plan": json.loads(named["plan"]), "versions": json.loads(named["versions"])})
