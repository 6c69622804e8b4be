"""The yield of a template: which share of the user turns that a model writes are usable questions.

A turn counts when a turn-end token ended it, it has at least three words (or six characters of a language without
spaces), it is in the language asked for, and holds no control token, no other role's turn, no answer, no loop, and
no turn before it said the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from localsynth.filters import heuristics, markers
from localsynth.filters.duplicates import instruction_key
from localsynth.filters.findings import Finding
from localsynth.filters.language import CHARACTERS, lacks_language, length_of, measure
from localsynth.filters.repetition import REPETITION_LIMIT, loop, repetition
from localsynth.filters.sanitize import sanitize

_Z95: Final = 1.959963984540054
_SHORTEST_WORDS: Final = 3
_SHORTEST_CHARACTERS: Final = 6


@dataclass(frozen=True, slots=True)
class YieldReport:
    """`good` of `n` turns are usable; `causes` counts each lost turn once, under the first rule that it breaks.

    `low95` and `high95` bound the rate by Wilson's interval at 95 %.
    """

    n: int
    good: int
    causes: dict[str, int]

    @property
    def rate(self) -> float:
        """Share of usable turns, 0 to 1; 0 where none was written."""
        return self.good / self.n if self.n else 0.0

    @property
    def low95(self) -> float:
        """Lower end of the 95 % interval."""
        return wilson(self.good, self.n)[0]

    @property
    def high95(self) -> float:
        """Upper end of the 95 % interval."""
        return wilson(self.good, self.n)[1]


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two rates, first minus second, with its 95 % interval (Newcombe's score method)."""

    value: float
    low95: float
    high95: float


def assess(
    turns: Iterable[tuple[str, bool]],
    *,
    language: str | None = None,
    control_strings: Iterable[str] = (),
) -> YieldReport:
    """The yield of raw user turns, each with whether a turn-end token ended it. They are sanitised as a run would."""
    strings = tuple(control_strings)
    seen: set[int] = set()
    causes: dict[str, int] = {}
    n = good = 0
    for raw, stopped in turns:
        n += 1
        text = sanitize(raw, "user", strings).text
        cause = _cause(text, stopped=stopped, language=language, strings=strings)
        if cause is None:
            key = instruction_key(text)
            cause = "duplicate" if key in seen else None
            seen.add(key)
        if cause is None:
            good += 1
        else:
            causes[cause] = causes.get(cause, 0) + 1
    return YieldReport(n, good, causes)


def _cause(text: str, *, stopped: bool, language: str | None, strings: tuple[str, ...]) -> str | None:
    ends = markers.ends_of(text)
    lower = ends.lower()
    found: Finding | None = (
        heuristics.empty(text)
        or heuristics.cut_off(text, stopped=stopped)
        or markers.control_token(text, strings)
        or markers.thinking(text)
        or markers.role_marker(ends, lower)
        or markers.answer_leak(ends, lower)
        or heuristics.broken_characters(text)
        or loop(text)
    )
    if found is not None:
        return found.rule
    shape = measure(text)
    shortest = _SHORTEST_CHARACTERS if shape.profile is CHARACTERS else _SHORTEST_WORDS
    if length_of(text, shape) < shortest:
        return "too_short"
    if repetition(text, shape.profile) > REPETITION_LIMIT:
        return "loop"
    foreign = language is not None and lacks_language(text, language, shape) is not None
    return "wrong_language" if foreign else None


def wilson(good: int, n: int) -> tuple[float, float]:
    """Wilson's score interval at 95 % for `good` of `n`; (0, 1) where n is 0."""
    if n == 0:
        return 0.0, 1.0
    rate, z2 = good / n, _Z95 * _Z95
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def two_proportion(first: YieldReport, second: YieldReport) -> Difference:
    """How much yield the second file loses against the first: difference of the rates with its 95 % interval.

    Newcombe (1998), method 10: the two Wilson intervals combined; sound near 0 and 1, where yields lie.
    """
    value = first.rate - second.rate
    down = math.hypot(first.rate - first.low95, second.high95 - second.rate)
    up = math.hypot(first.high95 - first.rate, second.rate - second.low95)
    return Difference(value, max(-1.0, value - down), min(1.0, value + up))
