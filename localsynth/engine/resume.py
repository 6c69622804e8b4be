"""Resume is a query: what a run's rows say is left to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from localsynth.config import Plan
from localsynth.engine.pacing import pace_from
from localsynth.engine.pipeline import Open
from localsynth.events import Pace
from localsynth.methods.base import Draft, Written
from localsynth.records import LAST_ATTEMPT
from localsynth.store.queries import Reader
from localsynth.store.rows import SampleRow


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where to go on. `attempts`: the number of the new attempt at indices that failed; `asked` counts all attempts.

    `pace`: what the processes before came to.
    """

    kept: int = 0
    asked: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    ready: tuple[int, ...] = ()
    undecided: tuple[int, ...] = ()
    next_index: int = 0
    open: Mapping[int, Open] = field(default_factory=dict)
    attempts: Mapping[int, int] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)


def resume_point(reader: Reader, run: str, plan: Plan, indices: range) -> ResumePoint:
    """Read it from the store; a new run gives the empty one. `indices` are the run's own, where it is a shard."""
    left, counts, said = reader.unfinished(run, indices), reader.counts(run), reader.progress(run)
    opened = {row.index: _reopen(row, plan) for row in (*left.asked, *left.ready)}
    again = {row.index: row.attempt + 1 for row in left.failed if row.attempt < LAST_ATTEMPT}
    undecided = sorted({*left.missing, *again, *(row.index for row in left.asked)})
    return ResumePoint(
        kept=counts.kept,
        asked=counts.kept + counts.rejected + counts.asked + counts.ready + counts.failed,
        rejected=counts.by_rule,
        ready=tuple(row.index for row in left.ready),
        undecided=tuple(undecided),
        next_index=indices.start if left.highest < 0 else left.highest + indices.step,
        open=opened,
        attempts=again,
        pace=pace_from(said.data.get("pace") if said else None),
    )


def _reopen(row: SampleRow, plan: Plan) -> Open:
    """The draft of a stored sample; the system prompt is found in the plan by its number."""
    question = next(turn for turn in row.turns if turn.role == "user")
    number = row.detail.get("system")
    system = plan.systems[number].text if isinstance(number, int) and number < len(plan.systems) else None
    draft = Draft((), Written(question.raw), row.operation, system or None, row.detail)
    return Open(draft, question.content, row.attempt)
