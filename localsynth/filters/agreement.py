"""How often a classifier says what a person said, on decisions that it was not trained with."""

from __future__ import annotations

import math
from dataclasses import dataclass

from localsynth.filters.classifier import Bools, Floats

_Z = 1.959964  # 95 % of a normal distribution lie within so many standard deviations


@dataclass(frozen=True, slots=True)
class Agreement:
    """Counts of held-out decisions: `accepted` of all `decisions`, `agreed` with, and `caught` of the rejected."""

    decisions: int
    accepted: int
    agreed: int
    caught: int

    @property
    def rejected(self) -> int:
        """How many of them a person rejected."""
        return self.decisions - self.accepted

    @property
    def share(self) -> float:
        """The part that the classifier decided as the person did."""
        return self.agreed / self.decisions

    @property
    def interval(self) -> tuple[float, float]:
        """Where that part lies with 95 % confidence (Wilson)."""
        return wilson(self.agreed, self.decisions)

    @property
    def constant(self) -> str:
        """What is right more often without looking: "accept" or "reject"."""
        return "accept" if 2 * self.accepted >= self.decisions else "reject"

    @property
    def baseline(self) -> float:
        """The part that always saying `constant` gets right."""
        return max(self.accepted, self.rejected) / self.decisions

    @property
    def better(self) -> bool:
        """Whether it is surely better than that: the whole interval lies above it."""
        return self.interval[0] > self.baseline


def agreement(said: Floats, accepted: Bools) -> Agreement:
    """Compare held-out probabilities [n] with the decisions [n]."""
    same = (said >= 0.5) == accepted
    return Agreement(len(accepted), int(accepted.sum()), int(same.sum()), int((same & ~accepted).sum()))


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share; 0 to 1 where nothing was tried."""
    if trials == 0:
        return 0.0, 1.0
    share, spread = hits / trials, _Z * _Z / trials
    middle = share + spread / 2
    half = _Z * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    return max(0.0, min(low, share)), min(1.0, max(high, share))
