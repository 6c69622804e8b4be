"""What is sent: a request in the words of /v1/completions, and those that each kind of server adds to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localsynth.backends.openai.served import Kind, Served
from localsynth.records import Request, Sampling

# Beyond the oldest OpenAI interface; a strict server may refuse any of them.
EXTRAS = (
    "seed", "top_k", "min_p", "repetition_penalty", "repeat_penalty", "stop_token_ids", "add_special_tokens",
    "skip_special_tokens", "spaces_between_special_tokens", "return_token_ids", "logit_bias",
)  # fmt: skip
# What each kind calls the repetition penalty; of an unknown server it is not known.
PENALTIES: Mapping[Kind, tuple[str, ...]] = {
    "vllm": ("repetition_penalty",),
    "llama-server": ("repeat_penalty",),
    "server": ("repetition_penalty", "repeat_penalty"),
}
STREAM_INTERVAL = 8  # tokens in one part of vLLM's streams: writing a part for each costs its server more than a step
_NEVER = -100.0  # the lowest bias that every server takes; it leaves e**-100 of a token's probability


def completion_body(
    served: Served,
    prompt: str | list[int],
    request: Request,
    *,
    max_tokens: int,
    seed: int,
    stop_ids: Sequence[int],
    stop: Sequence[str],
    never: Sequence[int],
    shown: Sequence[str],
    stream: bool,
    refused: frozenset[str],
) -> dict[str, Any]:
    """The body of one request. Every sampling value is sent: servers have defaults of their own for what is not.

    `never`: ids that must not come. `shown`: control strings that llama-server, which hides them, is to write out.
    """
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": served.model,
        "prompt": prompt,
        "max_tokens": max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": seed,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "stream": stream,
    }
    body |= dict.fromkeys(PENALTIES[served.kind], sampling.repeat_penalty)
    if served.kind == "llama-server":
        body["preserved_tokens"] = list(shown)
    else:
        body |= {
            "stop_token_ids": list(stop_ids),
            "add_special_tokens": False,
            # Control tokens in the middle of a text must be seen by the gate; the stop token is left out all the same.
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
            "return_token_ids": True,
        }
    if stop:
        body["stop"] = list(stop)
    if request.logprobs:
        body["logprobs"] = 0 if served.kind == "vllm" else 1
    if never:
        body["logit_bias"] = _bias(served.kind, never)
    if stream:
        body["stream_options"] = {"include_usage": True}
        if served.kind == "vllm":
            body["stream_interval"] = STREAM_INTERVAL
    return {key: value for key, value in body.items() if key not in refused}


def probe_body(served: Served, prompt: str | list[int], refused: frozenset[str]) -> dict[str, Any]:
    """A request for one token that holds every parameter that later requests may hold."""
    request = Request("", Sampling(temperature=0.0, max_tokens=1), 0)
    return completion_body(
        served,
        prompt,
        request,
        max_tokens=1,
        seed=0,
        stop_ids=served.vocabulary.tokens.end_ids,
        stop=(),
        never=served.vocabulary.tokens.end_ids[:1],
        shown=(),
        stream=False,
        refused=refused,
    )


def _bias(kind: Kind, never: Sequence[int]) -> Any:
    if kind == "llama-server":
        return [[token, False] for token in never]
    return {str(token): _NEVER for token in never}
