"""The template doctor: is this model fit for Magpie? Asks for user turns, grades the yield, remembers the grade."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from localsynth import catalog, paths
from localsynth.backends.base import Backend, BackendInfo
from localsynth.chat import ChatFormat, describe
from localsynth.config import Plan, RolePlan, plan_from
from localsynth.engine.building import build_backend, local_model
from localsynth.engine.roles import format_of
from localsynth.errors import ModelError
from localsynth.filters.sanitize import sanitize
from localsynth.filters.yields import YieldReport, assess, wilson
from localsynth.records import Request, Sampling, derive_seed

Grade = Literal["fit", "usable with care", "unfit"]

# Where half of the turns are lost, a run pays as much for what it throws away as for what it keeps. The interval, not
# the rate, must lie beyond a limit: 64 turns are few.
_FIT, _UNFIT = 0.85, 0.5
_ADVICE = {
    "cut_off": "turns do not end: the template may lack the model's default system turn, or --question-tokens is small",
    "control_token": "control tokens appear inside the text: the template may belong to another model",
    "thinking": "the model reasons in the user's place: choose an instruct model that does not",
    "duplicate": "the model repeats itself: raise --temperature, or steer it with --topics",
    "wrong_language": "the model asks in another language: steer it with --system in the language wanted",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the doctor said of a model file, and when (UTC, ISO 8601). `low` and `high`: the yield's 95 % interval."""

    grade: Grade
    reason: str
    at: str = ""
    turns: int = 0
    rate: float = 0.0
    low: float = 0.0
    high: float = 0.0
    causes: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkup:
    """What the doctor found. `parts` describes the chat format; `examples` are usable turns."""

    model: str
    parts: dict[str, object]
    report: YieldReport
    grade: Grade
    reason: str
    examples: tuple[str, ...]

    def as_data(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "model": self.model,
            "grade": self.grade,
            "reason": self.reason,
            "turns": self.report.n,
            "yield": self.report.rate,
            "low": self.report.low95,
            "high": self.report.high95,
            "causes": dict(sorted(self.report.causes.items(), key=lambda item: -item[1])),
            "examples": list(self.examples),
            "parts": self.parts,
        }


def examine(
    ask: Mapping[str, Any],
    *,
    turns: int,
    language: str,
    seed: int,
    system: str | None,
    say: Callable[[str], None],
) -> Checkup:
    """Have a model write user turns and grade it; `ask` is the plan's table of that name.

    ModelError when it cannot be loaded or carries no chat template.
    """
    plan = plan_from({"ask": ask, "seed": seed, "language": language})
    sampling = ask_sampling(plan.ask)
    say(f"asking for {turns} user turns")
    info, fmt, texts = asyncio.run(_ask(build_backend(plan.ask, plan), sampling, system, turns, seed))
    wanted = None if language == "any" else language
    report = assess(texts, language=wanted, control_strings=fmt.control_strings)
    grade, reason = judge(report)
    good = (sanitize(text, "user", fmt.control_strings).text for text, stopped in texts if stopped)
    checkup = Checkup(info.model, describe(fmt), report, grade, reason, tuple(good)[:5])
    if info.file is not None and system is None:
        _remember(Path(info.file), checkup)
    return checkup


def judge(report: YieldReport) -> tuple[Grade, str]:
    """The grade for a yield, and why."""
    lost = max(report.causes, key=lambda cause: report.causes[cause], default="")
    why = f"; most are lost to {lost.replace('_', ' ')}" if lost else ""
    advice = f": {_ADVICE[lost]}" if lost in _ADVICE else ""
    if too_low(report.good, report.n):
        return "unfit", f"only {report.rate:.0%} of its turns are usable questions{why}{advice}"
    if report.rate >= _FIT:
        return "fit", f"{report.rate:.0%} of its turns are usable questions"
    return "usable with care", f"{report.rate:.0%} of its turns are usable questions{why}{advice}"


def too_low(good: int, n: int) -> bool:
    """Whether a yield shows that the model is unfit: its 95 % interval lies below one half."""
    return wilson(good, n)[1] < _UNFIT


def refuse_unfit(plan: Plan) -> None:
    """ModelError when the doctor has called this plan's asking model unfit and the plan does not say `force`."""
    if plan.force or plan.method != "magpie" or (found := local_model(plan.ask)) is None:
        return
    known = recall(found.path)
    if known is not None and known.grade == "unfit":
        raise ModelError(
            f"the doctor calls this model unfit for Magpie: {known.reason}",
            "choose another model, check it again with `localsynth doctor`, or go on with --force",
        )


def verdict_of(found: Any) -> Verdict | None:
    """A report as `Checkup.as_data` gives it; None for anything else. Grade and reason alone will do."""
    try:
        grade, reason = found["grade"], str(found["reason"])
        if grade not in get_args(Grade):
            return None
        rate, low, high = (float(found.get(key, 0.0)) for key in ("yield", "low", "high"))
        causes = {str(cause): int(count) for cause, count in found.get("causes", {}).items()}
        examples = tuple(str(text) for text in found.get("examples", ()))
        return Verdict(
            grade, reason, str(found.get("at", "")), int(found.get("turns", 0)), rate, low, high, causes, examples
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def recall(model: Path) -> Verdict | None:
    """The doctor's last word of this file as it is now, or of the file that it is an optimised copy of."""
    own = _recall(model)
    source = catalog.source_of(model)
    return own if own is not None or source == model else _recall(source)


def ask_sampling(role: RolePlan) -> Sampling:
    """How a model is asked when it is examined: as its card says, with room for a question."""
    found = local_model(role)
    if found is not None and found.card is not None and found.card.ask is not None:
        return found.card.ask
    return replace(Sampling(), max_tokens=256)


async def _ask(
    backend: Backend, sampling: Sampling, system: str | None, turns: int, seed: int
) -> tuple[BackendInfo, ChatFormat, list[tuple[str, bool]]]:
    try:
        await backend.open()
        fmt = format_of(backend.info, system)
        texts = await ask_turns(backend, fmt, sampling, (derive_seed(seed, number) for number in range(turns)))
        return backend.info, fmt, texts
    finally:
        await backend.aclose()


async def ask_turns(
    backend: Backend, fmt: ChatFormat, sampling: Sampling, seeds: Iterable[int]
) -> list[tuple[str, bool]]:
    """Raw user turns from the pre-query template, each with whether a turn end ended it, in the order of the seeds."""
    prompt = fmt.ask_prompt()
    requests = [Request(prompt, sampling, seed, fmt.stop_ids, fmt.stop_texts) for seed in seeds]
    done = await asyncio.gather(*(backend.generate(request) for request in requests))
    return [(completion.text, completion.finish_reason == "stop") for completion in done]


def _verdict_file(model: Path) -> Path:
    """One file per model file as it is now: another size or date is another model."""
    found = model.stat()
    key = f"{model.resolve()}\x1f{found.st_size}\x1f{found.st_mtime_ns}"
    return paths.cache_dir() / "doctor" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def _remember(model: Path, checkup: Checkup) -> None:
    target = _verdict_file(model)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(f".{os.getpid()}.tmp")
    data = checkup.as_data() | {"at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds")}
    draft.write_text(json.dumps(data), encoding="utf-8")
    draft.replace(target)


def _recall(model: Path) -> Verdict | None:
    try:
        return verdict_of(json.loads(_verdict_file(model).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
