"""By what the points of a map are told apart: a class for each point, with a name and a letter for each class.

Runs on worker threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from localsynth.embedding.projection import spread
from localsynth.records import sample_id, sample_place
from localsynth.store import Reader

KINDS: Final = ("", "run", "topic", "verdict", "score")
MOST: Final = 8  # classes; what is rarer is "other"
LETTERS: Final = "ABCDEFGH"
_ASKED: Final = 300  # points that are asked which scores there are


@dataclass(frozen=True, slots=True)
class Colouring:
    """`codes` [n]: the class of each point, -1 for none; `names` and `counts` of the classes, `what` they are of."""

    what: str
    names: tuple[str, ...]
    codes: NDArray[np.int32]
    counts: tuple[int, ...]


def colour(store: Path, kind: str, score: str, ids: NDArray[np.int64]) -> Colouring:
    """Classes of these points, the most frequent first, or by rising value."""
    order = np.argsort(ids)
    with Reader.open(store) as reader:
        if kind == "score":
            return _score(score, reader.score_values(score, ids[order]), order)
        if kind == "run":
            groups = {sample_place(sample_id(row.id, 0))[0]: f"run {row.number}" for row in reader.runs()}
            found, codes = np.unique(ids >> 36, return_inverse=True)
            return _frequent(kind, [groups.get(int(group), "?") for group in found], codes.astype(np.int32))
        names, sorted_codes = reader.facet("topic" if kind == "topic" else "verdict", ids[order])
    codes = np.empty(len(ids), np.int32)
    codes[order] = sorted_codes
    return _frequent(kind, names, codes)


def scores_of(store: Path, ids: NDArray[np.int64]) -> list[str]:
    """The scores by which these points can be coloured."""
    with Reader.open(store) as reader:
        return reader.score_names(spread(ids, _ASKED).tolist())


def _frequent(what: str, names: list[str], codes: NDArray[np.int32]) -> Colouring:
    """The most frequent classes, and the rest as one."""
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    ranked = sorted(range(len(names)), key=lambda code: (-int(counts[code]), names[code]))
    kept = ranked if len(ranked) <= MOST else ranked[: MOST - 1]
    new = np.full(len(names) + 1, len(kept), np.int32)  # the last one is for -1
    new[kept] = np.arange(len(kept), dtype=np.int32)
    new[-1] = -1
    shown = [names[code] for code in kept] + ["other"] * (len(kept) < len(ranked))
    found = new[codes]
    tally = np.bincount(found[found >= 0], minlength=len(shown))
    return Colouring(what, tuple(shown), found, tuple(tally.tolist()))


def _score(name: str, values: NDArray[np.float32], order: NDArray[np.int64]) -> Colouring:
    """Quarters of the rows by their value; fewer classes where many rows have the same one."""
    codes = np.full(len(values), -1, np.int32)
    known = np.isfinite(values)
    names: list[str] = []
    if known.any():
        limits = np.unique(np.quantile(values[known], (0.25, 0.5, 0.75), method="higher"))
        sorted_codes = np.full(len(values), -1, np.int32)
        sorted_codes[known] = np.searchsorted(limits, values[known], side="left")
        codes[order] = sorted_codes
        names = [f"up to {limit:.4g}" for limit in limits.tolist()]
        names.append(f"over {limits[-1]:.4g}")
    tally = np.bincount(codes[codes >= 0], minlength=len(names)).tolist()
    while tally and not tally[-1]:
        tally.pop()
    return Colouring(name or "score", tuple(names[: len(tally)]), codes, tuple(tally))
