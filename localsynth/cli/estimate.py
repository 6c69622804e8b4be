"""`localsynth estimate`: how long a job would take here, and on GPUs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localsynth.cli.options import json_option
from localsynth.cli.planning import plan_parameters, seconds_option

if TYPE_CHECKING:
    from localsynth.config import Plan
    from localsynth.engine.calibrate import Calibration
    from localsynth.engine.perpair import PerPair, Span


@click.command(params=plan_parameters(), short_help="Say how long a job would take here, and on GPUs.")
@click.argument("plan_file", metavar="[PLAN]", required=False, type=click.Path(path_type=Path))
@seconds_option(60)
@click.option("--price-per-hour", type=click.FloatRange(0), help="What one GPU costs an hour, for the cost.")
@click.option(
    "--parameters", type=click.FloatRange(0.001), help="Billions of parameters, where the model's card is silent."
)
@json_option
def estimate(
    *, plan_file: Path | None, seconds: float, price_per_hour: float | None, parameters: float | None, as_json: bool,
    **typed: Any,
) -> int:  # fmt: skip
    """Generate for a minute with PLAN (a plan.toml), or with the options of `generate`, and estimate the whole job.

    The calibration goes through the real gate in a temporary store; yours is not touched. It measures tokens a second
    at one, some and all slots, the share that is kept, and the tokens of a pair. Ctrl-C ends it with what is known.

    Times on GPUs come from published runs of Magpie on A100s; what was not measured is marked as scaled. Ranges hold
    nine times in ten for what was calibrated; duplicates become more frequent in a long job, which no minute shows.
    """
    import asyncio

    from localsynth.cli.narration import data, data_json, say
    from localsynth.cli.plan_flags import build_plan
    from localsynth.engine.calibrate import calibrate
    from localsynth.engine.perpair import best, per_pair
    from localsynth.handoff.estimate import Job, on_gpus
    from localsynth.handoff.estimate_words import estimate_lines
    from localsynth.printable import terminal_width

    plan = build_plan(typed | {"plan_file": plan_file})
    found = asyncio.run(calibrate(plan, seconds, say))
    pair, size = per_pair(found, plan), parameters or _parameters(plan)
    job = Job(plan.target, pair.tokens(), size) if size else None
    gpus = list(on_gpus(job, price_per_hour)) if job else []
    speed, hours = best(found, pair), _hours_here(plan, found, pair)
    about: dict[str, Any] = {"pairs": plan.target, "parameters": size, "kept_share": pair.share}
    about |= {
        "tokens_per_pair": pair.tokens(),
        "assumed": pair.assumed,
        "calibration": dataclasses.asdict(found),
        "here": {"slots": speed.slots, "hours": hours},
        "gpus": [dataclasses.asdict(line) for line in gpus],
    }
    if as_json:
        data_json(about)
        return 0
    for text in estimate_lines(about, terminal_width()):
        data(text)
    return 0


def _parameters(plan: Plan) -> float | None:
    """Billions of parameters of the model that writes most; None where neither card nor file tells."""
    from localsynth import catalog
    from localsynth.backends.gguf import read_facts
    from localsynth.config import SERVED

    role = plan.ask if plan.instructions_only else plan.answer
    if role.backend == "scripted" or (role.backend in SERVED and not role.tokenizer):
        return None
    found = catalog.resolve((role.tokenizer if role.backend in SERVED else role.model) or None)
    if found.card is not None:
        return found.card.parameters
    return read_facts(found.path).parameters / 1e9 if found.kind == "gguf" else None


def _hours_here(plan: Plan, found: Calibration, pair: PerPair) -> Span:
    """The whole job on this machine; a machine that slowed down within a minute goes on doing so."""
    from localsynth.engine.perpair import best

    low, middle, high = (seconds * plan.target / 3600 for seconds in pair.seconds(best(found, pair)))
    return low, middle, high / (1 - (found.slowdown or 0.0))
