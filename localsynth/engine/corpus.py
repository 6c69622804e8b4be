"""The corpus rules: no instruction is answered that says what an admitted one of this store says already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from localsynth.config import GatePlan
from localsynth.filters.duplicates import exact_duplicate, instruction_key
from localsynth.filters.findings import Finding, rejection
from localsynth.records import Embedding, Neighbour
from localsynth.store.queries import Reader
from localsynth.store.rows import InstructionKey
from localsynth.store.store import Row

_UNSIGNED = (1 << 64) - 1


@dataclass(slots=True)
class Decision:
    """What the corpus rules say about one instruction, and what the store keeps of it."""

    key: int
    findings: list[Finding] = field(default_factory=list)
    neighbour: Neighbour | None = None
    embedding: Embedding | None = None

    @property
    def passed(self) -> bool:
        """Whether it may be answered."""
        return rejection(self.findings) is None

    def rows(self, sample: int) -> list[Row]:
        """Scores always; the key and the vector, by which later ones are judged, only of what was admitted."""
        rows: list[Row] = [finding.score(sample, "instruction") for finding in self.findings]
        if self.neighbour is not None:
            rows.append(self.neighbour)
        if self.passed:
            rows.append(InstructionKey(sample, self.key))
            if self.embedding is not None:
                rows.append(self.embedding)
        return rows


class Corpus:
    """Exact and near duplicates against everything admitted so far. One thread at a time."""

    def __init__(self, keys: Iterable[tuple[int, int]], near: object = None, *, exact: bool = True) -> None:
        self._keys = {key: sample for sample, key in keys}
        self._near, self._exact = near, exact

    def decide(self, ids: Sequence[int], texts: Sequence[str]) -> list[Decision]:
        """Judge a wave in the order given; an admitted text counts for the ones after it."""
        decisions = [Decision(instruction_key(text) & _UNSIGNED) for text in texts]
        for sample, decision in zip(ids, decisions, strict=True):
            other = self._keys.get(decision.key)
            if other is not None and other != sample and self._exact:
                decision.findings.append(exact_duplicate(other))
            else:
                self._keys[decision.key] = sample
        return decisions


def open_corpus(reader: Reader, gate: GatePlan) -> Corpus:
    """The corpus rules of a plan, knowing everything that this store admitted so far."""
    return Corpus(reader.instruction_keys(), exact=gate.exact_duplicates)
