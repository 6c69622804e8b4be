"""The plain answer: the model is given its own template and the conversation, and writes once."""

from __future__ import annotations

from collections.abc import Sequence

from localsynth.methods.base import Context, Draft, Message, Written
from localsynth.methods.writing import pick_sampling, turn_request, write


class Plain:
    """One answer per conversation.

    The steering system prompt shapes the questions only, as in the paper, unless the plan's `system_in_answer` says
    that the answer and the data set carry it too.
    """

    async def answer(self, draft: Draft, messages: Sequence[Message], ctx: Context) -> list[Written]:
        """Answer the last user turn of `messages`."""
        fmt = ctx.format("answer", draft.system if ctx.plan.system_in_answer else None)
        step = str(len(messages))
        sampling = pick_sampling(ctx.plan.answer.sampling, ctx, f"answer/{step}")
        request = turn_request(
            fmt,
            messages,
            "answer",
            sampling=sampling,
            seed=ctx.seed(f"assistant/{step}"),
            opening=ctx.opening(draft.system),
            continued=len(messages) + 1 < 2 * ctx.plan.turns,
        )
        return [await write(ctx, "answer", fmt, request)]
