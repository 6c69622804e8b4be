"""The figures of a running run: counts, rates over a window, the time left as a range."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

_RATE_WINDOW = 20.0
_ETA_WINDOW = 120.0
_FEW = 10
_DUPLICATE_WINDOW = 200
SATURATED = 0.5  # from this share of duplicates a prompt is used up
_SLICE = 0.25
_LATEST = 8
_Z = 1.645  # 90 % of a normal distribution lie within


class Window:
    """A sum over the last `seconds`, kept in slices so that neither memory nor time grows with the pace."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._slices: deque[tuple[float, int]] = deque()
        self._sum = 0

    def add(self, at: float, count: int) -> None:
        """Count something that happened at second `at`; times never go back."""
        if self._slices and at - self._slices[-1][0] < _SLICE:
            start, so_far = self._slices[-1]
            self._slices[-1] = (start, so_far + count)
        else:
            self._slices.append((at, count))
        self._sum += count

    def total(self, now: float) -> int:
        """The sum of what happened in the window that ends at `now`."""
        while self._slices and self._slices[0][0] < now - self.seconds:
            self._sum -= self._slices.popleft()[1]
        return self._sum


@dataclass(slots=True)
class Stats:
    """Counts since this process began; `kept`, `rejected` and `asked` since the run began. `clock` gives seconds.

    `tried` counts the instructions that this process got, `usable` those of them that passed the local rules. Belongs
    to the event loop: no other thread may read it. `retrying`: the failure that is being waited out, "" when none is.
    `characters` are of the texts that were written to their end; `saved_from_loops` counts tokens. `latest`: what
    was kept last. `compared` instructions reached the corpus rules, `duplicates` of them were rejected there.
    """

    kept: int = 0
    asked: int = 0
    tried: int = 0
    usable: int = 0
    failed: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    answers: int = 0
    answer_tokens: int = 0
    saved_instructions: int = 0
    saved_from_loops: int = 0
    characters: int = 0
    last_instruction: str = ""
    last_response: str = ""
    retrying: str = ""
    compared: int = 0
    duplicates: int = 0
    latest: deque[int] = field(default_factory=lambda: deque(maxlen=_LATEST))
    clock: Callable[[], float] = time.monotonic
    _started: float = 0.0
    _stood: float = 0.0
    _kept_here: int = 0
    _tokens_seen: Window = field(default_factory=lambda: Window(_RATE_WINDOW))
    _kept_seen: Window = field(default_factory=lambda: Window(_ETA_WINDOW))
    _duplicates: deque[bool] = field(default_factory=lambda: deque(maxlen=_DUPLICATE_WINDOW))

    def __post_init__(self) -> None:
        self._started = self._now

    @property
    def elapsed(self) -> float:
        """Seconds since this process began to count."""
        return self._now - self._started

    def skip(self, seconds: float) -> None:
        """The machine or this process stood still for so long: rates and limits are of the time that it ran."""
        self._stood += seconds

    @property
    def _now(self) -> float:
        return self.clock() - self._stood

    def add_tokens(self, count: int) -> None:
        """Count the tokens of one finished request."""
        self.tokens += count
        self.retrying = ""
        self._tokens_seen.add(self._now, count)

    def ask(self, *, usable: bool) -> None:
        """Count one instruction that a model wrote, or that was read."""
        self.asked += 1
        self.tried += 1
        self.usable += int(usable)

    def keep(self, sample: int, instruction: str, response: str) -> None:
        """Count one more kept sample."""
        self.kept += 1
        self.latest.append(sample)
        self.last_instruction, self.last_response = instruction, response
        self._kept_here += 1
        self._kept_seen.add(self._now, 1)

    def reject(self, rule: str, *, saved: bool) -> None:
        """Count a rejection; `saved` when no answer was generated for it."""
        self.rejected[rule] += 1
        self.saved_instructions += int(saved)

    def corpus(self, *, duplicate: bool) -> None:
        """Count one instruction that the corpus rules saw."""
        self._duplicates.append(duplicate)
        self.compared += 1
        self.duplicates += int(duplicate)

    @property
    def duplicate_window(self) -> int:
        """How many instructions `duplicate_rate` is over."""
        return len(self._duplicates)

    @property
    def duplicate_rate(self) -> float | None:
        """The share of duplicates among the last instructions, None before there were twenty."""
        seen = self._duplicates
        return sum(seen) / len(seen) if len(seen) >= 20 else None

    @property
    def tokens_saved(self) -> int:
        """Tokens not spent: answers to rejected instructions, at the mean so far, and the rest of texts that looped."""
        unasked = round(self.saved_instructions * self.answer_tokens / self.answers) if self.answers else 0
        return unasked + self.saved_from_loops

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens a second over the last seconds."""
        span = min(self.elapsed, _RATE_WINDOW)
        return self._tokens_seen.total(self._now) / span if span > 0 else 0.0

    def eta(self, remaining: int) -> tuple[float, float] | None:
        """The seconds in which `remaining` samples will be kept, as a 90 % range; None while fewer than three were.

        The pace is that of the last minutes; of all the time of this process where little was kept in these.
        """
        if remaining <= 0:
            return 0.0, 0.0
        count, span = self._kept_seen.total(self._now), min(self.elapsed, _ETA_WINDOW)
        if count < _FEW:
            count, span = self._kept_here, self.elapsed
        if count < 3:
            return None
        span = max(span, 1e-3)
        spread = _Z * math.sqrt(count)
        return remaining * span / (count + spread), remaining * span / (count - min(spread, 0.75 * count))
