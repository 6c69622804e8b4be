"""A copy of a model in a quantisation that this CPU runs faster, used only where it loses no yield."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from localsynth import paths
from localsynth.backends.gguf import read_facts
from localsynth.backends.optimize import optimize, repack_target
from localsynth.config import Plan, RolePlan
from localsynth.engine.fitness import ask_sampling, ask_turns
from localsynth.engine.roles import build_backend, format_of
from localsynth.errors import ModelError
from localsynth.filters.yields import YieldReport, assess, two_proportion
from localsynth.records import derive_seed

TURNS = 300
MARGIN = 0.03


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it. `loss_high`: the loss of yield is below this with 97.5 % confidence; None when unchecked."""

    path: Path
    quantisation: str
    loss: float | None = None
    loss_high: float | None = None

    @property
    def sound(self) -> bool:
        """Whether it was shown to lose no more than 3 points of yield."""
        return self.loss_high is not None and self.loss_high <= MARGIN

    def explain(self) -> str:
        """One line for a person."""
        if self.loss is None or self.loss_high is None:
            return f"made {self.quantisation}; its yield was not compared, so name it with --model to use it"
        figures = f"loss of yield {self.loss:+.1%}, at most {self.loss_high:+.1%} (95 % interval, {TURNS} turns each)"
        return f"made {self.quantisation}: {figures}; {'it is used from now on' if self.sound else 'it is not used'}"


def optimise(model: Path, *, check: bool, say: Callable[[str], None]) -> Outcome:
    """Make the copy, compare the yields where `check` asks for it, and note the result beside the copy."""
    target = repack_target(read_facts(model))
    if target is None:
        raise ModelError(f"llama.cpp runs {model.name} as fast as it can on this CPU already", "nothing is to be done")
    say(f"requantising {model.name} to {target}")
    copy = optimize(model, paths.optimised_dir())
    outcome = Outcome(copy, target)
    if check:
        say(f"comparing the yield of both files, {TURNS} user turns each")
        before, after = _yield_of(model), _yield_of(copy)
        difference = two_proportion(before, after)
        outcome = Outcome(copy, target, difference.value, difference.high95)
    note = asdict(outcome) | {"path": str(copy), "source": str(model.resolve())}
    _note_file(copy).write_text(json.dumps(note, indent=2), encoding="utf-8")
    return outcome


def _yield_of(model: Path) -> YieldReport:
    role = RolePlan(model=str(model))

    async def ask() -> YieldReport:
        backend = build_backend(role, Plan())
        try:
            await backend.open()
            fmt = format_of(backend.info)
            seeds = (derive_seed("optimise", number) for number in range(TURNS))
            turns = await ask_turns(backend, fmt, ask_sampling(role), seeds)
            return assess(turns, control_strings=fmt.control_strings)
        finally:
            await backend.aclose()

    return asyncio.run(ask())


def _note_file(copy: Path) -> Path:
    return copy.with_suffix(".json")
