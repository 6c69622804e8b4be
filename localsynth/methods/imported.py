"""Instructions that a person already has: only their answers are generated."""

from __future__ import annotations

from collections.abc import Sequence

from localsynth.methods.base import Context, Draft, Exhausted, Written


class Imported:
    """Prompts taken from a list, in its order."""

    def __init__(self, instructions: Sequence[str]) -> None:
        self._instructions = instructions

    async def propose(self, ctx: Context) -> Draft:
        """The instruction at the context's index; Exhausted after the last one."""
        if ctx.index >= len(self._instructions):
            raise Exhausted
        return Draft((), Written(self._instructions[ctx.index]), "imported")
