"""Thresholds in force, and the rows judged by them: piece by piece, each a transaction, so that a kill costs nothing.

What a rule itself had said stays in `rulings`, so that every step can be taken back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from localsynth.config.thresholds import CHARACTERS, Measure, Threshold, measure
from localsynth.errors import NotFound
from localsynth.store.connect import faults, open_writer, transaction
from localsynth.store.encode import now, text
from localsynth.store.listing import sample_range
from localsynth.store.rows import ThresholdRow

_PIECE = 2_000  # indices in one transaction: some 20 ms, between which a run gets its turn
_COLUMNS = ", ".join(ThresholdRow.__slots__)
_INFINITE = float("inf")
# Bound values: first, last, name, chars, low, high, off (nothing is in force: every ruling comes back).
_FAILS = "(s.value < :low OR s.value > :high)"
_SAME_SCORE = "s.sample = r.sample AND s.name = r.name AND s.version = r.version"
_RESTORE = f"""
UPDATE scores AS s SET passed = r.passed, reason = r.reason FROM rulings r
WHERE r.sample BETWEEN :first AND :last AND {_SAME_SCORE} AND {{governed}}
AND (:off OR {_FAILS} = (r.passed IS 0))
"""
_FORGET = f"""
DELETE FROM rulings AS r WHERE r.sample BETWEEN :first AND :last AND EXISTS (
  SELECT 1 FROM scores s WHERE {_SAME_SCORE} AND {{governed}} AND s.passed IS r.passed)
"""
_KEEP = f"""
INSERT OR IGNORE INTO rulings (sample, name, version, passed, reason)
SELECT s.sample, s.name, s.version, s.passed, s.reason FROM scores s
WHERE s.sample BETWEEN :first AND :last AND {{governed}} AND {_FAILS} <> (s.passed IS 0)
"""
_OVERRULE = f"""
UPDATE scores AS s SET passed = NOT {_FAILS}, reason = threshold_reason(s.value, :low, :high) FROM rulings r
WHERE r.sample BETWEEN :first AND :last AND {_SAME_SCORE} AND {{governed}}
AND (s.passed IS r.passed OR s.reason <> threshold_reason(s.value, :low, :high))
"""

Told = Callable[[int, int], bool]


@dataclass(frozen=True, slots=True)
class Change:
    """A threshold for one score; an open one takes its bounds away."""

    score: str
    threshold: Threshold


class Thresholds:
    """Puts thresholds in force and judges stored rows by them. Use it as a context, on one thread.

    A person's verdict on a row is never touched: it counts whatever the scores say.
    """

    def __init__(self, path: Path) -> None:
        """StoreError says what is wrong with the file."""
        self.path = path
        self._connection = open_writer(path, create=False)
        self._connection.create_function("threshold_reason", 3, _reason, deterministic=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def put(self, changes: Sequence[Change], source: str) -> None:
        """Put thresholds in force together. `source`: who says so, such as "you" or a preset's name."""
        rows = [(change.score, change.threshold.low, change.threshold.high, None) for change in changes]
        self._append(rows, source)

    def undo(self) -> list[str]:
        """Take back what was put in force last; the names of its scores. NotFound when there is nothing."""
        standing = active(self.history())
        if not standing:
            raise NotFound("no threshold was set, so none can be taken back", "`localsynth threshold list` shows all")
        last = [row for row in standing if row.batch == standing[-1].batch]
        self._append([(row.score, None, None, row.batch) for row in last], "undo")
        return [row.score for row in last]

    def again(self, scores: Sequence[str]) -> None:
        """Let the rows of these scores be judged anew: some came in by a merge, or from a run that knew less."""
        with self._transaction():
            self._wait(scores)

    def apply(self, told: Told | None = None) -> bool:
        """Judge what waits to be judged; False when it was told to stop.

        `told` gets the pieces done and all of them after each, and says whether to stop; the next call goes on there.
        Another process may put thresholds and apply meanwhile: whatever waits at the end is judged as well.
        """
        while True:
            with faults(self.path):
                pieces = list(self._pieces())
                start = self._connection.execute("SELECT min(after) FROM thresholds_waiting").fetchone()[0]
            if start is None:
                return True
            before = -1
            for number, (run, first, last) in enumerate(pieces):
                if last > start:
                    self._judge(run, first, last, before)
                    if told is not None and told(number + 1, len(pieces)):
                        return number + 1 == len(pieces) and self._end(last)
                before = last
            self._end(before)

    def history(self) -> list[ThresholdRow]:
        """Everything that was set and taken back, oldest first."""
        with faults(self.path):
            return history(self._connection)

    def _append(self, rows: Sequence[tuple[str, float | None, float | None, int | None]], source: str) -> None:
        with self._transaction():
            (batch,) = self._connection.execute("SELECT coalesce(max(batch), 0) + 1 FROM thresholds").fetchone()
            at = now()
            self._connection.executemany(
                "INSERT INTO thresholds (batch, score, low, high, source, undoes, created) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(batch, text(score), low, high, text(source), undoes, at) for score, low, high, undoes in rows],
            )
            self._wait([row[0] for row in rows])

    def _wait(self, scores: Sequence[str]) -> None:
        self._connection.executemany(
            "INSERT INTO thresholds_waiting (score, after) VALUES (?, -1) ON CONFLICT (score) DO UPDATE SET after = -1",
            [(text(score),) for score in scores],
        )

    def _end(self, last: int) -> bool:
        """Forget what is judged up to the last piece; whether nothing waits any more."""
        with self._transaction():
            self._connection.execute("DELETE FROM thresholds_waiting WHERE after >= ?", (last,))
            return self._connection.execute("SELECT 1 FROM thresholds_waiting").fetchone() is None

    def _pieces(self) -> Iterator[tuple[str, int, int]]:
        """(run, first id, last id) of each piece, in the order of the ids."""
        runs = [row[0] for row in self._connection.execute("SELECT id FROM runs")]
        for first, run in sorted((sample_range(run)[0], run) for run in runs):
            (top,) = self._connection.execute("SELECT max(idx) FROM samples WHERE run = ?", (run,)).fetchone()
            width = (sample_range(run)[1] - first + 1) >> 32  # ids of one index: its attempts
            for index in range(0, -1 if top is None else top + 1, _PIECE):
                yield run, first + index * width, first + (index + _PIECE) * width - 1

    def _judge(self, run: str, first: int, last: int, before: int) -> None:
        """Judge a piece. `before`: the last id of the piece before it; a score that is not so far yet stays there."""
        with self._transaction():
            row = self._connection.execute("SELECT plan, created FROM runs WHERE id = ?", (run,)).fetchone()
            force = in_force(history(self._connection), planned(row[0]), row[1])
            waiting = self._connection.execute("SELECT score FROM thresholds_waiting WHERE after < ?", (last,))
            for (score,) in waiting.fetchall():
                self._judge_score(measure(score), force.get(score, Threshold()), first, last)
            self._connection.execute(
                "UPDATE thresholds_waiting SET after = ? WHERE after BETWEEN ? AND ?", (last, before, last - 1)
            )

    def _judge_score(self, what: Measure, bounds: Threshold, first: int, last: int) -> None:
        values: dict[str, object] = {
            "first": first,
            "last": last,
            "name": what.name,
            "chars": CHARACTERS,
            "low": -_INFINITE if bounds.low is None else bounds.low,
            "high": _INFINITE if bounds.high is None else bounds.high,
            "off": bounds.open,
        }
        values |= {f"fault{number}": name for number, name in enumerate(what.faults)}
        condition = governed(what)
        for statement in (_RESTORE, _FORGET) if bounds.open else (_RESTORE, _FORGET, _KEEP, _OVERRULE):
            sql = statement.format(governed=condition)
            self._connection.execute(sql, {name: value for name, value in values.items() if f":{name}" in sql})

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with faults(self.path), transaction(self._connection):
            yield


def governed(what: Measure) -> str:
    """SQL: whether the score `s` holds a finite value of this measure. Bound: name, fault0, fault1, ..., chars."""
    names = "s.name = :name"
    if what.faults:
        faults_ = ", ".join(f":fault{number}" for number in range(len(what.faults)))
        share = " AND s.value > 0 AND s.value < 1" if what.share else ""
        names = f"({names} OR (s.name IN ({faults_}){share}))"
    if what.similarity:
        names += " AND NOT EXISTS (SELECT 1 FROM neighbours b WHERE b.sample = s.sample AND b.encoder = :chars)"
    return f"s.value > -9e999 AND s.value < 9e999 AND {names}"


def history(connection: sqlite3.Connection) -> list[ThresholdRow]:
    """Everything that was set and taken back, oldest first."""
    return [ThresholdRow(*row) for row in connection.execute(f"SELECT {_COLUMNS} FROM thresholds ORDER BY id")]


def active(rows: Sequence[ThresholdRow]) -> list[ThresholdRow]:
    """What was set and not taken back, oldest first."""
    gone = {row.undoes for row in rows if row.undoes is not None}
    return [row for row in rows if row.undoes is None and row.batch not in gone]


def in_force(rows: Sequence[ThresholdRow], plan: Mapping[str, Threshold], created: str = "") -> dict[str, Threshold]:
    """The thresholds by score for the rows of a run with this plan, made at `created`: the latest word counts."""
    found = dict(plan)
    for row in active(rows):
        if row.score not in plan or row.created > created:
            found[row.score] = Threshold(row.low, row.high)
    return {score: bounds for score, bounds in found.items() if not bounds.open}


def planned(plan: str | Mapping[str, Any]) -> dict[str, Threshold]:
    """The thresholds of a stored plan; an import's has none."""
    import json

    data = json.loads(plan) if isinstance(plan, str) else plan
    found = data.get("thresholds")
    if not isinstance(found, Mapping):
        return {}
    return {str(name): Threshold(bounds.get("low"), bounds.get("high")) for name, bounds in found.items()}


def _reason(value: float, low: float, high: float) -> str:
    bounds = Threshold(None if low == -_INFINITE else low, None if high == _INFINITE else high)
    return text(bounds.reason(value))
