"""Reading samples: pages by key, details, counts, and the data set as a stream."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from localsynth.errors import NotFound, StoreError
from localsynth.records import Candidate, Neighbour, Pair, Score, Turn, sample_id
from localsynth.store import fts
from localsynth.store.connect import faults, lenient
from localsynth.store.encode import TURN_COLUMNS, read_turn
from localsynth.store.rows import Counts, DatasetRow, Message, ReviewRow, SampleRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Order = Literal["oldest", "newest"]
_SAMPLE_COLUMNS = (
    "s.id, s.run, s.idx, s.attempt, s.state, s.operation, s.parent, s.error, s.detail, s.created, s.updated, "
    "v.kept, v.by, v.rule"
)
# First failing scores of a run's finished samples, from the index of failing scores: few rows where most are kept.
_FAILING = """
SELECT name, count(*) FROM (
  SELECT f.name AS name, min(f.at) FROM scores f
  WHERE f.passed = 0 AND f.sample BETWEEN :first AND :last
  AND NOT EXISTS (SELECT 1 FROM scores n WHERE n.sample = f.sample AND n.name = f.name AND n.version > f.version)
  AND f.sample NOT IN (SELECT id FROM samples WHERE run = :run AND state <> 'done')
  GROUP BY f.sample
) GROUP BY name
"""
# What a person decided otherwise than the scores: +1 where "review" rejected, -1 where a failing score was overruled.
_OVERRULED = """
SELECT coalesce(v.rule, 'review'), sum(CASE v.kept WHEN 1 THEN -1 ELSE 1 END) FROM verdicts v
WHERE v.sample IN (SELECT sample FROM reviews WHERE sample BETWEEN :first AND :last)
AND v.run = :run AND v.state = 'done' AND v.by = 'review' AND v.kept = (v.rule IS NOT NULL) GROUP BY 1
"""
_REVIEWED = (
    "coalesce((SELECT r.verdict FROM reviews r WHERE r.sample = s.id ORDER BY r.id DESC LIMIT 1), 'undecided') "
    "<> 'undecided'"
)
ANSWERED = "(SELECT t.role FROM turns t WHERE t.sample = s.id ORDER BY t.position DESC LIMIT 1) IS 'assistant'"
_BATCH = 500  # rows per statement when ids are looked up; well under SQLite's limit on parameters


class SampleQueries:
    """The half of Reader that concerns samples."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection

    def _all(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[tuple[Any, ...]]:
        with faults(self.path):
            return self._connection.execute(sql, parameters).fetchall()

    def samples(
        self,
        run: str | None = None,
        *,
        kept: bool | None = None,
        rule: str | None = None,
        reviewed: bool | None = None,
        answered: bool | None = None,
        search: str | None = None,
        order: Order = "oldest",
        limit: int = 100,
        after: int | None = None,
    ) -> list[SampleRow]:
        """One page of samples with their turns; `after` is the last sample id of the page before.

        `rule`: the first failing score; `reviewed` False: done and without a person's verdict; `answered`: the last
        turn is the model's; `search`: every word must occur in one turn (see `fts.match_query`). Without a run all
        runs are read in the order they were made.
        """
        wanted = partial(
            self._page, kept=kept, rule=rule, reviewed=reviewed, answered=answered, search=search, order=order
        )
        if run is not None:
            return self.rows(wanted(run, limit=limit, after=after))
        runs = [row[0] for row in self._all("SELECT id FROM runs ORDER BY number")]
        if order == "newest":
            runs.reverse()
        if after is not None:
            last = self._all("SELECT run FROM samples WHERE id = ?", (after,))
            runs = runs[runs.index(last[0][0]) :] if last else runs
        found: list[int] = []
        for position, each in enumerate(runs):
            start = after if position == 0 else None
            room = limit - len(found)
            found += wanted(each, limit=room, after=start)
            if len(found) >= limit:
                break
        return self.rows(found)

    def sample_ids(
        self, run: str, *, kept: bool | None = None, rule: str | None = None, search: str | None = None
    ) -> NDArray[np.int64]:
        """The ids [n] of all samples that match, oldest first: eight bytes a row, for a list that scrolls anywhere."""
        import numpy as np

        return np.array(self._page(run, kept=kept, rule=rule, search=search), dtype=np.int64)

    def _page(
        self,
        run: str,
        *,
        kept: bool | None,
        rule: str | None,
        search: str | None,
        reviewed: bool | None = None,
        answered: bool | None = None,
        order: Order = "oldest",
        limit: int = -1,
        after: int | None = None,
    ) -> list[int]:
        # A run's ids lie together: a page that walks them stops early, where an index on `run` would sort them all.
        first, last = sample_range(run)
        where: list[str] = ["s.id BETWEEN ? AND ?", "+s.run = ?"]
        parameters: list[object] = [first, last, run]
        if kept is not None:
            where.append("v.kept = ?" + ("" if kept else " AND s.state = 'done'"))
            parameters.append(int(kept))
        if rule is not None:
            failed = "SELECT f.sample FROM scores f WHERE f.passed = 0 AND f.name = ? AND f.sample BETWEEN ? AND ?"
            where += [f"s.id IN ({failed})", "v.rule = ?"]
            parameters += [rule, first, last, rule]
        if reviewed is not None:
            where.append(_REVIEWED if reviewed else f"NOT {_REVIEWED} AND s.state = 'done'")
        if answered is not None:
            where.append(ANSWERED if answered else f"NOT {ANSWERED}")
        if search is not None:
            clause, values = self._search(search)
            where.append(clause)
            parameters += values
        if after is not None:
            where.append("s.id < ?" if order == "newest" else "s.id > ?")
            parameters.append(after)
        join = "JOIN verdicts v ON v.sample = s.id" if kept is not None or rule is not None else ""
        sql = (
            f"SELECT s.id FROM samples s {join} WHERE {' AND '.join(where)} "
            f"ORDER BY s.id {'DESC' if order == 'newest' else ''} LIMIT ?"
        )
        return [row[0] for row in self._all(sql, (*parameters, limit))]

    def _search(self, search: str) -> tuple[str, list[object]]:
        fts.catch_up(self.path, self._connection)
        query = fts.match_query(search)
        if not query:
            return "0", []
        return "s.id IN (SELECT t.sample FROM search f JOIN turns t ON t.id = f.rowid WHERE f.search MATCH ?)", [query]

    def rows(self, ids: Sequence[int]) -> list[SampleRow]:
        """The samples with these ids, in this order, with turns and latest review; unknown ids are left out.

        A row that is damaged in the file is given with what can be read of it and says so in its `fault`.
        """
        found: dict[int, SampleRow] = {}
        for start in range(0, len(ids), _BATCH):
            batch = [int(number) for number in ids[start : start + _BATCH]]
            try:
                found |= self._read_rows(batch)
            except StoreError as error:
                if "decode to UTF-8" not in error.message:
                    raise
                with lenient(self._connection):
                    found |= self._read_rows(batch)
        return [found[number] for number in ids if number in found]

    def _read_rows(self, batch: list[int]) -> dict[int, SampleRow]:
        marks = ", ".join("?" * len(batch))
        turns: dict[int, list[Turn]] = {}
        damaged: dict[int, str] = {}
        sql = f"SELECT {TURN_COLUMNS} FROM turns WHERE sample IN ({marks}) ORDER BY sample, position"
        for row in self._all(sql, batch):
            try:
                turn = read_turn(row)
            except (ValueError, TypeError) as error:
                damaged[row[0]] = f"turn {row[1]}: {error}"
                turn = read_turn((*row[:5], "[]", *row[6:8], None, *row[9:]))
            turns.setdefault(row[0], []).append(turn)
        reviews = {review.sample: review for review in self._reviews(batch, damaged)}
        sql = f"SELECT {_SAMPLE_COLUMNS} FROM samples s JOIN verdicts v ON v.sample = s.id WHERE s.id IN ({marks})"
        found = {}
        for row in self._all(sql, batch):
            number = row[0]
            try:
                sample = _sample(row, tuple(turns.get(number, ())), reviews.get(number))
            except (ValueError, TypeError) as error:
                damaged[number] = f"detail: {error}"
                sample = _sample((*row[:8], "{}", *row[9:]), tuple(turns.get(number, ())), reviews.get(number))
            found[number] = replace(sample, fault=damaged[number]) if number in damaged else sample
        return found

    def _reviews(self, samples: Sequence[int], damaged: dict[int, str] | None = None) -> list[ReviewRow]:
        sql = (
            "SELECT id, sample, verdict, note, edits, created, tags, batch FROM reviews "
            f"WHERE sample IN ({', '.join('?' * len(samples))}) ORDER BY id"
        )
        found = []
        for row in self._all(sql, samples):
            try:
                found.append(_review(row))
            except (ValueError, TypeError, AttributeError) as error:
                found.append(_review((*row[:4], "{}", row[5], "[]", row[7])))
                if damaged is not None:
                    damaged[row[1]] = f"review {row[0]}: {error}"
        return found

    def sample(self, sample: int) -> SampleRow:
        """Everything known about one sample. NotFound when there is none with this id."""
        rows = self.rows([sample])
        if not rows:
            raise NotFound(f"there is no sample {sample} in {self.path}", "`localsynth ls` lists the samples")
        scores = self._all(
            "SELECT sample, name, version, value, passed, reason, detail FROM scores WHERE sample = ? ORDER BY at",
            (sample,),
        )
        neighbours = self._all(
            "SELECT sample, neighbour, encoder, similarity FROM neighbours WHERE sample = ? ORDER BY similarity DESC",
            (sample,),
        )
        candidates = self._all(
            "SELECT sample, model, idx, purpose, text, tokens, chosen, checks FROM candidates "
            "WHERE sample = ? ORDER BY id",
            (sample,),
        )
        pairs = self._all(
            "SELECT sample, chosen, rejected, margin, source FROM pairs WHERE sample = ? ORDER BY id", (sample,)
        )
        return replace(
            rows[0],
            scores=tuple(Score(*[*row[:4], None if row[4] is None else bool(row[4]), *row[5:]]) for row in scores),
            neighbours=tuple(Neighbour(*row) for row in neighbours),
            reviews=tuple(self._reviews([sample])),
            candidates=tuple(Candidate(*[*row[:6], bool(row[6]), json.loads(row[7])]) for row in candidates),
            pairs=tuple(Pair(*row) for row in pairs),
        )

    def counts(self, run: str) -> Counts:
        """Where the samples of a run stand."""
        first, last = sample_range(run)
        (total,) = self._all("SELECT count(*) FROM samples WHERE run = ?", (run,))[0]
        sql = "SELECT state, count(*) FROM samples WHERE run = ? AND state <> 'done' GROUP BY state"
        states = dict(self._all(sql, (run,)))
        bounds = {"run": run, "first": first, "last": last}
        tally: Counter[str] = Counter(dict(self._all(_FAILING, bounds)))
        tally.update(dict(self._all(_OVERRULED, bounds)))
        rules = {name: count for name, count in tally.most_common() if count}
        rejected = sum(rules.values())
        kept = total - sum(states.values()) - rejected
        return Counts(kept, rejected, rules, *(states.get(state, 0) for state in ("asked", "ready", "failed")))

    def review_counts(self, run: str) -> dict[str, int]:
        """How many samples of a run each verdict stands on: the latest of every sample that was reviewed."""
        sql = (
            "SELECT verdict, count(*) FROM (SELECT verdict, max(id) FROM reviews WHERE sample BETWEEN ? AND ? "
            "GROUP BY sample) GROUP BY verdict"
        )
        return dict(self._all(sql, sample_range(run)))

    def dataset(self, run: str | None = None, *, answered: bool | None = None) -> Iterator[DatasetRow]:
        """What is kept, run by run in index order, read as it is consumed: memory does not grow with the rows."""
        runs = [run] if run is not None else [row[0] for row in self._all("SELECT id FROM runs ORDER BY number")]
        extra = "" if answered is None else f" AND answered = {int(answered)}"
        sql = (
            "SELECT sample, run, idx, attempt, model, answered, messages FROM dataset "
            f"WHERE run = ?{extra} ORDER BY idx, attempt"
        )
        for each in runs:
            with faults(self.path):
                for row in self._connection.execute(sql, (each,)):
                    messages = tuple(Message(part["role"], part["content"]) for part in json.loads(row[6]))
                    yield DatasetRow(*[*row[:5], bool(row[5]), messages])


def sample_range(run: str) -> tuple[int, int]:
    """The first and the last id that samples of this run can have."""
    first = sample_id(run, 0)
    return first, first + (1 << 36) - 1


def _review(row: tuple[Any, ...]) -> ReviewRow:
    edits = {int(key): content for key, content in json.loads(row[4]).items()}
    return ReviewRow(*[*row[:4], edits, row[5], tuple(json.loads(row[6])), row[7]])


def _sample(row: tuple[Any, ...], turns: tuple[Turn, ...], review: ReviewRow | None) -> SampleRow:
    return SampleRow(*[*row[:8], json.loads(row[8]), *row[9:11], bool(row[11]), *row[12:], turns, review])
