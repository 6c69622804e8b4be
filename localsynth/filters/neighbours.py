"""Near duplicates: the nearest earlier question, judged by an encoder only where that encoder can read the text.

A text of which the encoder does not know over 20 % of the tokens, or that is longer than it reads, is judged by
character n-grams instead, and its finding says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from localsynth.config.thresholds import Threshold
from localsynth.filters.findings import Finding
from localsynth.records import Neighbour

Vectors = NDArray[np.float32]

# Squared L2 distance 0.05 between unit vectors (Magpie, arXiv 2406.08464, section 2.3) is cosine 0.975.
DEFAULT_THRESHOLD: Final = 0.975
UNKNOWN_LIMIT: Final = 0.20
# Over alpaca_zh_demo the 8 duplicates lie at 1.0 and the nearest different request at 0.87.
_CHARACTER_THRESHOLD: Final = 0.90
# In a long text a new question after the same passage is a small share, so only about so many characters may differ.
# Of 504 different T0 prompts over 1,000 characters, most sharing a passage: 12 rejects 32, 6 rejects 17, 3 rejects 4.
_DIFFERING_CHARACTERS: Final = 3


class Coverage(Protocol):
    """What an encoder takes in of each text, arrays of shape (n,)."""

    @property
    def unknown(self) -> Vectors: ...
    @property
    def truncated(self) -> NDArray[np.bool_]: ...


class Encoder(Protocol):
    """Texts to unit vectors, shape (n, dim)."""

    @property
    def name(self) -> str: ...
    def encode(self, texts: Sequence[str]) -> Vectors: ...
    def coverage(self, texts: Sequence[str]) -> Coverage: ...


class Match(Protocol):
    """The nearest earlier row."""

    @property
    def neighbour(self) -> int | None: ...
    @property
    def similarity(self) -> float: ...
    @property
    def admitted(self) -> bool: ...


class Index(Protocol):
    """Vectors that were admitted so far."""

    def add(self, ids: Sequence[int], vectors: Vectors) -> None: ...
    def admit(self, ids: Sequence[int], vectors: Vectors, threshold: float | Vectors) -> Sequence[Match]: ...


@dataclass(frozen=True, slots=True)
class Judged:
    """One text's finding, its nearest earlier row, and the vector that judged it (unit, float32, shape (dim,))."""

    finding: Finding
    neighbour: Neighbour | None
    encoder: str
    vector: Vectors


class NearDuplicates:
    """The corpus so far, in two indexes: one for the sentence encoder (may be absent), one for character n-grams.

    `bounds` takes the place of the threshold for what the sentence encoder compares; it may change between calls.
    """

    def __init__(
        self,
        sentences: tuple[Encoder, Index] | None,
        characters: tuple[Encoder, Index],
        threshold: float = DEFAULT_THRESHOLD,
        name: Callable[[int], str] = lambda sample: f"sample {sample}",
    ) -> None:
        """`name`: what people call a sample, for the reasons."""
        self._sentences = sentences
        self._characters = characters
        self._threshold = threshold
        self._name = name
        self.bounds: Threshold | None = None

    def admit(self, ids: Sequence[int], texts: Sequence[str]) -> list[Judged]:
        """Judge texts in the given order against everything admitted before, earlier ones of this call included."""
        reasons = self._unread(texts)
        judged: dict[int, Judged] = {}
        read = [row for row, reason in enumerate(reasons) if reason is None]
        if read and self._sentences is not None:
            limits = np.full(len(read), self._threshold, np.float32)
            rows = [(row, ids[row], texts[row], "") for row in read]
            judged |= _judge(self._sentences, rows, limits, self._name, self.bounds)
        unread = [(row, ids[row], texts[row], reason) for row, reason in enumerate(reasons) if reason is not None]
        if unread:
            limits = np.array([character_threshold(text) for _, _, text, _ in unread], np.float32)
            judged |= _judge(self._characters, unread, limits, self._name)
        return [judged[row] for row in range(len(texts))]

    @property
    def encoders(self) -> list[str]:
        """The names under which vectors are stored."""
        return [encoder.name for encoder, _ in filter(None, (self._sentences, self._characters))]

    def restore(self, encoder: str, ids: Sequence[int], vectors: Vectors) -> None:
        """Take in vectors that an earlier process stored; those of an encoder not in use now are left out."""
        for known, index in filter(None, (self._sentences, self._characters)):
            if known.name == encoder:
                index.add(ids, vectors)

    def _unread(self, texts: Sequence[str]) -> list[str | None]:
        """Why the sentence encoder may not judge each text; None where it may."""
        if self._sentences is None:
            return ["no sentence encoder is in use"] * len(texts)
        encoder = self._sentences[0]
        coverage = encoder.coverage(texts)
        reasons: list[str | None] = []
        for unknown, truncated in zip(coverage.unknown.tolist(), coverage.truncated.tolist(), strict=True):
            if unknown > UNKNOWN_LIMIT:
                reasons.append(f"{encoder.name} does not know {unknown:.0%} of the tokens")
            else:
                reasons.append(f"longer than {encoder.name} reads" if truncated else None)
        return reasons


# Row number, sample id, text, and why the sentence encoder did not judge it ("" where it did).
_Row = tuple[int, int, str, str]


def _judge(
    using: tuple[Encoder, Index],
    rows: Sequence[_Row],
    limits: Vectors,
    name: Callable[[int], str],
    bounds: Threshold | None = None,
) -> dict[int, Judged]:
    encoder, index = using
    vectors = encoder.encode([text for _, _, text, _ in rows])
    moved = limits if bounds is None else np.full(len(rows), _limit(bounds), np.float32)
    matches = index.admit([sample for _, sample, _, _ in rows], vectors, moved)
    judged: dict[int, Judged] = {}
    for (row, sample, _, because), match, vector, limit in zip(rows, matches, vectors, limits.tolist(), strict=True):
        by = f"by {encoder.name}" + (f" ({because})" if because else "")
        finding = Finding("near_duplicate", True, None, f"nothing to compare with, {by}")
        neighbour = None
        if match.neighbour is not None:
            neighbour = Neighbour(sample, match.neighbour, encoder.name, match.similarity)
            reason = f"{match.similarity:.3f} like {name(match.neighbour)}, limit {limit:.3f}, {by}"
            finding = Finding("near_duplicate", match.similarity < limit, match.similarity, reason)
            finding = finding if bounds is None else finding.bounded(bounds)
        judged[row] = Judged(finding, neighbour, encoder.name, vector)
    return judged


def _limit(bounds: Threshold) -> np.float32:
    """The least similarity that a threshold rejects."""
    if bounds.high is None:
        return np.float32(np.inf)
    nearest = np.float32(bounds.high)
    return np.nextafter(nearest, np.float32(np.inf)) if float(nearest) <= bounds.high else nearest


def character_threshold(text: str) -> float:
    """The cosine of character n-grams from which a text is a near duplicate: few characters may differ."""
    return max(_CHARACTER_THRESHOLD, 1 - _DIFFERING_CHARACTERS / max(1, len(text)))
