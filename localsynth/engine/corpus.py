"""The corpus rules: no instruction is answered that says what an admitted one of this store says already."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from localsynth import catalog
from localsynth.config import GatePlan
from localsynth.engine.bounds import Bounds
from localsynth.errors import MissingPackage
from localsynth.filters.duplicates import exact_duplicate, instruction_key
from localsynth.filters.findings import Finding, rejection
from localsynth.filters.neighbours import Judged, NearDuplicates
from localsynth.records import Embedding, Neighbour, sample_id, sample_place
from localsynth.store.queries import Reader
from localsynth.store.rows import InstructionKey
from localsynth.store.store import Row

if TYPE_CHECKING:
    from localsynth.embedding.encoders import SentenceEncoder

_FIELD = "instruction"
_UNSIGNED = (1 << 64) - 1


class SharedKeys(Protocol):
    """What shards of one job, at work at the same time, tell each other."""

    def claim(self, samples: Sequence[int], texts: Sequence[str]) -> list[Finding | None]:
        """For each instruction, the finding where another shard was first to admit it; else it is now this one's."""
        ...


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
        rows: list[Row] = [row for finding in self.findings for row in finding.rows(sample, _FIELD)]
        if self.neighbour is not None:
            rows.append(self.neighbour)
        if self.passed:
            rows.append(InstructionKey(sample, self.key))
            if self.embedding is not None:
                rows.append(self.embedding)
        return rows


class Corpus:
    """Exact and near duplicates against everything that this store admitted, and `known`, another store, with it.

    One thread at a time. `shared` is asked last, about what passed here. `bounds`: thresholds that may be moved.

    The encoder is loaded at the first decision, while the model writes on.
    """

    def __init__(
        self,
        store: Path,
        gate: GatePlan,
        known: Path | None = None,
        shared: SharedKeys | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self._shared, self._bounds = shared, bounds or Bounds()
        self._stores, self._gate = {store: "", **({known: " at home"} if known else {})}, gate
        self._keys: dict[int, int] | None = None
        self._names: dict[int, tuple[int, str]] = {}
        self._near: NearDuplicates | None = None

    def decide(self, ids: Sequence[int], texts: Sequence[str]) -> list[Decision]:
        """Judge a wave in the order given; an admitted text counts for the ones after it."""
        keys = self._open()
        decisions = [Decision(instruction_key(text) & _UNSIGNED) for text in texts]
        fresh: list[int] = []
        for row, (sample, decision) in enumerate(zip(ids, decisions, strict=True)):
            other = keys.setdefault(decision.key, sample)
            if other != sample and self._gate.exact_duplicates:
                decision.findings.append(exact_duplicate(self._name(other)))
            else:
                fresh.append(row)
        if self._near is not None and fresh:
            self._near.bounds = self._bounds.similarity
            judged = self._near.admit([ids[row] for row in fresh], [texts[row] for row in fresh])
            for row, found in zip(fresh, judged, strict=True):
                _add(decisions[row], ids[row], texts[row], found)
        passed = [row for row, decision in enumerate(decisions) if decision.passed]
        if self._shared is not None and self._gate.exact_duplicates and passed:
            claimed = self._shared.claim([ids[row] for row in passed], [texts[row] for row in passed])
            for row, finding in zip(passed, claimed, strict=True):
                decisions[row].findings += [finding] if finding else []
        return decisions

    def _open(self) -> dict[int, int]:
        if self._keys is None:
            self._keys = {}
            if self._gate.near_duplicates:
                self._near = _near_duplicates(self._gate, self._name)
            for store, where in self._stores.items():
                with Reader.open(store) as reader:
                    self._keys |= {key: sample for sample, key in reader.instruction_keys()}
                    for row in reader.runs():
                        self._names[sample_place(sample_id(row.id, 0))[0]] = row.number, where
                    if self._near is not None:
                        _restore(self._near, reader)
        return self._keys

    def _name(self, sample: int) -> str:
        """What `localsynth show` takes for it."""
        group, index, _ = sample_place(sample)
        number, where = self._names[group]
        return f"{number}:{index}{where}"


def _near_duplicates(gate: GatePlan, name: Callable[[int], str]) -> NearDuplicates:
    from localsynth.embedding.encoders import CharNgramEncoder
    from localsynth.embedding.index import NearestIndex

    sentences = _sentence_encoder(gate.encoder)
    characters = CharNgramEncoder()
    return NearDuplicates(
        (sentences, NearestIndex(sentences.dim)) if sentences else None,
        (characters, NearestIndex(characters.dim)),
        gate.similarity,
        name,
    )


def _restore(near: NearDuplicates, reader: Reader) -> None:
    for encoder in near.encoders:
        ids, vectors = reader.embeddings(encoder, _FIELD)
        if len(ids):
            near.restore(encoder, ids.tolist(), vectors.astype(np.float32))


def _sentence_encoder(name: str) -> SentenceEncoder | None:
    """The plan's encoder. Without the starter's, and with none named, character n-grams decide: every row says so."""
    from localsynth.embedding.encoders import SentenceEncoder

    try:
        folder = catalog.encoder_path(name)
    except MissingPackage:
        return None
    card = catalog.load().get(name or catalog.STARTER_ENCODER)
    return SentenceEncoder(folder, card.id if card else "")


def _add(decision: Decision, sample: int, text: str, found: Judged) -> None:
    decision.findings.append(found.finding)
    decision.neighbour = found.neighbour
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    decision.embedding = Embedding(sample, _FIELD, found.encoder, digest, found.vector.astype("<f2").tobytes())
