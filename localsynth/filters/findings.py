"""What a rule says about a text: its name, the value it measured, and the words a person reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from localsynth.records import Score

EXCERPT_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule's word on one text. `passed` False rejects, True lets through, None only informs.

    `detail` is the offending part of the text, at most `EXCERPT_CHARACTERS` long. `version` grows whenever the rule
    would judge some text differently, so that stored scores stay comparable.
    """

    rule: str
    passed: bool | None
    value: float | None = None
    reason: str = ""
    detail: str | None = None
    version: int = 1

    def score(self, sample: int, part: str = "") -> Score:
        """The row for the store. `part` ("instruction", "answer", ...) keeps the same rule on two turns apart."""
        name = f"{part}.{self.rule}" if part else self.rule
        return Score(sample, name, self.version, self.value, self.passed, self.reason, self.detail)


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
