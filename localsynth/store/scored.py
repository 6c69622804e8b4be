"""The scores of a run as arrays: read once, so that thresholds can be moved over a million rows without a query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from localsynth.config.thresholds import CHARACTERS, Measure, Threshold, measure, measure_of
from localsynth.store.abandoning import watch
from localsynth.store.connect import faults, open_reader
from localsynth.store.listing import sample_range
from localsynth.store.ranking import ORDER
from localsynth.store.rows import RunRow
from localsynth.store.thresholds import history, in_force, planned

_GROUP = 36  # bits of a sample id below the number that its run's samples share
_NEWEST = "NOT EXISTS (SELECT 1 FROM scores n WHERE n.sample = s.sample AND n.name = s.name AND n.version > s.version)"
# From one name to the next in the index over values: as many steps as there are names.
_LEAST = "SELECT min(name) FROM scores WHERE sample >> 36 = ?1 AND value IS NOT NULL"
_FINITE = "value IS NOT NULL AND value > -9e999 AND value < 9e999"
_NAMES = f"""
WITH RECURSIVE each(name) AS ({_LEAST} UNION ALL SELECT ({_LEAST} AND name > each.name) FROM each
WHERE each.name IS NOT NULL) SELECT name FROM each WHERE name IS NOT NULL
"""
_SHARES = " AND value > 0 AND value < 1"
_END = f"SELECT value FROM scores WHERE sample >> 36 = ? AND name = ? AND {_FINITE}{{}} ORDER BY value {{}} LIMIT 1"
_FAILING = f"""
SELECT s.sample FROM scores s WHERE s.sample BETWEEN ? AND ? AND s.passed = 0 AND s.name = ? AND {_NEWEST}
"""
_OVERRULED = f"""
SELECT s.sample, r.passed IS 0 FROM rulings r JOIN scores s ON s.sample = r.sample AND s.name = r.name
AND s.version = r.version WHERE r.sample BETWEEN ? AND ? AND r.name = ? AND {_NEWEST}
"""
# Where a fault holds another measure's value only if that is a share, its scores are told apart by their values.
_SHARE = {True: " AND s.value > 0 AND s.value < 1", False: " AND NOT coalesce(s.value > 0 AND s.value < 1, 0)"}
_PAIRS = np.dtype([("value", np.float64), ("sample", np.int64), ("version", np.int64)])
_RULED = np.dtype([("sample", np.int64), ("failed", np.int8)])

Places = NDArray[np.int32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Values:
    """One measure over a run, sorted by value. `rows`: places in the run's `ids`; arrays of shape (n,)."""

    value: NDArray[np.float64]
    rows: Places

    def within(self, bounds: Threshold) -> slice:
        """What passes."""
        low = 0 if bounds.low is None else int(np.searchsorted(self.value, bounds.low, "left"))
        high = len(self.value) if bounds.high is None else int(np.searchsorted(self.value, bounds.high, "right"))
        return slice(low, max(low, high))


@dataclass(frozen=True, slots=True)
class Failing:
    """Where the scores of one measure reject: as it is stored, and as the rules themselves had said; sorted places."""

    stored: Places
    ruled: Places


@dataclass(frozen=True, slots=True)
class Standing:
    """What the rows of a run stand on. `ids` are sorted; `done`, `accepted`, `rejected` have one flag for each.

    `failing`: by measure, or by rule where there is none. `force`: the thresholds in force for this run.
    """

    ids: NDArray[np.int64]
    done: Flags
    accepted: Flags
    rejected: Flags
    failing: Mapping[str, Failing]
    force: Mapping[str, Threshold]


class ScoreReader:
    """Reads scores beside whoever writes them. It belongs to one thread; use it as a context."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = open_reader(path)
        watch(self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def bounded(self, runs: Sequence[RunRow]) -> bool:
        """Whether a threshold was ever put, planned for one of these runs, or merged with its rows."""
        with faults(self.path):
            if history(self._connection) or any(planned(run.plan) for run in runs):
                return True
            return self._connection.execute("SELECT 1 FROM rulings LIMIT 1").fetchone() is not None

    def last_sample(self, run: RunRow) -> int:
        """The greatest id of a run's samples, 0 where it has none."""
        (found,) = self._rows("SELECT max(id) FROM samples WHERE id BETWEEN ? AND ?", sample_range(run.id))
        return int(found[0] or 0)

    def spans(self, run: RunRow) -> dict[str, tuple[float, float]]:
        """The lowest and the highest value of each measure of a run."""
        group = sample_range(run.id)[0] >> _GROUP
        found: dict[str, tuple[float, float]] = {}
        for (name,) in list(self._rows(_NAMES, (group,))):
            whole = measure_of(name, 0.5)
            only = _SHARES if whole != name and measure(whole).share else ""
            ends = [value for way in ("", "DESC") for (value,) in self._rows(_END.format(only, way), (group, name))]
            # A merge finds its own anew each time; the order to review in is no quality of a row.
            if ends and name != ORDER and not name.startswith("merge."):
                low, high = found.get(whole, ends)
                found[whole] = min(low, *ends), max(high, *ends)
        return found

    def values(self, run: RunRow, name: str, ids: NDArray[np.int64]) -> Values:
        """The values of one measure; not those of an older version of a score, nor of rows that are not in `ids`."""
        what = measure(name)
        group = sample_range(run.id)[0] >> _GROUP
        pairs = np.concatenate([self._pairs(group, each, what) for each in (name, *what.faults)])
        pairs = pairs[np.argsort(pairs["value"], kind="stable")]
        samples = pairs["sample"]
        if len(pairs) and pairs["version"].min() != pairs["version"].max():
            order = np.lexsort((pairs["version"], samples))
            older = samples[order][:-1] == samples[order][1:]
            pairs = np.delete(pairs, order[:-1][older])
        if what.similarity:
            sql = "SELECT sample FROM neighbours WHERE sample BETWEEN ? AND ? AND encoder = ?"
            others = self._column(sql, (*sample_range(run.id), CHARACTERS))
            pairs = pairs[~np.isin(pairs["sample"], others)]
        rows = _places(ids, pairs["sample"])
        return Values(pairs["value"][rows >= 0].copy(), rows[rows >= 0])

    def standing(self, run: RunRow) -> Standing:
        """What the rows of a run stand on now."""
        bounds = sample_range(run.id)
        ids = np.sort(self._column("SELECT id FROM samples WHERE run = ?", (run.id,)))
        undone = "SELECT id FROM samples WHERE run = ? AND state <> 'done'"
        latest = dict(
            self._rows("SELECT sample, verdict FROM reviews WHERE sample BETWEEN ? AND ? ORDER BY id", bounds)
        )
        flags = {word: np.zeros(len(ids), np.bool_) for word in ("undone", "accept", "reject")}
        flags["undone"][_there(ids, self._column(undone, (run.id,)))] = True
        for word in ("accept", "reject"):
            said = [sample for sample, verdict in latest.items() if verdict == word]
            flags[word][_there(ids, np.array(said, np.int64))] = True
        with faults(self.path):
            force = in_force(history(self._connection), planned(run.plan), run.created)
        return Standing(ids, ~flags["undone"], flags["accept"], flags["reject"], self._failing(ids, bounds), force)

    def reasons(self, run: RunRow, name: str, most: int) -> list[tuple[str, int]]:
        """The commonest reasons for which a rule without a measure rejects, with how many rows."""
        sql = (
            "SELECT s.reason, count(*) FROM scores s WHERE s.sample BETWEEN ? AND ? AND s.passed = 0 AND s.name = ? "
            f"AND {_NEWEST} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?"
        )
        return list(self._rows(sql, (*sample_range(run.id), name, most)))

    def _failing(self, ids: NDArray[np.int64], bounds: tuple[int, int]) -> dict[str, Failing]:
        names = "SELECT DISTINCT name FROM {} WHERE sample BETWEEN ?1 AND ?2"
        every = self._rows(f"{names.format('scores')} AND passed = 0 UNION {names.format('rulings')}", bounds)
        stored: dict[str, list[NDArray[np.int64]]] = {}
        overruled: dict[str, list[NDArray[Any]]] = {}
        for (name,) in list(every):
            # By a share and by any other value: of most names both are the same measure.
            kinds = {measure_of(name, 0.5): True, measure_of(name, 2.0): False}
            for whole, share in kinds.items():
                only = _SHARE[share] if len(kinds) > 1 else ""
                stored.setdefault(whole, []).append(self._column(_FAILING + only, (*bounds, name)))
                with faults(self.path):
                    rows = self._connection.execute(_OVERRULED + only, (*bounds, name))
                    overruled.setdefault(whole, []).append(np.fromiter(rows, _RULED))
        found = {}
        for name, samples in stored.items():
            now = np.unique(_there(ids, np.concatenate(samples)))
            back = np.concatenate(overruled[name])
            others = np.setdiff1d(now, _there(ids, back["sample"]))
            said = _there(ids, back["sample"][back["failed"] == 1])
            failing = Failing(now, np.union1d(others, said).astype(np.int32))
            if len(failing.stored) or len(failing.ruled):
                found[name] = failing
        return found

    def _pairs(self, group: int, name: str, what: Measure) -> NDArray[Any]:
        sql = f"SELECT value, sample, version FROM scores WHERE sample >> 36 = ? AND name = ? AND {_FINITE}"
        if name != what.name and what.share:
            sql += _SHARES
        with faults(self.path):
            return np.fromiter(self._connection.execute(f"{sql} ORDER BY value, sample", (group, name)), _PAIRS)

    def _column(self, sql: str, parameters: tuple[object, ...]) -> NDArray[np.int64]:
        return np.fromiter((row[0] for row in self._rows(sql, parameters)), np.int64)

    def _rows(self, sql: str, parameters: tuple[object, ...]) -> Iterator[tuple[Any, ...]]:
        with faults(self.path):
            yield from self._connection.execute(sql, parameters)


def _places(ids: NDArray[np.int64], samples: NDArray[np.int64]) -> Places:
    """Where each sample stands in `ids`, -1 where it does not."""
    if not len(ids):
        return np.full(len(samples), -1, np.int32)
    at = np.minimum(np.searchsorted(ids, samples), len(ids) - 1)
    return np.where(ids[at] == samples, at, -1).astype(np.int32)


def _there(ids: NDArray[np.int64], samples: NDArray[np.int64]) -> Places:
    at = _places(ids, samples)
    return at[at >= 0]
