"""The backend seam: raw completions, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from localsynth.records import Completion, Request, SpecialTokens


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """What a backend is, and what it can do, as facts.

    `context`: tokens of prompt plus completion that one request may use. `max_concurrency`: requests that run at the
    same time; more are queued inside. `sha256`: `weights.digest` of what is really loaded, where it is known.
    `template`: the model's own chat template; None for a base model or a server that does not tell.
    """

    name: str
    version: str
    model: str
    max_concurrency: int
    context: int
    revision: str | None = None
    file: str | None = None
    sha256: str | None = None
    quantisation: str | None = None
    template: str | None = None
    tokens: SpecialTokens = field(default_factory=SpecialTokens)
    seeds: bool = True
    logprobs: bool = False
    stop_token_ids: bool = True
    json_schema: bool = False
    exact_replay: bool = False


class Backend(Protocol):
    """Anything that completes raw prompts. `info` is whole once `open` has returned.

    Cancelling the task that awaits `generate` frees its slot. Only BackendError leaves `generate`; ModelError or
    BackendError leaves `open`. `aclose` may be called twice.
    """

    @property
    def info(self) -> BackendInfo: ...

    async def open(self) -> None: ...

    async def generate(self, request: Request, on_text: Callable[[str], None] | None = None) -> Completion: ...

    async def aclose(self) -> None: ...
