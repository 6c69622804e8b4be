"""One chain of samplers per row, in C, in llama.cpp's usual order."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localsynth.backends.llamacpp.library import library
from localsynth.records import Sampling

PENALTY_WINDOW = 64  # tokens that a repetition penalty looks back, as llama.cpp has it
_RANDOM_SEED = 0xFFFFFFFF  # means "seed from the clock" to llama.cpp
_CANDIDATE = np.dtype([("id", "i4"), ("logit", "f4"), ("p", "f4")])

Logits = NDArray[np.float32]


class Sampler:
    """Draws the tokens of one row. `avoided` ids are impossible as the first token.

    The repetition penalty looks at sampled tokens only: the prompt's own words are no repetition.
    """

    def __init__(self, sampling: Sampling, seed: int, avoided: tuple[int, ...], n_vocab: int) -> None:
        self._llama: Any = library()
        self._sample = self._llama.llama_sampler_sample
        self._chain = self._llama.llama_sampler_chain_init(self._llama.llama_sampler_chain_default_params())
        self._first = bool(avoided)
        if avoided:
            self._add(self._bias(avoided, n_vocab))
        if sampling.repeat_penalty != 1.0:
            penalties = self._llama.llama_sampler_init_penalties
            self._add(penalties(n_vocab, PENALTY_WINDOW, sampling.repeat_penalty, 0.0, 0.0))
        if sampling.temperature <= 0:
            self._add(self._llama.llama_sampler_init_greedy())
        else:
            self._add_random(sampling, seed)

    def first(self, logits: Logits) -> int:
        """Draw the first token from the logits of the prompt's last one: float32, one per vocabulary entry."""
        candidates = np.zeros(len(logits), _CANDIDATE)
        candidates["id"] = np.arange(len(logits), dtype=np.int32)
        candidates["logit"] = logits
        array = self._llama.llama_token_data_array(
            data=candidates.ctypes.data_as(ctypes.POINTER(self._llama.llama_token_data)),
            size=len(logits),
            selected=-1,
            sorted=False,
        )
        self._llama.llama_sampler_apply(self._chain, ctypes.byref(array))
        token = int(array.data[array.selected].id)
        self._llama.llama_sampler_accept(self._chain, token)
        if self._first:
            self._first = False
            self._llama.llama_sampler_free(self._llama.llama_sampler_chain_remove(self._chain, 0))
        return token

    def next(self, context: int, row: int) -> int:
        """Draw a token from the logits that the last decode left for this row of its batch."""
        return int(self._sample(self._chain, context, row))

    def close(self) -> None:
        """Free the chain."""
        self._llama.llama_sampler_free(self._chain)

    def _add(self, sampler: Any) -> None:
        self._llama.llama_sampler_chain_add(self._chain, sampler)

    def _add_random(self, sampling: Sampling, seed: int) -> None:
        llama = self._llama
        if sampling.top_k > 0:
            self._add(llama.llama_sampler_init_top_k(sampling.top_k))
        if sampling.top_p < 1.0:
            self._add(llama.llama_sampler_init_top_p(sampling.top_p, 1))
        if sampling.min_p > 0.0:
            self._add(llama.llama_sampler_init_min_p(sampling.min_p, 1))
        if sampling.temperature != 1.0:
            self._add(llama.llama_sampler_init_temp(sampling.temperature))
        # The seed that llama.cpp would replace gives way to a fixed one.
        self._add(llama.llama_sampler_init_dist(seed if seed != _RANDOM_SEED else 0x9E3779B9))

    def _bias(self, avoided: tuple[int, ...], n_vocab: int) -> Any:
        kind = self._llama.llama_logit_bias
        biases = (kind * len(avoided))(*(kind(token, float("-inf")) for token in avoided))
        return self._llama.llama_sampler_init_logit_bias(n_vocab, len(avoided), biases)


def logprob(logits: Logits, token: int) -> float:
    """The natural log of the probability of a token, from the raw logits."""
    top = float(logits.max())
    return float(logits[token]) - top - float(np.log(np.exp(logits - top, dtype=np.float64).sum()))
