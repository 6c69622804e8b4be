"""Rules on the shape of a text: empty, length, cut off, ends with a colon, gibberish."""

from __future__ import annotations

import re
from typing import Final

from localsynth.filters.findings import Finding, excerpt
from localsynth.filters.language import Profile, Shape
from localsynth.filters.repetition import REPETITION_LIMIT

_COLONS = (":", "：", ":**", "：**", ":*")
_RULERS = re.compile(r"([-=_*|.~#+:─│·•])(?:[ \t]*\1){2,}|\|[ \t:]*-+[ \t:]*(?=\|)")
SYMBOL_LIMIT: Final = 0.75
_FEW_CHARACTERS: Final = 30
_REPLACEMENT = "\ufffd"


def empty(text: str) -> Finding | None:
    """Nothing visible was written."""
    if text and not text.isspace():
        return None
    return Finding("empty", False, 0.0, "nothing was written", None)


def cut_off(text: str, *, stopped: bool) -> Finding | None:
    """The token limit ended the text, not the model."""
    if stopped:
        return None
    return Finding(
        "cut_off", False, None, "ended by the token limit, not by the model", excerpt(text, max(0, len(text) - 80))
    )


def ends_with_colon(text: str) -> Finding | None:
    """The text announces something that does not follow."""
    if not text.endswith(_COLONS):
        return None
    return Finding(
        "ends_with_colon", False, None, "announces something that is not there", excerpt(text, max(0, len(text) - 80))
    )


def length(text: str, size: int, profile: Profile, *, shortest: int, longest: int) -> Finding:
    """The length in the profile's unit, between two limits."""
    if size < shortest:
        return Finding("too_short", False, float(size), f"{size} {profile.unit}, fewer than {shortest}", excerpt(text))
    if size > longest:
        return Finding("too_long", False, float(size), f"{size} {profile.unit}, more than {longest}", excerpt(text))
    return Finding("length", True, float(size), profile.unit)


def symbols(text: str, shape: Shape) -> Finding:
    """The share of symbols: noise where it is high and no table, rule or formula explains it."""
    ratio = shape.symbol_ratio
    if ratio > SYMBOL_LIMIT and shape.visible >= _FEW_CHARACTERS:
        # Rulers of tables and headings are one symbol each to a reader.
        visible = re.sub(r"\s+", "", _RULERS.sub("-", text[:20_000]))
        ratio = sum(1 for character in visible if not character.isalnum()) / max(1, len(visible))
        if ratio > SYMBOL_LIMIT and len(visible) >= _FEW_CHARACTERS:
            return Finding("gibberish", False, ratio, f"{ratio:.0%} of it are symbols", excerpt(text))
    return Finding("symbol_ratio", True, ratio)


def broken_characters(text: str) -> Finding | None:
    """Replacement characters: the tokens did not form text."""
    if _REPLACEMENT not in text:
        return None
    count = text.count(_REPLACEMENT)
    if count < 3 and count * 100 < len(text):
        return None
    return Finding(
        "gibberish", False, float(count), f"{count} broken characters", excerpt(text, text.find(_REPLACEMENT))
    )


def wordless(text: str, shape: Shape) -> Finding | None:
    """A question without letters or digits."""
    if shape.letters + shape.digits == 0:
        return Finding("gibberish", False, 0.0, "holds no letter and no digit", excerpt(text))
    return None


def repeated(value: float, text: str) -> Finding:
    """The share of repeated n-grams, as `repetition` measured it."""
    if value > REPETITION_LIMIT:
        return Finding(
            "loop", False, value, f"{value:.0%} of it was written before", excerpt(text, max(0, len(text) - 160))
        )
    return Finding("repetition", True, value)
