"""Draws the tokens of one row on the device, in llama.cpp's order: penalty, top-k, top-p, min-p, temperature.

mlx-lm's samplers share one global generator, so that a row would depend on its neighbours; here every row has a key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from localsynth.records import Sampling

PENALTY_WINDOW = 64  # tokens that a repetition penalty looks back, as llama.cpp has it


class RowSampler:
    """The sampler of one row. `avoided` ids are impossible as the first token; `written` is what the row has already.

    Nothing is evaluated here: mlx-lm draws a token while the one before is still being computed. With `logprobs`, the
    raw log-probability of each drawn token is added to `drawn`, as an array of no dimension.
    """

    def __init__(
        self,
        mx: Any,
        sampling: Sampling,
        seed: int,
        avoided: Sequence[int] = (),
        written: Sequence[int] = (),
        *,
        logprobs: bool = False,
    ) -> None:
        self._mx, self._sampling = mx, sampling
        self._key = mx.random.key(seed)
        for _ in written:
            self._key = mx.random.split(self._key)[0]
        self._avoided = mx.array(list(avoided), mx.uint32) if avoided and not written else None
        self._recent = deque((mx.array([token], mx.uint32) for token in written), maxlen=PENALTY_WINDOW)
        self._raw: Any = None
        self.drawn: deque[Any] | None = deque() if logprobs else None

    @property
    def processors(self) -> list[Callable[[Any, Any], Any]]:
        """What mlx-lm applies to the raw logits: a penalty on normalised ones, which are all negative, is another."""
        return [self._penalised] if self._sampling.repeat_penalty != 1.0 else []

    def __call__(self, logits: Any) -> Any:
        """The next token, shape (1,), from logits of shape (1, vocabulary), normalised or not."""
        mx, sampling = self._mx, self._sampling
        row = logits[0].astype(mx.float32)
        raw = row if self._raw is None else self._raw
        if self._avoided is not None:
            row = mx.put_along_axis(row, self._avoided, mx.array(-mx.inf), axis=-1)
            self._avoided = None
        self._key, key = mx.random.split(self._key)
        if sampling.temperature <= 0:
            token = mx.argmax(row, axis=-1)
        elif sampling.top_k > 0 or sampling.top_p < 1.0 or sampling.min_p > 0.0:
            ids, kept = self._truncated(row)
            token = ids[mx.random.categorical(kept / sampling.temperature, key=key)]
        else:
            token = mx.random.categorical(row / sampling.temperature, key=key)
        if self.drawn is not None:
            self.drawn.append(raw[token] - mx.logsumexp(raw))
        token = token.astype(mx.uint32)[None]
        self._recent.append(token)
        return token

    def _penalised(self, _tokens: Any, logits: Any) -> Any:
        """Looks at sampled tokens only, as for llama.cpp: the prompt's own words are no repetition."""
        mx, penalty = self._mx, self._sampling.repeat_penalty
        self._raw = logits[0].astype(mx.float32)
        if not self._recent:
            return logits
        ids = mx.concatenate(list(self._recent))
        found = self._raw[ids]
        changed = mx.where(found > 0, found / penalty, found * penalty)
        return mx.put_along_axis(self._raw, ids, changed, axis=-1)[None]

    def _truncated(self, logits: Any) -> tuple[Any, Any]:
        """Ids in falling order and their logits, those that are cut off at minus infinity."""
        mx, sampling = self._mx, self._sampling
        ids = mx.argsort(-logits)
        if 0 < sampling.top_k < logits.shape[0]:
            ids = ids[: sampling.top_k]
        kept = logits[ids]
        weights = mx.softmax(kept)
        if sampling.top_p < 1.0:
            # The token that crosses the line is kept.
            kept = mx.where(mx.cumsum(weights) - weights < sampling.top_p, kept, -mx.inf)
        if sampling.min_p > 0.0:
            kept = mx.where(weights >= sampling.min_p * weights[0], kept, -mx.inf)
        return ids, kept
