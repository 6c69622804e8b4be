"""Draws the tokens of one row from its logits, in llama.cpp's order: penalty, top-k, top-p, min-p, temperature.

llama.cpp's own chain hands the whole vocabulary from sampler to sampler as structures: with 49,152 tokens and
temperature alone that took 0.37 ms a token, an eighth of a step of the starter model; vector operations take a fifth.
"""

from __future__ import annotations

from collections import deque
from random import Random

import numpy as np
from numpy.typing import NDArray

from localsynth.errors import BackendError
from localsynth.records import Sampling

PENALTY_WINDOW = 64  # tokens that a repetition penalty looks back, as llama.cpp has it
_NEAR = 12.0  # nats below the top within which truncation mostly finds all it keeps
_BLOCK = 256

Logits = NDArray[np.float32]
Ids = NDArray[np.intp]


class Sampler:
    """The sampler of one row, with its own random numbers. `avoided` ids are impossible as the first token.

    The repetition penalty looks at sampled tokens only: the prompt's own words are no repetition.
    """

    def __init__(self, sampling: Sampling, seed: int, avoided: tuple[int, ...]) -> None:
        self._sampling = sampling
        self._random = Random(seed).random  # noqa: S311 - nothing secret
        self._avoided = list(avoided)
        self._recent: deque[int] | None = deque(maxlen=PENALTY_WINDOW) if sampling.repeat_penalty != 1.0 else None
        self._truncates = sampling.top_k > 0 or sampling.top_p < 1.0 or sampling.min_p > 0.0

    def draw(self, logits: Logits) -> int:
        """The next token, from float32 logits, one per vocabulary entry. BackendError when they are no numbers."""
        logits = self._penalised(logits)
        top = logits.max()
        if not np.isfinite(top):
            raise BackendError("the model computed no probabilities", "the file may be damaged: download it again")
        if self._sampling.temperature <= 0:
            token = int(logits.argmax())
        elif self._truncates:
            ids = _truncate(logits, top, self._sampling)
            token = int(ids[self._pick(np.exp((logits[ids] - top) / np.float32(self._sampling.temperature)))])
        else:
            scaled = logits - top
            if self._sampling.temperature != 1.0:
                scaled /= np.float32(self._sampling.temperature)
            token = self._pick(np.exp(scaled, out=scaled))
        if self._recent is not None:
            self._recent.append(token)
        return token

    def _penalised(self, logits: Logits) -> Logits:
        if not self._avoided and not self._recent:
            return logits
        logits = logits.copy()
        if self._recent:
            ids = list(set(self._recent))
            found, penalty = logits[ids], np.float32(self._sampling.repeat_penalty)
            logits[ids] = np.where(found > 0, found / penalty, found * penalty)
        logits[self._avoided] = -np.inf
        self._avoided = []
        return logits

    def _pick(self, weights: Logits) -> int:
        """An index with probability in proportion to its weight: first its block, then its place there."""
        whole = len(weights) // _BLOCK * _BLOCK
        sums = weights[:whole].reshape(-1, _BLOCK).sum(axis=1, dtype=np.float32)
        ends = np.cumsum(np.append(sums, weights[whole:].sum(dtype=np.float32)), dtype=np.float64)
        point = self._random() * ends[-1]
        block = min(int(np.searchsorted(ends, point, side="right")), len(ends) - 1)
        inside = weights[block * _BLOCK : (block + 1) * _BLOCK]
        point -= ends[block - 1] if block else 0.0
        place = int(np.searchsorted(np.cumsum(inside, dtype=np.float64), point, side="right"))
        # Rounding may point behind the last weight of a block, and never at an impossible token.
        if place >= len(inside) or inside[place] == 0:
            place = int(inside.argmax())
        return block * _BLOCK + place


def _truncate(logits: Logits, top: np.float32, sampling: Sampling) -> Ids:
    """The ids that top-k, then top-p, then min-p leave, the likeliest first."""
    for near in (_NEAR, np.inf):
        ids = np.flatnonzero(logits >= top - near)
        ids = ids[np.argsort(-logits[ids], kind="stable")]
        if sampling.top_k > 0:
            if len(ids) < sampling.top_k and near == _NEAR:
                continue
            ids = ids[: sampling.top_k]
        weights = np.exp(logits[ids] - top)
        if sampling.top_p < 1.0:
            everything = weights if sampling.top_k > 0 else np.exp(logits - top)
            reach = np.searchsorted(np.cumsum(weights), sampling.top_p * everything.sum()) + 1
            if reach > len(ids) and near == _NEAR:
                continue
            ids, weights = ids[:reach], weights[:reach]
        if sampling.min_p > 0.0:
            if sampling.min_p < np.exp(-_NEAR) and near == _NEAR:
                continue
            ids = ids[: max(1, int((weights >= sampling.min_p).sum()))]
        break
    return ids


def logprob(logits: Logits, token: int) -> float:
    """The natural log of the probability of a token, from the raw logits."""
    top = logits.max()
    return float(logits[token] - top) - float(np.log(np.exp(logits - top).sum(dtype=np.float64)))
