"""The method seam: a way of getting prompts and a way of getting answers, chosen apart and composed freely.

Methods are straight-line coroutines. They know no backend, no store and no screen: all they need is a Context.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from localsynth.chat import ChatFormat
from localsynth.config import Plan
from localsynth.records import Completion, Request, Role, Sampling

ModelRole = Literal["ask", "answer"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn as it stands in a prompt and in the data set."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Written:
    """A text with where it came from; the last four are None for a text that no model of this run wrote.

    `text` is the turn itself, `thinking` the reasoning that stood before it.
    """

    text: str
    thinking: str | None = None
    completion: Completion | None = None
    sampling: Sampling | None = None
    seed: int | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A proposed user turn. `messages` is the conversation before it, without a system turn.

    `system` is the system prompt that steered it, None for the template's default; `detail` goes into the store.
    """

    messages: tuple[Message, ...]
    written: Written
    operation: str
    system: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)

    def with_question(self, text: str) -> tuple[Message, ...]:
        """The conversation with the cleaned user turn at its end."""
        return (*self.messages, Message("user", text))


class Context(Protocol):
    """What the engine gives a method for one attempt at one sample."""

    index: int
    attempt: int
    plan: Plan

    def rng(self, purpose: str) -> random.Random:
        """A generator of this sample's own choices: the same for the same run seed, index, attempt and purpose."""
        ...

    def seed(self, step: str) -> int:
        """The row seed of one generation step."""
        ...

    def model(self, role: ModelRole) -> str:
        """The name of the model that plays a role."""
        ...

    def format(self, role: ModelRole, system: str | None) -> ChatFormat:
        """The chat format of that model, with a system prompt or (None) the template's own default."""
        ...

    def opening(self, system: str | None) -> str:
        """What all prompts of a conversation begin with; "" where two models write, or only one sees the steering."""
        ...

    async def generate(self, role: ModelRole, request: Request) -> Completion:
        """One completion, retried while that makes sense; raises BackendError."""
        ...


class Exhausted(Exception):
    """The method has no prompt for this index, nor for any later one."""


class PromptMethod(Protocol):
    """A way of getting prompts."""

    async def propose(self, ctx: Context) -> Draft: ...


@runtime_checkable
class FollowUps(Protocol):
    """A prompt method that can also write the user's later turns. `attempt` counts from 0 when one is refused."""

    async def follow_up(self, draft: Draft, messages: Sequence[Message], attempt: int, ctx: Context) -> Written: ...


class AnswerMethod(Protocol):
    """A way of getting answers: every candidate that was written, in the order of writing."""

    async def answer(self, draft: Draft, messages: Sequence[Message], ctx: Context) -> list[Written]: ...
