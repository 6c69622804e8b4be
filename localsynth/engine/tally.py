"""How many rows thresholds would keep: counts, histograms and rows near a bound, from arrays that are read once."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localsynth.config.thresholds import Threshold
from localsynth.engine.run_scores import RunScores
from localsynth.store.queries import Reader
from localsynth.store.rows import RunRow, ThresholdRow
from localsynth.store.scored import ScoreReader, Values

_LIVE = frozenset({"running", "paused"})
_TAIL = 0.005  # of the values on either side: the histogram's outermost bins hold them together


@dataclass(frozen=True, slots=True)
class Tally:
    """Rows that are done, how many of them would be kept, and by measure or rule how many it would reject.

    `fresh`: the samples that would be kept and are not kept now.
    """

    done: int
    kept: int
    rejected: Mapping[str, int]
    fresh: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Example:
    """A row near a bound."""

    sample: int
    value: float
    passes: bool


@dataclass(frozen=True, slots=True)
class Axis:
    """What a histogram shows: from `low` to `high`, in steps of `step` for a bound that is moved.

    `whole`: all values are whole numbers. `least` and `most` are the ends of all values.
    """

    low: float
    high: float
    step: float
    whole: bool
    least: float
    most: float


@dataclass(frozen=True)
class Table:
    """All runs of a store at one moment. `waiting`: scores that are not wholly judged by their thresholds."""

    runs: tuple[RunScores, ...] = ()
    history: tuple[ThresholdRow, ...] = ()
    waiting: tuple[str, ...] = ()
    mark: tuple[object, ...] = ()

    @cached_property
    def measures(self) -> tuple[str, ...]:
        """What a threshold can be put on: values that differ."""
        spans: dict[str, tuple[float, float]] = {}
        for run in self.runs:
            for name, (low, high) in run.spans.items():
                before = spans.get(name, (low, high))
                spans[name] = min(low, before[0]), max(high, before[1])
        found = [name for name, (low, high) in spans.items() if low < high]
        return tuple(
            sorted((name for name in found if not self.ready(name) or any(True for _ in self.values(name))), key=_order)
        )

    @cached_property
    def rules(self) -> tuple[str, ...]:
        """What rejects rows without a value that could be bounded."""
        names = {name for run in self.runs for name, failing in run.standing.failing.items() if len(failing.stored)}
        return tuple(sorted(names - set(self.measures), key=_order))

    def in_force(self, name: str) -> Threshold:
        """The threshold that is in force, where runs differ that of the newest with one; open where there is none."""
        return next((run.standing.force[name] for run in self.runs[::-1] if name in run.standing.force), Threshold())

    def differs(self, name: str) -> bool:
        """Whether runs with values of a measure are judged by different thresholds."""
        return len({run.standing.force.get(name, Threshold()) for run in self.runs if name in run.spans}) > 1

    def force_words(self, name: str) -> str:
        """The threshold in force as people say it."""
        return "differs by run" if self.differs(name) else self.in_force(name).words()

    def ready(self, name: str) -> bool:
        """Whether all values of a measure are read."""
        return all(name in run.values for run in self.runs if name in run.spans)

    def values(self, name: str) -> Iterator[Values]:
        """A measure's values, run by run."""
        return (run.values[name] for run in self.runs if name in run.values and len(run.values[name].value))

    def tally(self, drafts: Mapping[str, Threshold]) -> Tally:
        """What would be kept with these thresholds in the place of those in force."""
        rejected = {
            name: sum(run.rejected(name, drafts.get(name)) for run in self.runs)
            for name in (*self.measures, *self.rules)
        }
        done = sum(int(run.standing.done.sum()) for run in self.runs)
        flags = [run.kept(drafts) if drafts else run.kept_now for run in self.runs]
        fresh = [run.standing.ids[keeps & ~run.kept_now] for run, keeps in zip(self.runs, flags, strict=True)]
        found = np.concatenate(fresh) if fresh and drafts else np.zeros(0, np.int64)
        return Tally(done, sum(int(keeps.sum()) for keeps in flags), rejected, found)

    @cached_property
    def now(self) -> Tally:
        """What is kept as it is stored."""
        return self.tally({})

    @cached_property
    def governed(self) -> frozenset[str]:
        """What a threshold is in force for, or was where rows were merged from."""
        return frozenset(name for run in self.runs for name in run.governed)

    @cached_property
    def strays(self) -> int:
        """Rows that are not judged by the thresholds in force: merged, or written by a run that knew less."""
        return sum(run.strays for run in self.runs)

    def axis(self, name: str) -> Axis:
        """The span of the values, without the thinnest ends."""
        tables = [each.value for each in self.values(name)]
        least, most = min(float(each[0]) for each in tables), max(float(each[-1]) for each in tables)
        low = min(float(each[int(_TAIL * (len(each) - 1))]) for each in tables)
        high = max(float(each[math.ceil((1 - _TAIL) * (len(each) - 1))]) for each in tables)
        if low == high:
            low, high = least, most
        looked = [each[:: max(1, len(each) // 1000)] for each in tables]
        whole = all(bool((some == np.floor(some)).all()) for some in looked)
        return Axis(low, high, _step((high - low) / 100, whole=whole), whole, least, most)

    def histogram(self, name: str, edges: NDArray[np.float64]) -> NDArray[np.int64]:
        """How many values lie between each edge and the next; the outermost bins hold all that is beyond them."""
        counts = np.zeros(len(edges) - 1, np.int64)
        for each in self.values(name):
            at = np.searchsorted(each.value, edges)
            at[0], at[-1] = 0, len(each.value)
            counts += np.diff(at)
        return counts

    def examples(self, name: str, bounds: Threshold, *, low: bool, most: int = 3) -> list[Example]:
        """Rows just below and just above one of the bounds, in the order of their values."""
        bound = bounds.low if low else bounds.high
        if bound is None:
            return []
        before: list[Example] = []
        after: list[Example] = []
        for run in self.runs:
            values = run.values.get(name)
            if values is None:
                continue
            at = int(np.searchsorted(values.value, bound, "left" if low else "right"))
            for found, place in ((before, slice(max(0, at - most), at)), (after, slice(at, at + most))):
                samples, numbers = run.standing.ids[values.rows[place]].tolist(), values.value[place].tolist()
                found += [Example(s, v, bounds.passes(v)) for s, v in zip(samples, numbers, strict=True)]
        key = lambda each: (each.value, each.sample)  # noqa: E731
        return sorted(before, key=key)[-most:] + sorted(after, key=key)[:most]


def read_table(
    path: Path,
    before: Table | None = None,
    told: Callable[[Table, int, int], bool] | None = None,
    only: Collection[str] | None = None,
) -> Table:
    """Read all runs; what cannot have changed since `before` is taken from it.

    `told` gets what is read so far, the steps done and all steps, and says whether to stop. `only`: no other measures'
    values are needed.
    """
    with Reader.open(path) as reader:
        runs, history, waiting = reader.runs(), tuple(reader.thresholds()), tuple(reader.thresholds_waiting())
        merged = reader.merged()
        mark = (history, waiting, reader.last_review(), *((run, merged.get(run.id)) for run in runs))
    with ScoreReader(path) as scores:
        mark += tuple(scores.last_sample(run) for run in runs)
    if before is not None and before.mark == mark:
        return before
    known = {run.row.id: run for run in before.runs} if before is not None else {}
    table = Table((), history, waiting, mark)
    with ScoreReader(path) as scores:
        found = [_begin(scores, row, known.get(row.id)) for row in runs]
        table = replace(table, runs=tuple(found))
        missing = [
            (at, name)
            for at, run in enumerate(found)
            for name in run.spans
            if name not in run.values and (only is None or name in only)
        ]
        for step, (at, name) in enumerate(sorted(missing, key=lambda each: _order(each[1]))):
            if told is not None and told(table, step, len(missing)):
                return replace(table, mark=())
            run = found[at]
            values = scores.values(run.row, name, run.standing.ids)
            found[at] = replace(run, values={**run.values, name: values})
            table = replace(table, runs=tuple(found))
    return table


def unjudged(path: Path, run: str | None = None) -> int:
    """How many rows of a run, or of all, are not judged by the thresholds in force; reads only what these need."""
    with Reader.open(path) as reader:
        rows = [row for row in reader.runs() if run in {None, row.id}]
    count = 0
    with ScoreReader(path) as scores:
        for row in rows if scores.bounded(rows) else []:
            found = RunScores(row, scores.standing(row), {})
            values = {name: scores.values(row, name, found.standing.ids) for name in found.governed}
            count += replace(found, values=values).strays
    return count


def _begin(scores: ScoreReader, row: RunRow, known: RunScores | None) -> RunScores:
    """A run without its values, unless those that are known still hold."""
    standing = scores.standing(row)
    if known is not None and known.row == row and row.state not in _LIVE:
        before = known.standing
        if np.array_equal(before.ids, standing.ids) and np.array_equal(before.done, standing.done):
            return RunScores(row, standing, known.spans, known.values)
    return RunScores(row, standing, scores.spans(row))


def _order(name: str) -> tuple[int, str]:
    """Instructions first, then answers, then what has no part."""
    part = name.partition(".")[0] if "." in name else "~"
    return {"instruction": 0, "answer": 1}.get(part, 3 if part == "~" else 2), name


def _step(width: float, *, whole: bool) -> float:
    """The nearest of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(width)) if width > 0 else 1.0
    step = power * min((1, 2, 5, 10), key=lambda each: abs(each - width / power))
    return max(1.0, step) if whole else step
