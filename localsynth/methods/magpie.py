"""Magpie (arXiv 2406.08464): given only its own pre-query template, an aligned model writes the user's turn."""

from __future__ import annotations

from collections.abc import Sequence

from localsynth.config import SystemPrompt
from localsynth.methods.base import Context, Draft, Message, Written
from localsynth.methods.writing import pick_sampling, turn_request, write

_DEFAULT = SystemPrompt()


class Magpie:
    """Prompts from the pre-query template, steered by the plan's weighted system prompts where it has any."""

    async def propose(self, ctx: Context) -> Draft:
        """Write the first user turn of a sample."""
        number = self._system(ctx)
        choice = ctx.plan.systems[number] if number is not None else _DEFAULT
        fmt = ctx.format("ask", choice.text or None)
        sampling = pick_sampling(ctx.plan.ask.sampling, ctx, "ask")
        request = turn_request(
            fmt,
            (),
            "ask",
            sampling=sampling,
            seed=ctx.seed("user/0"),
            opening=ctx.opening(choice.text or None),
            continued=not ctx.plan.instructions_only,
        )
        written = await write(ctx, "ask", fmt, request)
        detail: dict[str, object] = {} if number is None else {"system": number}
        if choice.topic:
            detail["topic"] = choice.topic
        return Draft((), written, "magpie", choice.text or None, detail)

    async def follow_up(self, draft: Draft, messages: Sequence[Message], attempt: int, ctx: Context) -> Written:
        """Write the next user turn of a conversation that ends with an answer."""
        step = f"{len(messages)}/{attempt}"
        sampling = pick_sampling(ctx.plan.ask.sampling, ctx, f"ask/{step}")
        fmt = ctx.format("ask", draft.system)
        request = turn_request(
            fmt,
            messages,
            "ask",
            sampling=sampling,
            seed=ctx.seed(f"user/{step}"),
            opening=ctx.opening(draft.system),
            continued=True,
        )
        return await write(ctx, "ask", fmt, request)

    def _system(self, ctx: Context) -> int | None:
        """The number of this sample's system prompt in the plan."""
        weights = [system.weight for system in ctx.plan.systems]
        return ctx.rng("system").choices(range(len(weights)), weights)[0] if weights else None
