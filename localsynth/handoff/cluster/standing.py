"""Where a job on a cluster stands: counts, rates and the time left, over all its shards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localsynth.handoff.cluster.workers import Outcome
from localsynth.handoff.job import Job


@dataclass(frozen=True, slots=True)
class Standing:
    """`working`: by shard the figures of `events.Progress`, {} before the first, of shards that are on a worker.

    `retried`: how often a shard was given to another worker because the one it was on died.
    """

    job: Job
    workers: int
    working: Mapping[int, Mapping[str, Any]]
    outcomes: Mapping[int, Outcome]
    retried: int
    draining: bool = False

    @property
    def finished(self) -> int:
        """Shards that are done."""
        return sum(outcome.state == "finished" for outcome in self.outcomes.values())

    @property
    def kept(self) -> int:
        """Rows kept in the shards that have been at work since the driver began."""
        ended = sum(outcome.kept for outcome in self.outcomes.values())
        return ended + sum(int(figures.get("kept", 0)) for figures in self.working.values())

    @property
    def tokens_per_second(self) -> float:
        """Of all workers together."""
        return sum(float(figures.get("tokens_per_second", 0)) for figures in self.working.values())

    @property
    def eta(self) -> tuple[float, float] | None:
        """Seconds in which the rest will be done, as a range; None while not every worker knows its own pace.

        The shards that wait take the pace of those that run; no job ends before its slowest shard.
        """
        running = [figures for figures in self.working.values() if figures.get("eta_low") is not None]
        if not running or len(running) < len(self.working):
            return None
        left = [(figures["target"] - figures["kept"], figures["eta_low"], figures["eta_high"]) for figures in running]
        rest = self.job.plan.target - self.kept
        fast = sum(rows / max(low, 1e-3) for rows, low, _ in left)
        slow = sum(rows / max(high, 1e-3) for rows, _, high in left)
        if not fast or not slow:
            return None
        return max(rest / fast, *(low for _, low, _ in left)), max(rest / slow, *(high for _, _, high in left))

    def summary(self) -> dict[str, Any]:
        """Plain figures, for `--json`."""
        shards = {
            str(shard): {"state": each.state, "kept": each.kept, "reason": each.reason}
            for shard, each in sorted(self.outcomes.items())
        }
        return {
            "job": self.job.id,
            "target": self.job.plan.target,
            "kept": self.kept,
            "shards": self.job.shards,
            "finished": self.finished,
            "workers": self.workers,
            "retried": self.retried,
            "outcomes": shards,
        }
