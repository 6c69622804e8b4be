"""What is known of a plan before it runs: its models, their memory, the doctor's word, the pace of earlier runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localsynth.catalog import machine
from localsynth.catalog.shelf import disk_size
from localsynth.config import Plan
from localsynth.engine.building import local_model
from localsynth.engine.fitness import Verdict, recall
from localsynth.engine.planning import complete
from localsynth.errors import LocalsynthError
from localsynth.store import Reader

_Z = 1.645  # 90 % of a normal distribution lie within
_FEW = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast an earlier run of the same models was: seconds for each of `kept` pairs."""

    run: int
    kept: int
    seconds: float

    def span(self, target: int) -> tuple[float, float]:
        """Seconds for so many pairs, as a 90 % range."""
        middle, spread = self.seconds * target, math.exp(_Z / math.sqrt(self.kept))
        return middle / spread, middle * spread


@dataclass(frozen=True, slots=True)
class Facts:
    """`error`: why the plan cannot run as it is. `memory` and `room`: GB that its models take here, and may take.

    `notes`: what is worth a word.
    """

    error: LocalsynthError | None
    notes: tuple[str, ...] = ()
    asks: str = ""
    memory: float = 0.0
    room: float = 0.0
    verdict: Verdict | None = None
    pace: Pace | None = None


def find_facts(store: Path, tables: Mapping[str, Any]) -> Facts:
    """Look at models, files and the store; nothing is loaded or started."""
    notes: list[str] = []
    try:
        plan = complete(tables, notes.append)
    except LocalsynthError as error:
        return Facts(error)
    paths = _loaded(plan)
    asks = paths.get("ask")
    return Facts(
        None,
        tuple(notes),
        asks.name if asks else plan.ask.model or plan.ask.backend,
        sum(disk_size(path) / 1e9 * 1.2 + 0.3 for path in set(paths.values())),
        machine().usable_gb,
        recall(asks) if asks is not None and asks.is_file() else None,
        _pace(store, plan),
    )


def _loaded(plan: Plan) -> dict[str, Path]:
    """The files and folders that are loaded here, by role."""
    roles = [("ask", plan.ask)] if plan.method == "magpie" else []
    roles += [] if plan.instructions_only else [("answer", plan.answer)]
    found = {name: local_model(role) for name, role in roles}
    return {name: model.path for name, model in found.items() if model is not None}


def _pace(store: Path, plan: Plan) -> Pace | None:
    """From the newest run of these models in this store that kept a few pairs."""
    if not store.exists():
        return None
    wanted = (plan.method, plan.ask.model, plan.answer.model, plan.turns, plan.instructions_only)
    try:
        with Reader.open(store) as reader:
            for row in reversed(reader.runs()):
                if _who_was(row.plan) != wanted or (found := reader.progress(row.id)) is None:
                    continue
                kept, elapsed = found.data.get("kept", 0), found.data.get("elapsed", 0.0)
                if isinstance(kept, int) and isinstance(elapsed, int | float) and kept >= _FEW and elapsed > 0:
                    return Pace(row.number, kept, elapsed / kept)
    except LocalsynthError:
        return None  # the screens that read the store say what is wrong with it
    return None


def _who_was(plan: Mapping[str, Any]) -> tuple[object, ...]:
    roles = [plan.get(role, {}) for role in ("ask", "answer")]
    models = [role.get("model") if isinstance(role, Mapping) else None for role in roles]
    return (plan.get("method"), *models, plan.get("turns"), plan.get("instructions_only"))
