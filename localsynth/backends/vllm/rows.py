"""One request as vLLM is asked for it, and its completion as the tokens come in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from localsynth.backends.textstop import TextStream
from localsynth.errors import BackendError
from localsynth.records import Completion, FinishReason, Request, derive_seed

# What the GPU's sampler of vLLM has room for in one row (MAX_NUM_LOGIT_BIAS_TOKENS); more ends the whole engine.
MOST_BIASED = 1024
HOTTEST = 2.0


def sampling(request: Request, stops: Sequence[int], *, first: Sequence[int] = ()) -> dict[str, Any]:
    """The fields of vLLM's SamplingParams.

    `first` are ids that the first token must not be: then exactly one token is asked for, with a bias that makes them
    impossible, and `rest` asks for the others. The penalty of vLLM counts the prompt's tokens as repetitions too.
    """
    chosen = request.sampling
    if chosen.temperature > HOTTEST:
        raise BackendError(
            f"vLLM takes no temperature above {HOTTEST:g}, and the plan asks for {chosen.temperature:g}",
            "lower the temperature in the plan",
        )
    if len(first) > MOST_BIASED:
        raise BackendError(
            f"avoid_first rules out {len(first)} tokens, and vLLM takes {MOST_BIASED} at most",
            "name fewer or longer beginnings in avoid_first",
        )
    return {
        "temperature": chosen.temperature,
        "top_p": chosen.top_p,
        "top_k": chosen.top_k,
        "min_p": chosen.min_p,
        "repetition_penalty": chosen.repeat_penalty,
        "seed": request.seed,
        "max_tokens": 1 if first else chosen.max_tokens,
        # All ids that end the text are named, so that the model's own files add none behind our back.
        "ignore_eos": True,
        "stop_token_ids": list(stops),
        "logprobs": 0 if request.logprobs else None,
        "detokenize": False,
        "logit_bias": dict.fromkeys(first, float("-inf")) if first else None,
    }


def rest(fields: dict[str, Any], request: Request) -> dict[str, Any]:
    """The fields for the tokens behind the first, which has become a part of the prompt.

    The generator of a row starts from its seed, so the same seed again would draw the second token with the very random
    numbers of the first.
    """
    return fields | {
        "seed": derive_seed(request.seed, "rest"),
        "max_tokens": request.sampling.max_tokens - 1,
        "logit_bias": None,
    }


class Row:
    """A completion as it grows. What ends it is decided here, token by token, whatever the engine wrote further.

    `prompt` and `stops` are ids; `finish` is None until the row is whole.
    """

    def __init__(
        self, request: Request, prompt: Sequence[int], stops: Sequence[int], piece: Callable[[int], bytes]
    ) -> None:
        self.request, self.prompt, self.stops = request, prompt, stops
        self.finish: FinishReason | None = None
        self._piece = piece
        self._ends = frozenset(stops)
        self._stream = TextStream(request.stop)
        self._tokens = 0
        self._logprobs: list[float] = []
        self._started = monotonic()
        self._stopped_by: int | str | None = None

    def feed(self, ids: Sequence[int], logprobs: Sequence[float]) -> str:
        """Add tokens, and their logprobs where they were asked for; returns the text that has become safe."""
        safe: list[str] = []
        for at, token in enumerate(ids):
            if self.finish is not None:
                break
            self._tokens += 1
            self._logprobs.extend(_proper(logprobs[at : at + 1]))
            if token in self._ends:
                self._stopped_by, self.finish = token, "stop"
                safe.append(self._stream.finish())
                break
            safe.append(self._stream.feed(self._piece(token)))
            if self._stream.stopped_by is not None:
                self._stopped_by, self.finish = self._stream.stopped_by, "stop"
            elif self._tokens >= self.request.sampling.max_tokens:
                self.finish = "length"
                safe.append(self._stream.finish())
        return "".join(safe)

    def completion(self) -> Completion:
        """What came of it, once `finish` is set."""
        assert self.finish is not None
        return Completion(
            text=self._stream.text,
            finish_reason=self.finish,
            stopped_by=self._stopped_by,
            prompt_tokens=len(self.prompt),
            completion_tokens=self._tokens,
            duration=monotonic() - self._started,
            logprobs=tuple(self._logprobs) if self.request.logprobs and len(self._logprobs) == self._tokens else None,
        )


def _proper(logprobs: Sequence[float]) -> list[float]:
    """As JSON can hold them: rounding puts a certain token a hair above 0, an impossible one is -9999, NaN is none."""
    return [max(-9999.0, min(value, 0.0)) for value in logprobs if not math.isnan(value)]
