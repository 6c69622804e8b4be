"""What the filters screen reads and writes, on worker threads; nothing here knows a widget."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from localsynth.config.thresholds import Threshold
from localsynth.engine.judging import judge
from localsynth.engine.tally import Example, Table, Tally, read_table
from localsynth.store import Reader, SampleRow
from localsynth.store.scored import ScoreReader
from localsynth.store.thresholds import Change, Thresholds

_REASONS = 40


@dataclass(frozen=True, slots=True)
class Foretold:
    """What moved thresholds would do. `now`: as it is stored; `unanswered`: rows that would be kept without answer.

    `strays`: rows that are not judged by the thresholds in force.
    """

    now: Tally
    then: Tally
    unanswered: int
    strays: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A row near a bound, as it is shown. `name`: run and index, as `localsynth show` takes them."""

    example: Example
    name: str
    row: SampleRow


def read(store: Path, before: Table | None, told: Callable[[Table, int, int], bool]) -> tuple[Table, float]:
    """The scores of the store, and how many seconds reading them took."""
    if not store.exists():
        return Table(), 0.0
    began = time.monotonic()
    table = read_table(store, before, told)
    return table, time.monotonic() - began


def foretell(store: Path, table: Table, drafts: Mapping[str, Threshold]) -> Foretold:
    """Counts as they are and as they would be."""
    now = table.now
    then = table.tally(drafts) if drafts else now
    if not len(then.fresh):
        return Foretold(now, then, 0, table.strays)
    with Reader.open(store) as reader:
        return Foretold(now, then, reader.unanswered(then.fresh.tolist()), table.strays)


def near(store: Path, table: Table, name: str, bounds: Threshold, *, low: bool) -> list[Shown]:
    """Rows just below and just above a bound."""
    found = table.examples(name, bounds, low=low)
    if not found:
        return []
    numbers = {run.row.id: run.row.number for run in table.runs}
    with Reader.open(store) as reader:
        rows = {row.id: row for row in reader.rows([each.sample for each in found])}
    return [
        Shown(each, f"{numbers[row.run]}:{row.index}", row)
        for each in found
        if (row := rows.get(each.sample)) is not None
    ]


def reasons(store: Path, table: Table, rule: str) -> list[tuple[str, int]]:
    """Why a rule without a value rejects, the commonest first."""
    counted: dict[str, int] = {}
    with ScoreReader(store) as scores:
        for run in table.runs:
            for reason, count in scores.reasons(run.row, rule, _REASONS):
                counted[reason] = counted.get(reason, 0) + count
    return sorted(counted.items(), key=lambda each: (-each[1], each[0]))


def apply(
    store: Path, changes: Sequence[Change], source: str, again: Sequence[str], told: Callable[[int, int], bool]
) -> bool:
    """Put thresholds in force and judge the rows by them, those of the scores `again` as well; False when stopped."""
    with Thresholds(store) as thresholds:
        if changes:
            thresholds.put(changes, source)
        if again:
            thresholds.again(again)
        return judge(thresholds, told)


def undo(store: Path, told: Callable[[int, int], bool]) -> tuple[list[str], bool]:
    """Take back what was put in force last; its scores, and whether all rows are judged anew."""
    with Thresholds(store) as thresholds:
        scores = thresholds.undo()
        return scores, judge(thresholds, told)
