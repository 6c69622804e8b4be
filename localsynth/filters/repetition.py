"""Loops and repetition: the commonest way in which a small model goes wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from localsynth.filters.findings import Finding, excerpt
from localsynth.filters.language import WORDS, Profile

_TAIL_CHARACTERS: Final = 2000
_PROBE_CHARACTERS: Final = 12
_LOOPS: Final = 4
_LOOPED_CHARACTERS: Final = 40
_SAME_LINES: Final = 4
_WORD_WINDOW: Final = 200
_CHARACTER_WINDOW: Final = 400
# Below so many n-grams the share says little: a short list repeats its frame.
_FEW_GRAMS: Final = 20
REPETITION_LIMIT: Final = 0.6
_SECOND_LOOK: Final = 0.3
_WORDS = re.compile(r"\w+")


def loop(text: str) -> Finding | None:
    """A unit repeated to the end of the text, or one line written again and again (`A:` `A:` `A:`)."""
    return _looping_tail(text) or _same_lines(text)


def _looping_tail(text: str) -> Finding | None:
    """The smallest period of the tail, found from where its last characters stood before."""
    tail = text[-_TAIL_CHARACTERS:].rstrip()
    if len(tail) < _LOOPED_CHARACTERS:
        return None
    probe = tail[-_PROBE_CHARACTERS:]
    before = tail.rfind(probe, 0, len(tail) - 1)
    if before < 0:
        return None
    period = len(tail) - _PROBE_CHARACTERS - before
    unit = tail[-period:]
    # A cut-off loop ends anywhere inside its unit, so whole units are counted from the end.
    times, at = 0, len(tail)
    while at >= period and tail.startswith(unit, at - period):
        times, at = times + 1, at - period
    if times < _LOOPS or times * period < _LOOPED_CHARACTERS or not any(map(str.isalnum, unit)):
        return None
    return Finding(
        "loop", False, float(times), f"ends in a loop of {period} characters", excerpt(text, len(text) - len(unit))
    )


def _same_lines(text: str) -> Finding | None:
    head = text if len(text) <= 2 * _TAIL_CHARACTERS else text[: 2 * _TAIL_CHARACTERS]
    if head.count("\n") < 2:
        return None
    lines = [line for line in map(str.strip, head.split("\n")) if line]
    best, run, previous, worst = 1, 1, "", ""
    for line in lines:
        run = run + 1 if line == previous and any(map(str.isalnum, line)) else 1
        if run > best:
            best, worst = run, line
        previous = line
    # Three alike are a loop only where little else was written: refrains and short tables repeat lines too.
    if best >= _SAME_LINES or (best == _SAME_LINES - 1 and len(lines) <= _SAME_LINES + 1):
        return Finding("loop", False, float(best), f"the same line {best} times", excerpt(worst))
    return None


def repetition(text: str, profile: Profile) -> float:
    """Share of n-grams seen before, 0 to 1: word trigrams, or runs of six characters where words are not spaced.

    Only the last words are read, as loops come last; below 20 n-grams it is 0. Frames of tables and drawings do not
    count: where the share is high, it is taken again over letters and digits alone.
    """
    tail = text[-_TAIL_CHARACTERS:]
    if profile is WORDS:
        share = _seen_before(tail.split()[-_WORD_WINDOW:], 3)
        return share if share < _SECOND_LOOK else _seen_before(_WORDS.findall(tail)[-_WORD_WINDOW:], 3)
    tail = tail[-_CHARACTER_WINDOW:]
    share = _seen_before(tail, 6)
    return share if share < _SECOND_LOOK else _seen_before("".join(filter(str.isalnum, tail)), 6)


def _seen_before(items: Sequence[str], size: int) -> float:
    total = len(items) - size + 1
    if total < _FEW_GRAMS:
        return 0.0
    if isinstance(items, str):
        return 1 - len({items[at : at + size] for at in range(total)}) / total
    return 1 - len(set(zip(*(items[at:] for at in range(size)), strict=False))) / total
