"""The totals of a run over all its processes, and when to write them down: some hundred rows, however long it takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from localsynth.engine.stats import Stats
from localsynth.events import Pace

_SHORTEST = 2.0  # seconds
_SHARE = 48  # a row for each 48th of the time so far: about 470 in a week


@dataclass(slots=True)
class Pacer:
    """Adds the figures of this process to those of the processes before it, which came to `before`."""

    stats: Stats
    slots: int
    before: Pace
    _seconds: float = 0.0
    _slot_seconds: float = 0.0
    _looked: float = 0.0
    _next: float = 0.0

    def look(self, used: int, *, resting: bool) -> None:
        """Count the time since the last look: `used` slots were busy. A pause with nothing in flight is no time."""
        passed, self._looked = self.stats.elapsed - self._looked, self.stats.elapsed
        if not (resting and not used):
            self._seconds += passed
            self._slot_seconds += passed * used

    @property
    def total(self) -> Pace:
        """The totals as they are at the last look."""
        stats, before = self.stats, self.before
        return Pace(
            seconds=round(before.seconds + self._seconds, 1),
            kept=stats.kept,
            asked=stats.asked,
            rejected=dict(stats.rejected),
            tokens=before.tokens + stats.tokens,
            tokens_saved=before.tokens_saved + stats.tokens_saved,
            slots=self.slots,
            slot_seconds=round(before.slot_seconds + self._slot_seconds, 1),
            compared=before.compared + stats.compared,
            duplicates=before.duplicates + stats.duplicates,
        )

    def due(self) -> Pace | None:
        """The totals when it is time to write them down, first of all at the start."""
        seconds = self.before.seconds + self._seconds
        if seconds < self._next:
            return None
        self._next = seconds + max(_SHORTEST, seconds / _SHARE)
        return self.total


def pace_from(data: object) -> Pace:
    """The Pace in a progress row or an event; what another version wrote beside it, or left out, does not matter."""
    known = data if isinstance(data, Mapping) else {}
    return Pace(**{f.name: known[f.name] for f in dataclasses.fields(Pace) if f.name in known})
