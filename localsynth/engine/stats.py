"""The figures of a running run: counts, rates over a window, the time left as a range."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

_RATE_WINDOW = 20.0
_ETA_WINDOW = 120.0
DUPLICATE_WINDOW = 200
_Z = 1.645  # 90 % of a normal distribution lie within


@dataclass(slots=True)
class Stats:
    """Counts since this process began; `kept` and `rejected` since the run began. `clock` gives seconds.

    `usable` counts the instructions that passed the local rules.
    """

    kept: int = 0
    asked: int = 0
    usable: int = 0
    failed: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    answers: int = 0
    answer_tokens: int = 0
    saved_instructions: int = 0
    last_instruction: str = ""
    last_response: str = ""
    clock: Callable[[], float] = time.monotonic
    _started: float = 0.0
    _tokens_seen: deque[tuple[float, int]] = field(default_factory=deque)
    _kept_at: deque[float] = field(default_factory=deque)
    _duplicates: deque[bool] = field(default_factory=lambda: deque(maxlen=DUPLICATE_WINDOW))

    def __post_init__(self) -> None:
        self._started = self.clock()

    @property
    def elapsed(self) -> float:
        """Seconds since this process began to count."""
        return self.clock() - self._started

    def add_tokens(self, count: int) -> None:
        """Count generated tokens."""
        self.tokens += count
        now = self.clock()
        self._tokens_seen.append((now, count))
        while self._tokens_seen[0][0] < now - _RATE_WINDOW:
            self._tokens_seen.popleft()

    def keep(self, instruction: str, response: str) -> None:
        """Count one more kept sample."""
        self.kept += 1
        self.last_instruction, self.last_response = instruction, response
        now = self.clock()
        self._kept_at.append(now)
        while self._kept_at[0] < now - _ETA_WINDOW:
            self._kept_at.popleft()

    def reject(self, rule: str, *, saved: bool) -> None:
        """Count a rejection; `saved` when no answer was generated for it."""
        self.rejected[rule] += 1
        self.saved_instructions += int(saved)

    def corpus(self, *, duplicate: bool) -> None:
        """Count one instruction that the corpus rules saw."""
        self._duplicates.append(duplicate)

    @property
    def duplicate_rate(self) -> float | None:
        """The share of duplicates among the last instructions, None before there were twenty."""
        seen = self._duplicates
        return sum(seen) / len(seen) if len(seen) >= 20 else None

    @property
    def tokens_saved(self) -> int:
        """Answer tokens not spent: what the rejected instructions would have cost at the mean so far."""
        return round(self.saved_instructions * self.answer_tokens / self.answers) if self.answers else 0

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens a second over the last seconds."""
        span = min(self.elapsed, _RATE_WINDOW)
        edge = self.clock() - _RATE_WINDOW
        return sum(count for at, count in self._tokens_seen if at >= edge) / span if span > 0 else 0.0

    def eta(self, remaining: int) -> tuple[float, float] | None:
        """The seconds in which `remaining` samples will be kept, as a 90 % range; None while fewer than three were."""
        if remaining <= 0:
            return 0.0, 0.0
        count = len(self._kept_at)
        if count < 3:
            return None
        span = max(min(self.elapsed, _ETA_WINDOW), 1e-3)
        spread = _Z * math.sqrt(count)
        return remaining * span / (count + spread), remaining * span / (count - min(spread, 0.75 * count))
