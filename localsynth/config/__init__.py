"""A plan: everything that decides what a run generates, as frozen dataclasses and as plan.toml.

Defaults, then the file, then what was typed on the command line. The whole plan is stored with the run.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from localsynth.config.decoding import decode
from localsynth.config.thresholds import Threshold, flattened, measure_of
from localsynth.errors import PlanError
from localsynth.records import Sampling

BackendKind = Literal["auto", "llamacpp", "mlx", "vllm", "openai", "ollama", "scripted"]
SERVED = frozenset({"openai", "ollama"})

# Table 7 of arXiv 2406.08464: rows per (temperature, top-p), here as weights.
_AIR = tuple((t, p, 3.0) for t in (1.0, 1.1, 1.2) for p in (1.0, 0.995, 0.99)) + tuple(
    (1.25, p, 1.0) for p in (1.0, 0.995, 0.99)
)
_PRO = ((1.0, 1.0, 3.0), (1.1, 0.995, 3.0), (1.2, 0.995, 3.0), (1.25, 0.99, 1.0))
MIXES: Mapping[str, tuple[tuple[float, float, float], ...]] = {"air": _AIR, "pro": _PRO}


@dataclass(frozen=True, slots=True)
class WeightedSampling(Sampling):
    """One entry of a sampling mix; weights need not sum to one."""

    weight: float = 1.0

    def plain(self) -> Sampling:
        """The sampling without its weight."""
        return _plain(self)


@functools.lru_cache(maxsize=256)
def _plain(entry: WeightedSampling) -> Sampling:
    """A run draws from a handful of entries, once for every turn."""
    return Sampling(**{f.name: getattr(entry, f.name) for f in dataclasses.fields(Sampling)})


@dataclass(frozen=True, slots=True)
class RolePlan:
    """Who writes one kind of turn. `model` "" is the embedded starter; `backend` "auto" follows from the model.

    `servers`: base URLs that serve `model` by that name, "" where they serve only one; several share the work.
    `tokenizer`: the folder, GGUF file or catalogue name that holds a served model's chat template and tokenizer, ""
    where the server tells them.
    """

    model: str = ""
    backend: BackendKind = "auto"
    servers: tuple[str, ...] = ()
    tokenizer: str = ""
    sampling: tuple[WeightedSampling, ...] = (WeightedSampling(),)


@dataclass(frozen=True, slots=True)
class SystemPrompt:
    """A system turn to steer by: the id of a ready topic, or a text of one's own. No text: the template's default."""

    topic: str = ""
    text: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class GatePlan:
    """What an instruction must pass before it is answered.

    `similarity`: cosine from which a near duplicate is rejected; 0.975 is the paper's squared L2 distance of 0.05.
    `encoder` "" is the embedded all-MiniLM-L6-v2; a folder or a catalogue name otherwise.
    """

    exact_duplicates: bool = True
    near_duplicates: bool = True
    encoder: str = ""
    similarity: float = 0.975


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop before the target: 0 means no limit. `attempts` 0 means twenty times the target, at least 500."""

    minutes: float = 0.0
    tokens: int = 0
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """How a model is run; 0 chooses from the machine. `gpu_layers` -1 chooses too, and is of llama.cpp.

    `slots` of a server are the most requests in flight. `memory_share` is the part of the device's memory that MLX and
    vLLM may take. `tensor_parallel` (GPUs that share one model) and `quantisation` (its name for the method, "" what
    the model's files say) are of vLLM.
    """

    slots: int = 0
    context: int = 0
    threads: int = 0
    gpu_layers: int = -1
    tensor_parallel: int = 1
    memory_share: float = 0.0
    quantisation: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, whole. `target` counts kept samples; `language` is an ISO 639-1 code or "any".

    `instructions` is a file to answer instead of asking; its hash must still hold when the run is resumed. `force` goes
    on with a model that is unfit for Magpie. `system_in_answer` shows the steering system prompt to the answering model
    too, and keeps it in the data. `again` is a sample that this run answers once more: what it writes stands beside
    that row and is no row of the data. `thresholds` go by the name of the score. `date` (ISO 8601) is what templates
    that write a date are given: set when the run is created, so that a resumed or replayed row has the same prompt.
    """

    target: int = 20
    method: Literal["magpie", "imported"] = "magpie"
    seed: int = 0
    turns: int = 1
    language: str = "any"
    instructions_only: bool = False
    instructions: str = ""
    instructions_sha256: str = ""
    again: int = 0
    force: bool = False
    date: str = ""
    system_in_answer: bool = False
    ask: RolePlan = field(default_factory=RolePlan)
    answer: RolePlan = field(
        default_factory=lambda: RolePlan(sampling=(WeightedSampling(temperature=0.0, max_tokens=1024),))
    )
    systems: tuple[SystemPrompt, ...] = ()
    gate: GatePlan = field(default_factory=GatePlan)
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    machine: Machine = field(default_factory=Machine)

    def attempts(self) -> int:
        """How many indices may be tried."""
        return self.limits.attempts or max(500, 20 * self.target)


def read_plan(path: Path) -> dict[str, Any]:
    """The tables of plan.toml, their keys and kinds of values checked; PlanError when it cannot be read."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlanError(f"there is no plan at {path}", "check the path given to --plan") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PlanError(f"{path} is not a readable TOML file: {error}", "mend the line that is named") from None
    check_shape(tables)
    return tables


def check_shape(tables: Mapping[str, Any]) -> None:
    """PlanError for a key that no plan has, or a value of another kind; what the values mean is not looked at."""
    decode(Plan, tables, prepare=_prepare)


def plan_from(data: Mapping[str, Any]) -> Plan:
    """Build a plan from plain data (TOML or the JSON in the store), checked key by key."""
    plan: Plan = decode(Plan, data, prepare=_prepare)
    _check(plan)
    return plan


def plan_data(plan: Plan) -> dict[str, Any]:
    """The plan as plain data; `plan_from(plan_data(plan)) == plan`."""
    return dataclasses.asdict(plan)


def mix(name: str, max_tokens: int) -> tuple[WeightedSampling, ...]:
    """A named mix of the paper: "air" or "pro"."""
    if name not in MIXES:
        raise PlanError(f"there is no sampling preset {name!r}", f"use one of: {', '.join(MIXES)}")
    return tuple(WeightedSampling(temperature=t, top_p=p, weight=w, max_tokens=max_tokens) for t, p, w in MIXES[name])


def sampling_tables(value: Any) -> Any:
    """The list that `sampling = "air"`, or a single table, stands for; anything else as it is."""
    if isinstance(value, str):
        return [dataclasses.asdict(entry) for entry in mix(value, max_tokens=512)]
    return [value] if isinstance(value, Mapping) else value


def _prepare(where: str, value: Any) -> Any:
    if where == "thresholds":
        return flattened(value)
    return sampling_tables(value) if where.endswith("sampling") else value


def _check(plan: Plan) -> None:
    def need(condition: bool, key: str, rule: str) -> None:
        if not condition:
            raise PlanError(f"{key} {rule}", f"change {key} in the plan or on the command line")

    need(plan.target >= 1, "target", "must be at least 1")
    need(0 <= plan.seed < 2**32, "seed", "must be between 0 and 4294967295")
    need(1 <= plan.turns <= 16, "turns", "must be between 1 and 16")
    need(-1 <= plan.gate.similarity <= 1, "gate.similarity", "is a cosine: between -1 and 1")
    need(plan.method != "imported" or bool(plan.instructions), "instructions", "must name a file for method imported")
    need(plan.method == "magpie" or plan.turns == 1, "turns", "must be 1 for imported instructions")
    need(plan.method == "magpie" or not plan.systems, "systems", "steer questions; imported instructions ask none")
    need(
        plan.method == "magpie" or not plan.instructions_only,
        "instructions_only",
        "leaves nothing to do with imported instructions",
    )
    need(
        bool(re.fullmatch(r"any|[a-z]{2,3}(-\w+)*", plan.language)),
        "language",
        "must be a code such as en or zh, or any",
    )
    need(_is_date(plan.date), "date", "must be a date such as 2026-01-31, or empty")
    for name, bounds in plan.thresholds.items():
        key, whole = f"thresholds.{name}", measure_of(name, 0.5)
        need(whole == name, key, f"is part of {whole}: name that one")
        need(not bounds.open, key, "must have a low, a high or both")
        need(bounds.low is None or bounds.high is None or bounds.low <= bounds.high, key, "has its low above its high")
    limits = plan.limits
    need(min(limits.minutes, limits.tokens, limits.attempts) >= 0, "limits", "must not be negative")
    machine = plan.machine
    need(min(machine.slots, machine.context, machine.threads) >= 0, "machine", "must not be negative")
    need(machine.tensor_parallel >= 1, "machine.tensor_parallel", "must be at least 1")
    need(0 <= machine.memory_share <= 1, "machine.memory_share", "is a share: between 0 and 1")
    for name, role in (("ask", plan.ask), ("answer", plan.answer)):
        served = role.backend in SERVED
        need(served or not role.servers, f"{name}.servers", "go with the backends openai and ollama")
        need(bool(role.servers) or not served, f"{name}.servers", "must name the server's address: --server URL")
        # A plan is stored: a password must not be in it, and the message does not repeat it.
        need(not any(map(_has_login, role.servers)), f"{name}.servers", "must not hold a user name or a password")
        need(not any("?" in url or "#" in url for url in role.servers), f"{name}.servers", "must end before any ? or #")
        need(served or not role.tokenizer, f"{name}.tokenizer", "is of served models; others bring their own")
        need(bool(role.sampling), f"{name}.sampling", "must have at least one entry")
        for entry in role.sampling:
            key = f"{name}.sampling"
            need(0 <= entry.temperature <= 5, key, "temperature must be between 0 and 5")
            need(0 < entry.top_p <= 1, key, "top_p must be above 0 and at most 1")
            need(0 <= entry.min_p < 1, key, "min_p must be at least 0 and below 1")
            need(entry.top_k >= 0, key, "top_k must not be negative")
            need(0.5 <= entry.repeat_penalty <= 3, key, "repeat_penalty must be between 0.5 and 3")
            need(entry.max_tokens >= 1, key, "max_tokens must be at least 1")
        need(sum(e.weight for e in role.sampling) > 0, f"{name}.sampling", "weights must not sum to 0")
    weights = [s.weight for s in plan.systems] + [e.weight for r in (plan.ask, plan.answer) for e in r.sampling]
    need(all(w >= 0 and math.isfinite(w) for w in weights), "weight", "must be a number of at least 0")
    need(not plan.systems or sum(s.weight for s in plan.systems) > 0, "systems", "weights must not sum to 0")


def _has_login(url: str) -> bool:
    return "@" in url.partition("://")[2].partition("/")[0] or "@" in url.partition("/")[0]


def _is_date(text: str) -> bool:
    try:
        return not text or bool(dt.date.fromisoformat(text))
    except ValueError:
        return False
