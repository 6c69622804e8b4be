"""Generate a stored row again, turn by turn, from nothing but what the store holds of it."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from localsynth.config import Plan, plan_from
from localsynth.engine.roles import Roles
from localsynth.errors import ModelError, NotFound
from localsynth.filters.repetition import cut_loop
from localsynth.methods.base import Message, ModelRole
from localsynth.methods.writing import turn_request
from localsynth.records import Role, Turn
from localsynth.store.rows import RunRow, SampleRow


@dataclass(frozen=True, slots=True)
class ReplayedTurn:
    """One generated turn: what is stored, and what came out now."""

    position: int
    role: Role
    seed: int
    stored: str
    again: str

    @property
    def same(self) -> bool:
        """Byte for byte."""
        return self.stored == self.again

    def diff(self) -> Iterator[str]:
        """A unified diff, empty when they are the same."""
        lines = self.stored.splitlines(), self.again.splitlines()
        return difflib.unified_diff(*lines, "stored", "again", lineterm="", n=1)


def replay_row(run: RunRow, row: SampleRow) -> list[ReplayedTurn]:
    """Every turn that a model wrote, written again after the stored turns before it.

    ModelError when the model's file is not the one that wrote the row. On a GPU the same seed may give other words.
    """
    plan = plan_from(run.plan)
    if not any(turn.seed is not None for turn in row.turns):
        raise NotFound("no turn of this row was written by a model", "choose a generated row: localsynth ls")
    return asyncio.run(_replay(run, row, plan))


async def _replay(run: RunRow, row: SampleRow, plan: Plan) -> list[ReplayedTurn]:
    roles = Roles(plan)
    try:
        await roles.open()
        _check_files(run, roles)
        number = row.detail.get("system")
        system = plan.systems[number].text or None if isinstance(number, int) else None
        turns = [turn for turn in row.turns if turn.role != "system"]
        return [
            await _again(roles, turn, [Message(t.role, t.content) for t in turns[:position]], system, plan)
            for position, turn in enumerate(turns)
            if turn.seed is not None
        ]
    finally:
        await roles.aclose()


async def _again(roles: Roles, turn: Turn, before: list[Message], system: str | None, plan: Plan) -> ReplayedTurn:
    role: ModelRole = "ask" if turn.role == "user" else "answer"
    fmt = roles.format(role, system if role == "ask" or plan.system_in_answer else None)
    assert turn.sampling is not None
    assert turn.seed is not None
    request = turn_request(
        fmt, before, role, sampling=turn.sampling, seed=turn.seed, opening=roles.opening(system), continued=True
    )
    completion = await roles.backend(role).generate(request)
    # As the run cut it; None is the whole text.
    again = completion.text[: cut_loop(completion.text)]
    return ReplayedTurn(turn.position, turn.role, turn.seed, turn.raw, again)


def _check_files(run: RunRow, roles: Roles) -> None:
    for role, info in roles.infos().items():
        stored = run.versions.get(role)
        sha256 = stored.get("sha256") if isinstance(stored, dict) else None
        if sha256 is not None and sha256 != info.sha256:
            raise ModelError(
                f"{info.file} is not the file that wrote this row", f"bring back the file with sha256 {sha256}"
            )
