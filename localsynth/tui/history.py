"""How a run went, from the totals it noted: any number of equal stretches of its time at work, each with its rates."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from localsynth.events import Pace

_SMOOTH = 20.0  # seconds; requests end in bursts, and a shorter stretch would show these
_FEW = 20  # a share of fewer than so many says nothing
_POINTS = 240  # at which the totals of shards are added up
_COUNTS = ("kept", "asked", "tokens", "tokens_saved", "slots", "slot_seconds", "compared", "duplicates")

Total = Callable[[Pace], float]


@dataclass(frozen=True, slots=True)
class History:
    """Totals of one run in the order of its time at work; the start, where all is nothing, is not among them."""

    paces: tuple[Pace, ...] = ()
    _seconds: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_seconds", tuple(pace.seconds for pace in self.paces))

    @property
    def seconds(self) -> float:
        """How long the run was at work."""
        return self._seconds[-1] if self._seconds else 0.0

    @property
    def last(self) -> Pace:
        """The totals of today."""
        return self.paces[-1] if self.paces else Pace()

    def until(self, now: Pace | None) -> History:
        """The same with what the run says of itself now."""
        if now is None or now.seconds <= self.seconds:
            return self
        return History((*self.paces, now))

    def rates(self, total: Total, columns: int) -> list[float | None]:
        """How much was added a second in each of `columns` equal stretches; None where nothing is known."""
        if self.seconds <= 0:
            return [None] * columns
        rates: list[float | None] = []
        for column in range(columns):
            end = self.seconds * (column + 1) / columns
            start = max(0.0, min(self.seconds * column / columns, end - _SMOOTH))
            rates.append(max(0.0, self.at(total, end) - self.at(total, start)) / (end - start))
        return rates

    def shares(self, part: Total, whole: Total, columns: int) -> list[float | None]:
        """The share of `part` in `whole` in each stretch, or in as many before it as tell; None where too few did."""
        if self.seconds <= 0:
            return [None] * columns
        marks = [self.seconds * number / columns for number in range(columns + 1)]
        parts, wholes = ([self.at(total, mark) for mark in marks] for total in (part, whole))
        shares: list[float | None] = []
        start = 0
        for end in range(1, columns + 1):
            while start < end - 1 and wholes[end] - wholes[start + 1] >= _FEW:
                start += 1
            seen = wholes[end] - wholes[start]
            shares.append(min(1.0, max(0.0, (parts[end] - parts[start]) / seen)) if seen >= _FEW else None)
        return shares

    def at(self, total: Total, seconds: float) -> float:
        """A total at a moment, on the straight line between what was noted before and after it."""
        if not self.paces:
            return 0.0
        number = min(bisect_left(self._seconds, seconds), len(self.paces) - 1)
        after = self.paces[number]
        before = self.paces[number - 1] if number else Pace()
        span = after.seconds - before.seconds
        share = min(1.0, (seconds - before.seconds) / span) if span > 0 else 1.0
        return total(before) + share * (total(after) - total(before))


def by_rule(rule: str) -> Total:
    """The rejections by one rule."""
    return lambda pace: pace.rejected.get(rule, 0)


def added(histories: Sequence[History]) -> History:
    """The shards of one run as if they had all begun at once."""
    if len(histories) == 1:
        return histories[0]
    end = max((history.seconds for history in histories), default=0.0)
    marks = [end * number / _POINTS for number in range(1, _POINTS + 1)] if end > 0 else []
    return History(tuple(_sum(histories, mark) for mark in marks))


def _sum(histories: Sequence[History], seconds: float) -> Pace:
    def total(of: Total) -> int:
        return round(sum(history.at(of, seconds) for history in histories))

    rules = dict.fromkeys(rule for history in histories for rule in history.last.rejected)
    rejected = {rule: total(by_rule(rule)) for rule in rules}
    return Pace(seconds=seconds, rejected=rejected, **{name: total(attrgetter(name)) for name in _COUNTS})
