"""Exact duplicates: two texts that a reader would call the same have the same key."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

from localsynth.filters.findings import Finding

_SPACES = re.compile(r"\s+")
# The end mark of a sentence is no difference; "5!" and "n!" are, so "!" must follow a word of two letters.
_END_MARKS = re.compile(r"(?:[.?。…]+|(?<=[^\W\d_]{2})!+)$")
# Compatibility folding would make x² and x2 the same formula.
_RAISED: Final = str.maketrans(
    {raised: f"^{plain}" for raised, plain in zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True)}
    | {lowered: f"_{plain}" for lowered, plain in zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True)}
    | {"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "\u200b": None, "\ufeff": None},
)


def normalise(text: str) -> str:
    """The text without differences of case, width, spacing and final sentence marks; digits and operators all stay."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_RAISED))
    text = _SPACES.sub(" ", text.casefold()).strip()
    return _END_MARKS.sub("", text).rstrip() or text


def instruction_key(text: str) -> int:
    """A signed 64-bit key of the normalised text, stable across machines; fits SQLite's INTEGER."""
    digest = hashlib.blake2b(normalise(text).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def exact_duplicate(of: str) -> Finding:
    """The finding for a text whose key is already held by the sample that people call `of`."""
    return Finding("duplicate", False, 1.0, f"the same text as {of}")
