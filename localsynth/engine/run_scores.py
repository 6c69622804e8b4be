"""The scores of one run against thresholds: which rows each would reject, and which rows would be kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from localsynth.config.thresholds import Threshold
from localsynth.store.rows import RunRow
from localsynth.store.scored import Flags, Places, Standing, Values

_NOTHING = np.zeros(0, np.int32)


@dataclass(frozen=True)
class RunScores:
    """The arrays of one run. `values`: by measure; those that are not read yet are absent."""

    row: RunRow
    standing: Standing
    spans: Mapping[str, tuple[float, float]]
    values: Mapping[str, Values] = field(default_factory=dict)

    @cached_property
    def faults(self) -> NDArray[np.int16]:
        """How many measures and rules reject each row, as it is stored."""
        count = np.zeros(len(self.standing.ids), np.int16)
        for failing in self.standing.failing.values():
            count[failing.stored] += 1
        return count

    @cached_property
    def unvalued(self) -> dict[str, Places]:
        """By measure, the rows that it rejects without a value that bounds could judge."""
        found = {}
        for name, failing in self.standing.failing.items():
            judged = np.zeros(len(self.standing.ids), np.bool_)
            if name in self.values:
                judged[self.values[name].rows] = True
            found[name] = failing.stored[~judged[failing.stored]]
        return found

    def failing(self, name: str, bounds: Threshold | None) -> list[Places]:
        """The rows that a measure or rule would reject, in pieces that share none: with these bounds, by the rules' own
        word (open), as stored (None)."""
        known = self.standing.failing.get(name)
        if bounds is None or bounds.open or name not in self.values:
            if known is None:
                return []
            return [known.ruled if bounds is not None and bounds.open else known.stored]
        values = self.values[name]
        passes = values.within(bounds)
        pieces = [values.rows[: passes.start], values.rows[passes.stop :]]
        return pieces if known is None else [*pieces, self.unvalued[name]]

    def rejected(self, name: str, bounds: Threshold | None) -> int:
        """How many rows a measure or rule would reject."""
        return sum(map(len, self.failing(name, bounds)))

    def kept(self, drafts: Mapping[str, Threshold]) -> Flags:
        """Which rows would be kept, one flag for each of `standing.ids`."""
        count = self.faults
        if drafts:
            count = count.copy()
            for name, bounds in drafts.items():
                for rows in self.failing(name, None):
                    count[rows] -= 1
                for rows in self.failing(name, bounds):
                    count[rows] += 1
        standing = self.standing
        keeps: Flags = standing.done & (standing.accepted | (~standing.rejected & (count == 0)))
        return keeps

    @cached_property
    def kept_now(self) -> Flags:
        """Which rows are kept as it is stored."""
        return self.kept({})

    @cached_property
    def governed(self) -> Mapping[str, Threshold]:
        """The thresholds in force, and open ones where rows are overruled by one that is not: a merge brings such."""
        found = {
            name: Threshold()
            for name, failing in self.standing.failing.items()
            if not np.array_equal(failing.stored, failing.ruled)
        }
        return {**found, **self.standing.force}

    @cached_property
    def strays(self) -> int:
        """Rows that are not judged by the thresholds in force."""
        odd = np.zeros(len(self.standing.ids), np.bool_)
        for name, bounds in self.governed.items():
            stored, judged = (np.concatenate([_NOTHING, *self.failing(name, each)]) for each in (None, bounds))
            odd[np.setxor1d(stored, judged)] = True
        return int(odd.sum())
