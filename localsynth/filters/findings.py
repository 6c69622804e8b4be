"""What a rule says about a text: its name, the value it measured, and the words a person reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from localsynth.config.thresholds import Threshold
from localsynth.records import Ruling, Score

EXCERPT_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule's word on one text. `passed` False rejects, True lets through, None only informs.

    `detail` is the offending part of the text, at most `EXCERPT_CHARACTERS` long. `overruled`: what the rule itself had
    said, `passed` and `reason`, where a threshold says otherwise. `version` grows whenever the rule
    would judge some text differently, so that stored scores stay comparable.
    """

    rule: str
    passed: bool | None
    value: float | None = None
    reason: str = ""
    detail: str | None = None
    version: int = 1
    overruled: tuple[bool | None, str] | None = None

    def score(self, sample: int, part: str = "") -> Score:
        """The row for the store. `part` ("instruction", "answer", ...) keeps the same rule on two turns apart."""
        name = f"{part}.{self.rule}" if part else self.rule
        return Score(sample, name, self.version, self.value, self.passed, self.reason, self.detail)

    def rows(self, sample: int, part: str = "") -> list[Score | Ruling]:
        """`score`, and the rule's own word where a threshold overruled it."""
        score = self.score(sample, part)
        return [score] if self.overruled is None else [score, Ruling(sample, score.name, self.version, *self.overruled)]

    def bounded(self, bounds: Threshold) -> Finding:
        """The finding as a threshold sees it: itself where both reject, or both let it through."""
        if self.value is None or bounds.passes(self.value) == (self.passed is not False):
            return self
        passes = bounds.passes(self.value)
        return replace(self, passed=passes, reason=bounds.reason(self.value), overruled=(self.passed, self.reason))


Judge = Callable[[Finding], Finding]


def unbounded(finding: Finding) -> Finding:
    """The finding as its rule says it."""
    return finding


def rejection(findings: Iterable[Finding]) -> Finding | None:
    """The finding that rejects, if there is one."""
    return next((finding for finding in findings if finding.passed is False), None)


def excerpt(text: str, start: int = 0, end: int | None = None) -> str:
    """The part of a text that a finding points at, bounded, with some room before it."""
    stop = len(text) if end is None else end
    if stop - start >= EXCERPT_CHARACTERS:
        return text[start : start + EXCERPT_CHARACTERS]
    first = max(0, start - (EXCERPT_CHARACTERS - (stop - start)) // 2)
    return text[first : first + EXCERPT_CHARACTERS]
