"""The nouns that all rooms share: frozen, slotted, free of behaviour and of imports."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "loop"]
SampleState = Literal["asked", "ready", "done", "failed"]
RunState = Literal["created", "running", "paused", "stopped", "finished", "failed"]

_INDEX_BITS, _ATTEMPT_BITS, _RUN_BITS = 32, 4, 27
LAST_ATTEMPT = (1 << _ATTEMPT_BITS) - 1


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens of one step are drawn. `top_k=0`, `min_p=0`, `repeat_penalty=1` mean off; temperature 0 is greedy.

    `avoid_first`: the first token is never one whose text, without leading blanks, starts with one of these.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    max_tokens: int = 512
    avoid_first: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One raw completion. The prompt holds every control string and the one BOS already: backends add nothing.

    `seed` is 0 to 2**32-1. Generation ends at a token in `stop_ids`, or before the first text in `stop`; neither the
    token nor the text is part of the completion.

    `opening`: the prompt that the conversation began with, where this model wrote what follows it; `continued`: another
    request will take this one's text up. A backend may then keep what it computed; a row is the same whether it did.
    """

    prompt: str
    sampling: Sampling
    seed: int
    stop_ids: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    opening: str = ""
    continued: bool = False


@dataclass(frozen=True, slots=True)
class Completion:
    """What came back. `stopped_by`: the id or text that ended it, None when `finish_reason` is not "stop".

    "loop" is the engine's word, no backend's: it cut a text that repeated itself, and knows its tokens only roughly.

    `completion_tokens` counts the sampled tokens, the stop token included. `logprobs`: natural log, from the raw
    distribution (before temperature and truncation), one per sampled token; None when not asked for. Durations are
    seconds and include the time spent waiting for a slot.
    """

    text: str
    finish_reason: FinishReason
    stopped_by: int | str | None
    prompt_tokens: int
    completion_tokens: int
    duration: float
    logprobs: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """A model's special tokens, as its own files declare them.

    `control` maps the text of every control token to its id; `end_ids` are the ids that end a turn or a text (EOG).
    """

    bos: str = ""
    eos: str = ""
    add_bos: bool = False
    control: Mapping[str, int] = field(default_factory=dict)
    end_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One attempt at one row. `state` is only where the work stands; whether it is kept follows from its scores.

    asked: the instruction is in; ready: it passed the gate and waits for its answer; done: nothing is left to do;
    failed: an error ended it. Times are UTC, ISO 8601. `detail`: what the method chose (topic, system prompt, ...).
    """

    run: str
    index: int
    attempt: int = 0
    state: SampleState = "asked"
    operation: str = ""
    parent: int | None = None
    error: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)

    @property
    def id(self) -> int:
        """The row id, the same on every machine."""
        return sample_id(self.run, self.index, self.attempt)


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a sample. `raw` is the model's own text; `rules` are the ids of the rules that changed it.

    `thinking` is the reasoning a model wrote apart from its answer. `duration` is seconds. Position 0 is the system
    turn where there is one, else the first user turn.
    """

    sample: int
    position: int
    role: Role
    content: str
    raw: str
    rules: tuple[str, ...] = ()
    thinking: str | None = None
    model: str | None = None
    sampling: Sampling | None = None
    finish_reason: FinishReason | None = None
    seed: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    logprob: float | None = None
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """One filter's word on one sample. `passed` None only informs; False rejects. `detail` keeps the evidence."""

    sample: int
    name: str
    version: int
    value: float | None
    passed: bool | None
    reason: str = ""
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a rule itself had said where a threshold overruled it: the score as it was."""

    sample: int
    name: str
    version: int
    passed: bool | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The nearest sample by one encoder: cosine similarity, so that a threshold moves without embedding again."""

    sample: int
    neighbour: int
    encoder: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Embedding:
    """A unit vector of one field, float16 little-endian bytes. `content_hash` says for which text it was made."""

    sample: int
    field: str
    encoder: str
    content_hash: str
    vector: bytes


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer that was written for a sample; what is not chosen is kept. `index` counts within model and purpose."""

    sample: int
    model: str
    index: int
    purpose: Literal["answer", "base", "opponent", "rewrite"]
    text: str
    tokens: int | None = None
    chosen: bool = False
    checks: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """A preference row: `chosen` is better than `rejected` by `margin`, said by `source`."""

    sample: int
    chosen: str
    rejected: str
    margin: float | None
    source: str


@dataclass(frozen=True, slots=True)
class Review:
    """A person's verdict; the latest one of a sample wins whole. `edits` maps turn position to the new content.

    Verdict "undecided" takes earlier ones back. `batch` is the id of the bulk action that this is part of.
    """

    sample: int
    verdict: Literal["accept", "reject", "undecided"]
    note: str | None = None
    edits: Mapping[int, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    batch: str | None = None


def sample_id(run: str, index: int, attempt: int = 0) -> int:
    """The 63-bit id of a sample: run hash, index, attempt; rows of one run lie together in the file's order."""
    if not (0 <= index < 1 << _INDEX_BITS and 0 <= attempt < 1 << _ATTEMPT_BITS):
        raise ValueError(f"sample {index}.{attempt} is out of range")
    return (_group(run) << (_INDEX_BITS + _ATTEMPT_BITS)) | (index << _ATTEMPT_BITS) | attempt


def sample_place(sample: int) -> tuple[int, int, int]:
    """The inverse of `sample_id`: (a number that all samples of the run share, index, attempt)."""
    rest = sample & ((1 << (_INDEX_BITS + _ATTEMPT_BITS)) - 1)
    return sample >> (_INDEX_BITS + _ATTEMPT_BITS), rest >> _ATTEMPT_BITS, rest & ((1 << _ATTEMPT_BITS) - 1)


@lru_cache(maxsize=64)
def _group(run: str) -> int:
    digest = hashlib.blake2b(run.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") & ((1 << _RUN_BITS) - 1)


def derive_seed(*parts: int | str) -> int:
    """A 32-bit seed from its parts, such as (run seed, index, attempt, turn); stable across versions and machines."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")
