"""The thresholds that a run judges its new rows by: its plan's, and what is put in force in the store meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from localsynth.config.thresholds import Threshold, measure_of
from localsynth.filters.findings import Finding, Judge
from localsynth.store.rows import ThresholdRow
from localsynth.store.thresholds import in_force

_SIMILARITY = "instruction.near_duplicate"


@dataclass(slots=True)
class Bounds:
    """`plan`: the plan's thresholds; `created`: when the run was made. The latest word on a score counts."""

    plan: Mapping[str, Threshold] = field(default_factory=dict)
    created: str = ""
    _now: Mapping[str, Threshold] | None = None

    def take(self, rows: Sequence[ThresholdRow]) -> None:
        """Go by these from now on, together with the plan's; may be called on another thread."""
        self._now = in_force(rows, self.plan, self.created)

    @property
    def now(self) -> Mapping[str, Threshold]:
        """Thresholds by score."""
        return self.plan if self._now is None else self._now

    @property
    def similarity(self) -> Threshold | None:
        """The one for near duplicates, which are found among all rows."""
        return self.now.get(_SIMILARITY)

    def judge(self, part: str) -> Judge:
        """What the gate applies to its findings on one part of a row: "instruction", "answer", "answer_2", ..."""
        return partial(self._judge, part)

    def _judge(self, part: str, finding: Finding) -> Finding:
        bounds = self.now.get(measure_of(f"{part}.{finding.rule}", finding.value))
        return finding if bounds is None else finding.bounded(bounds)
