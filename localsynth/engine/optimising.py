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
from localsynth.catalog import copy_note
from localsynth.config import Plan, RolePlan
from localsynth.engine.building import build_backend
from localsynth.engine.fitness import ask_sampling, ask_turns
from localsynth.engine.roles import format_of
from localsynth.errors import ModelError
from localsynth.filters.yields import YieldReport, assess, two_proportion
from localsynth.records import derive_seed

TURNS = 300
MARGIN = 0.03


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it; the rates and the loss are None when unchecked.

    `loss_high`: the upper end of the loss's 95 % interval.
    """

    path: Path
    quantisation: str
    yield_before: float | None = None
    yield_after: float | None = None
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
        figures = f"yield {self.yield_before:.1%} before, {self.yield_after:.1%} after, {TURNS} turns each; "
        figures += f"the loss is at most {self.loss_high:.1%} (95 % interval)"
        return f"made {self.quantisation}: {figures}; {'it is used from now on' if self.sound else 'it is not used'}"


def optimise(model: Path, *, check: bool, say: Callable[[str], None]) -> Outcome:
    """Make the copy, compare the yields where `check` asks for it, and note the result beside the copy."""
    target = repack_target(read_facts(model))
    if target is None:
        raise ModelError(f"llama.cpp runs {model.name} as fast as it can on this CPU already", "nothing is to be done")
    say(f"requantising {model.name} to {target}")
    copy = optimize(model, paths.optimised_dir())
    outcome = Outcome(copy, target)
    _write_note(outcome, model)
    if check:
        say(f"comparing the yield of both files, {TURNS} user turns each")
        before, after = _yield_of(model), _yield_of(copy)
        difference = two_proportion(before, after)
        outcome = Outcome(copy, target, before.rate, after.rate, difference.value, difference.high95)
        _write_note(outcome, model)
    return outcome


def fastest(model: Path) -> Path:
    """The optimised copy of a file where there is one that was shown to lose no yield, else the file itself."""
    for note in sorted(paths.optimised_dir().glob("*.json")):
        try:
            found = json.loads(note.read_text(encoding="utf-8"))
            copy = Path(found["path"])
            fresh = copy.stat().st_mtime_ns >= model.stat().st_mtime_ns
            if found["source"] == str(model.resolve()) and found["sound"] is True and fresh:
                return copy
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return model


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


def _write_note(outcome: Outcome, source: Path) -> None:
    note = asdict(outcome) | {"path": str(outcome.path), "source": str(source.resolve()), "sound": outcome.sound}
    draft = copy_note(outcome.path).with_suffix(".part")
    draft.write_text(json.dumps(note, indent=2), encoding="utf-8")
    draft.replace(copy_note(outcome.path))
