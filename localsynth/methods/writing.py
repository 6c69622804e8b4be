"""One turn, written by a model: prompt, request, and reasoning kept apart from the text."""

from __future__ import annotations

from collections.abc import Sequence

from localsynth.chat import ChatFormat
from localsynth.config import WeightedSampling
from localsynth.methods.base import Context, Message, ModelRole, Written
from localsynth.records import Request, Sampling


def pick_sampling(entries: Sequence[WeightedSampling], ctx: Context, purpose: str) -> Sampling:
    """One entry of a weighted mix, by the sample's own choice for this purpose."""
    if len(entries) == 1:
        return entries[0].plain()
    return ctx.rng(purpose).choices(entries, weights=[entry.weight for entry in entries])[0].plain()


def prompt_for(fmt: ChatFormat, messages: Sequence[Message], writer: ModelRole) -> str:
    """The raw prompt from which the model writes the next user turn ("ask") or the next answer ("answer")."""
    turns = [(message.role, message.content) for message in messages]
    return fmt.ask_prompt(turns) if writer == "ask" else fmt.answer_prompt(turns)


def turn_request(
    fmt: ChatFormat,
    messages: Sequence[Message],
    writer: ModelRole,
    *,
    sampling: Sampling,
    seed: int,
    opening: str = "",
    continued: bool = False,
) -> Request:
    """The request for the next turn after `messages`. `opening` counts where this prompt goes on from it."""
    prompt = prompt_for(fmt, messages, writer)
    together = bool(opening) and prompt.startswith(opening)
    return Request(
        prompt=prompt,
        sampling=sampling,
        seed=seed,
        stop_ids=fmt.stop_ids,
        stop=fmt.stop_texts,
        opening=opening if together and messages else "",
        continued=continued and together,
    )


async def write(ctx: Context, role: ModelRole, fmt: ChatFormat, request: Request) -> Written:
    """Let the model of `role` write a turn."""
    completion = await ctx.generate(role, request)
    thinking, text = fmt.split_thinking(completion.text) if role == "answer" else (None, completion.text)
    return Written(text, thinking, completion, request.sampling, request.seed, ctx.model(role))
