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
# A loop that is cut while it is written costs the row: it must be long, exact, and no drawing.
_CUT_EVERY: Final = 128
_CUT_TAIL: Final = 4096
_CUT_CHARACTERS: Final = 384
_CUT_TIMES: Final = 3
_CUT_PROBE: Final = 32
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


class LoopWatch:
    """Finds a loop in a text that is still being written, so that it need not be written to its end.

    `feed` looks only where another 128 characters are full. So where a text is cut follows from the text alone, and
    not from the pieces in which it came.
    """

    __slots__ = ("_due", "_length", "_tail", "cut")

    def __init__(self) -> None:
        self._tail, self._length, self._due = "", 0, _CUT_CHARACTERS
        self.cut: int | None = None

    @property
    def length(self) -> int:
        """Characters fed so far."""
        return self._length

    def feed(self, piece: str) -> bool:
        """Add text; whether a loop was found. `cut` is then the number of characters at which it was."""
        if self.cut is not None:
            return True
        self._tail += piece
        self._length += len(piece)
        while self._due <= self._length:
            end = len(self._tail) - (self._length - self._due)
            if _period(self._tail[max(0, end - _CUT_TAIL) : end]):
                self.cut = self._due
                return True
            self._due += _CUT_EVERY
        self._tail = self._tail[-_CUT_TAIL:]
        return False


def cut_loop(text: str) -> int | None:
    """Where a text that was written whole would have been cut; None where it does not loop."""
    watch = LoopWatch()
    watch.feed(text)
    return watch.cut


def looping(text: str) -> Finding:
    """The finding on a text that was cut by `LoopWatch`: `text` is all that was written until then."""
    tail = text[-_CUT_TAIL:]
    period = _period(tail) or 1
    times = _span(tail, period) // period
    reason = f"ended while it was written: {period} characters {times} times over"
    return Finding("loop", False, float(times), reason, excerpt(text, len(text) - period), version=2)


def _period(tail: str) -> int | None:
    """The length of the unit that the tail repeats to its end, None where it repeats too little to be sure."""
    probe = tail[-_CUT_PROBE:]
    before = tail.rfind(probe, 0, len(tail) - 1)
    if before < 0:
        return None
    period = len(tail) - len(probe) - before
    span = _span(tail, period)
    if span < max(_CUT_CHARACTERS, _CUT_TIMES * period) or not any(map(str.isalnum, tail[-period:])):
        return None
    return period


def _span(tail: str, period: int) -> int:
    """How many characters at the end have this period; a unit may be cut at both ends."""
    end = tail[-period:]
    at = len(tail) - period
    while at >= period and tail.startswith(end, at - period):
        at -= period
    while at > 0 and tail[at - 1] == tail[at - 1 + period]:
        at -= 1
    return len(tail) - at
