"""Vectors for rows that have none: imported ones, rejected ones, those of runs without the gate's near duplicates."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from localsynth import catalog
from localsynth.engine.lock import hold, holder, presence
from localsynth.errors import MissingPackage, NotFound
from localsynth.filters.neighbours import UNKNOWN_LIMIT
from localsynth.records import Embedding
from localsynth.store.queries import Reader
from localsynth.store.store import Store
from localsynth.store.vectors import FIELD

if TYPE_CHECKING:
    from localsynth.embedding.encoders import CharNgramEncoder, SentenceEncoder

CHARACTERS: Final = "char-2-4"
_LOCK: Final = "embed.lock"
_BATCH: Final = 128  # rows of one transaction: what a kill can lose, two seconds of a small encoder's work


@dataclass(frozen=True, slots=True)
class EmbedProgress:
    """How far it is: `rows` got a vector by `encoder`, `by_characters` one by characters, since it cannot read them.

    `done` of `total` were looked at, in `seconds`; what can be read and what not is found out on the way.
    """

    encoder: str
    total: int
    done: int = 0
    rows: int = 0
    by_characters: int = 0
    seconds: float = 0.0

    @property
    def left(self) -> float | None:
        """Seconds still to go at the pace so far; None before the first rows."""
        return self.seconds / self.done * (self.total - self.done) if self.done else None


def embed(
    store: Path, *, encoder: str | None = None, run: str | None = None, told: Callable[[EmbedProgress], None]
) -> EmbedProgress:
    """Give every finished row of the store, or of one run, a vector of its first question where it has none.

    A text that the encoder cannot read, by the rule of the gate, gets one by character n-grams. Every batch is
    committed: the next call goes on where one was ended. `encoder`: a folder, a name of the catalogue, "" for the
    built-in one, None for that of the newest run. StoreBusy while another process embeds; ModelError, MissingPackage.
    """
    with (
        Store.open(store, create=False) as writer,  # first: it brings an older store up to date
        Reader.open(store) as reader,
        hold(store, "", "localsynth embed", _LOCK) as tell,
    ):
        of = reader.run(run).id if run else None
        sentences, characters = _encoders(default_encoder(reader) if encoder is None else encoder)
        name = sentences.name if sentences else CHARACTERS
        progress = EmbedProgress(name, reader.unembedded_count([name], of))
        last, begun, there = -1, time.monotonic(), presence(store)
        while True:
            tell({"encoder": name, "done": progress.done, "total": progress.total, "left": progress.left})
            told(progress)
            rows = reader.unembedded([name], of, after=last, limit=_BATCH)
            if not rows:
                return progress
            last = rows[-1][0]
            made = _embed(reader, rows, sentences, characters)
            there()
            writer.save(made)
            by_characters = sum(each.encoder != name for each in made)
            progress = EmbedProgress(
                name,
                max(progress.total, progress.done + len(rows)),
                progress.done + len(rows),
                progress.rows + len(made) - by_characters,
                progress.by_characters + by_characters,
                time.monotonic() - begun,
            )


def at_work(store: Path) -> dict[str, object] | None:
    """What the process that embeds this store says of itself (encoder, done, total, left, pid); None without one."""
    return holder(store, _LOCK)


def default_encoder(reader: Reader) -> str:
    """What the newest run's gate uses; "" is the built-in encoder."""
    return next((spec for run in reversed(reader.runs()) if (spec := _of_gate(run.plan)) is not None), "")


def encoder_called(reader: Reader, name: str) -> str | None:
    """What to give `embed` for the encoder that vectors are stored under; None where no folder is known for it."""
    if name == CHARACTERS:
        return name
    try:
        return catalog.load().find(name).id
    except NotFound:
        specs = (_of_gate(run.plan) for run in reversed(reader.runs()))
        return next((spec for spec in specs if spec and Path(spec).expanduser().resolve().name == name), None)


def _of_gate(plan: object) -> str | None:
    gate = plan.get("gate") if isinstance(plan, dict) else None
    spec = gate.get("encoder") if isinstance(gate, dict) else None
    return spec if isinstance(spec, str) else None


def _encoders(name: str) -> tuple[SentenceEncoder | None, CharNgramEncoder]:
    from localsynth.embedding.encoders import CharNgramEncoder, SentenceEncoder

    if name == CHARACTERS:
        return None, CharNgramEncoder()
    try:
        folder = catalog.encoder_path(name)
    except MissingPackage as error:
        raise MissingPackage(error.message, f"{error.hint}; --encoder {CHARACTERS} needs no model") from None
    card = catalog.load().get(name or catalog.STARTER_ENCODER)
    return SentenceEncoder(folder, card.id if card else ""), CharNgramEncoder()


def _embed(
    reader: Reader, rows: Sequence[tuple[int, str]], sentences: SentenceEncoder | None, characters: CharNgramEncoder
) -> list[Embedding]:
    unread = np.ones(len(rows), np.bool_)
    made: list[Embedding] = []
    if sentences is not None:
        coverage = sentences.coverage([text for _, text in rows])
        unread = (coverage.unknown > UNKNOWN_LIMIT) | coverage.truncated
        made += _vectors(sentences, [row for row, not_read in zip(rows, unread, strict=True) if not not_read])
    left = [row for row, not_read in zip(rows, unread, strict=True) if not_read]
    known = set(reader.vectors_of(CHARACTERS, [sample for sample, _ in left])[0].tolist())
    return made + _vectors(characters, [row for row in left if row[0] not in known])


def _vectors(encoder: SentenceEncoder | CharNgramEncoder, rows: Sequence[tuple[int, str]]) -> list[Embedding]:
    if not rows:
        return []
    vectors = encoder.encode([text for _, text in rows]).astype("<f2")
    return [
        Embedding(sample, FIELD, encoder.name, _digest(text), vector.tobytes())
        for (sample, text), vector in zip(rows, vectors, strict=True)
    ]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
