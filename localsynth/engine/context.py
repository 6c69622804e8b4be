"""What a method sees of one attempt at one sample: its own random choices, formats, and `generate` with retries."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from localsynth.chat import ChatFormat
from localsynth.config import Plan
from localsynth.engine.looping import generate_unlooped
from localsynth.engine.roles import Roles
from localsynth.engine.stats import Stats
from localsynth.errors import BackendError
from localsynth.events import Retried
from localsynth.methods.base import ModelRole
from localsynth.records import Completion, Request, derive_seed

RETRY_WAITS = (0.5, 2.0, 8.0, 30.0)


class LiveText:
    """The text of one request at a time, for whoever watches: the next one is taken when it is finished."""

    def __init__(self) -> None:
        self.text = ""
        self._owner: object | None = None

    def watch(self, owner: object) -> Callable[[str], None] | None:
        """A callback for new text if nothing is watched now."""
        if self._owner is not None:
            return None
        self._owner, self.text = owner, ""
        return self._add

    def leave(self, owner: object) -> None:
        """The request of `owner` is over."""
        if self._owner is owner:
            self._owner = None

    def _add(self, piece: str) -> None:
        self.text = (self.text + piece)[-2000:]


@dataclass(frozen=True, slots=True)
class Services:
    """What all contexts of a run share."""

    plan: Plan
    roles: Roles
    stats: Stats
    live: LiveText
    on_retry: Callable[[Retried], None]


class SampleContext:
    """The Context of methods.base for one attempt at one sample."""

    def __init__(self, services: Services, index: int, attempt: int) -> None:
        self.index, self.attempt, self.plan = index, attempt, services.plan
        self._services = services

    def rng(self, purpose: str) -> random.Random:
        """The sample's own generator for one purpose."""
        return random.Random(derive_seed(self.plan.seed, self.index, self.attempt, "choice", purpose))  # noqa: S311

    def seed(self, step: str) -> int:
        """The row seed of one step."""
        return derive_seed(self.plan.seed, self.index, self.attempt, step)

    def model(self, role: ModelRole) -> str:
        """The name of the model of a role."""
        return self._services.roles.model(role)

    def format(self, role: ModelRole, system: str | None) -> ChatFormat:
        """The chat format of that model with this system prompt."""
        return self._services.roles.format(role, system)

    def opening(self, system: str | None) -> str:
        """What all prompts of a conversation begin with; "" where two models write, or only one sees the steering."""
        return self._services.roles.opening(system)

    async def generate(self, role: ModelRole, request: Request) -> Completion:
        """One completion; transient failures are retried with growing waits, then raised."""
        backend, live = self._services.roles.backend(role), self._services.live
        for wait in (*RETRY_WAITS, None):
            try:
                completion = await generate_unlooped(backend, request, self._services.stats, live.watch(self))
            except BackendError as error:
                if not error.retryable or wait is None:
                    raise
                await self._pause(wait, error)
            else:
                self._services.stats.add_tokens(completion.completion_tokens)
                return completion
            finally:
                live.leave(self)
        raise AssertionError("the last wait is None")

    async def _pause(self, wait: float, error: BackendError) -> None:
        """Wait before the next try: what the server asked for at least, spread so that not all come back at once."""
        seconds = round(max(wait, error.retry_after or 0.0) * random.uniform(1.0, 1.5), 2)  # noqa: S311
        self._services.stats.retrying = f"trying again in {seconds:g} s: {error.message}"
        self._services.on_retry(Retried(self.index, error.message, seconds))
        await asyncio.sleep(seconds)
