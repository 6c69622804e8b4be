"""Which rows to review next: learns from the decisions of a run and ranks a bounded part of the rest.

A million rows would take half a minute to read and the cores belong to the run, so at most POOL undecided rows are
looked at, spread evenly over the run and others each time: among so many the best few hundred are as good.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from localsynth.errors import LocalsynthError
from localsynth.records import Score
from localsynth.store.queries import Reader
from localsynth.store.ranking import ORDER, replace_order

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from localsynth.filters.agreement import Agreement
    from localsynth.filters.classifier import Features
    from localsynth.filters.shortlist import Suggestion

ENOUGH: Final = 50  # decisions
EACH: Final = 5  # of them accepted, and rejected: one for each part of the cross-validation
EVERY: Final = 25  # further decisions, after which it is worth learning again
POOL: Final = 50_000
_LATEST: Final = 1000  # decisions learned from; learning takes a second with so many
_ROOM, _BEST, _CHUNK = 3000, 500, 1024


@dataclass(frozen=True, slots=True)
class Ranking:
    """The rows of a run to review next, the most useful first, and how far its classifier can be trusted.

    `looked_at`: how many undecided rows it chose from.
    """

    run: str
    agreement: Agreement
    suggestions: tuple[Suggestion, ...]
    looked_at: int


def rank(store: Path, run: str, cancelled: Callable[[], bool]) -> Ranking | None:
    """Learn and rank; None when it was cancelled. LocalsynthError where there are too few decisions."""
    from localsynth.filters.agreement import agreement
    from localsynth.filters.classifier import held_out, train
    from localsynth.filters.shortlist import Shortlist

    with Reader.open(store) as reader:
        decided, accepted = reader.decisions(run, _LATEST)
        refuse_few(int(accepted.sum()), int((~accepted).sum()))
        source = _Source(reader, decided)
        known = source.features(decided)
        trust = agreement(held_out(known, accepted), accepted)
        if cancelled():
            return None
        model, shortlist = train(known, accepted), Shortlist(_ROOM)
        pool = reader.undecided(run, POOL, len(decided) // EVERY)
        for start in range(0, len(pool), _CHUNK):
            if cancelled():
                return None
            ids = pool[start : start + _CHUNK]
            columns = model.scaling.columns(source.features(ids))
            shortlist.add(ids, model.probabilities(columns), columns)
    return Ranking(run, trust, tuple(shortlist.best(_BEST)), len(pool))


def refuse_few(accepted: int, rejected: int) -> None:
    """LocalsynthError where a classifier could learn nothing yet."""
    total = accepted + rejected
    if total < ENOUGH:
        raise LocalsynthError(
            f"{total} decisions so far: ranking needs {ENOUGH}", "accept or reject some more rows one by one"
        )
    if min(accepted, rejected) < EACH:
        few, count = ("rejected", rejected) if rejected < accepted else ("accepted", accepted)
        raise LocalsynthError(
            f"{count} of {total} rows {few} so far: ranking needs {EACH} of each kind", f"it learns from {few} rows too"
        )


def keep_order(store: Path, ranking: Ranking) -> None:
    """Write the ranking where lists can be put in its order: the score ORDER, in place of the one before."""
    replace_order(
        store,
        ranking.run,
        [
            Score(each.sample, ORDER, 1, each.usefulness, None, f"probability of accept {each.probability:.2f}")
            for each in ranking.suggestions
        ],
    )


class _Source:
    """Reads features: the scores and the encoder that the decided rows have."""

    def __init__(self, reader: Reader, decided: NDArray[np.int64]) -> None:
        self._reader = reader
        self._names = reader.judged_by(decided)
        self._encoder = reader.encoder_of(decided)
        vectors = reader.vectors_of(self._encoder, decided.tolist())[1] if self._encoder else None
        self._width = 0 if vectors is None else vectors.shape[1]

    def features(self, samples: NDArray[np.int64]) -> Features:
        """In the order of `samples`."""
        import numpy as np

        from localsynth.filters.classifier import Features

        vectors = np.full((len(samples), self._width), np.nan, dtype=np.float32)
        if self._encoder:
            ids, found = self._reader.vectors_of(self._encoder, samples.tolist())
            if found.shape[1] == self._width:
                order = np.argsort(samples)
                vectors[order[np.searchsorted(samples, ids, sorter=order)]] = found
        return Features(vectors, self._reader.score_table(samples, self._names))
