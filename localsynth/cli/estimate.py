"""`localsynth estimate`: how long a job would take here, and on GPUs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localsynth.cli.options import json_option
from localsynth.cli.planning import plan_parameters, seconds_option

if TYPE_CHECKING:
    from localsynth.config import Plan
    from localsynth.engine.calibrate import Calibration
    from localsynth.engine.perpair import PerPair, Span
    from localsynth.handoff.estimate import OnGpus


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

    plan = build_plan(typed | {"plan_file": plan_file})
    found = asyncio.run(calibrate(plan, seconds, say))
    pair, size = per_pair(found, plan), parameters or _parameters(plan)
    job = Job(plan.target, pair.tokens(), size) if size else None
    gpus = list(on_gpus(job, price_per_hour)) if job else []
    speed, hours = best(found, pair), _hours_here(plan, found, pair)
    if as_json:
        here = {"slots": speed.slots, "hours": hours}
        about: dict[str, Any] = {"pairs": plan.target, "parameters": size, "kept_share": pair.share}
        about |= {
            "tokens_per_pair": pair.tokens(),
            "assumed": pair.assumed,
            "calibration": dataclasses.asdict(found),
            "here": here,
        }
        data_json(about | {"gpus": [dataclasses.asdict(line) for line in gpus]})
        return 0
    for line in _calibrated(plan, found, pair, size):
        data(line)
    data(f"{'machine':<16} {'time':>7}  {'range':<18}  {'speed':<12}  cost")
    data(_row(f"here, {speed.slots} slot{'s' if speed.slots != 1 else ''}", hours, None, "measured now"))
    for each in gpus:
        data(_row(f"{each.count} x {each.gpu}", each.hours, each.cost, "measured" if each.measured else "scaled"))
    for line in _remarks(found, pair, gpus):
        data(line)
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


def _calibrated(plan: Plan, found: Calibration, pair: PerPair, size: float | None) -> Iterator[str]:
    from localsynth.printable import one_line

    about = f", {size:.3g} B parameters" if size else ""
    yield f"{plan.target:,} pairs with {one_line(found.model, 40)}{about}"
    yield f"calibrated for {found.seconds:.0f} s: {found.asked} questions, {found.kept} pairs kept, by {found.backend}"
    low, middle, high = pair.tokens()
    yield f"a kept pair takes {middle:.0f} tokens ({low:.0f} to {high:.0f}); {pair.share:.0%} of questions get there"
    yield f"tokens/s by slots: {', '.join(f'{speed.tokens_per_second:.0f} at {speed.slots}' for speed in found.speeds)}"
    yield ""


def _row(machine: str, hours: Span, cost: Span | None, speed: str) -> str:
    between = f"{_time(hours[0])} to {_time(hours[2])}"
    paid = "" if cost is None else f"${_money(cost[1])} ({_money(cost[0])} to {_money(cost[2])})"
    return f"{machine:<16} {_time(hours[1]):>7}  {between:<18}  {speed:<12}  {paid}".rstrip()


def _remarks(found: Calibration, pair: PerPair, gpus: list[OnGpus]) -> Iterator[str]:
    import textwrap

    from localsynth.printable import terminal_width

    remarks = []
    if pair.assumed:
        remarks.append(
            f"assumed, as too few ended in that time: {', '.join(pair.assumed)}; --seconds 300 measures more"
        )
    if found.slowdown is not None:
        remarks.append(
            f"the same work was {found.slowdown:.0%} slower at the end than at the beginning: the machine throttles, "
            "or something else keeps it busy; a long run will be nearer to the upper end"
        )
    for how in dict.fromkeys(line.how for line in gpus):
        names = ", ".join(f"{line.count} x {line.gpu}" for line in gpus if line.how == how)
        remarks.append(f"{names}: {how}")
    if not gpus:
        remarks.append("no GPU is estimated: name the model's size with --parameters (billions)")
    for remark in remarks:
        yield from textwrap.wrap(remark, terminal_width(), initial_indent="- ", subsequent_indent="  ")


def _time(hours: float) -> str:
    """In at most seven characters."""
    for size, unit in ((1 / 60, "s"), (1, "min"), (48, "h")):
        if hours < size:
            value = hours * {"s": 3600, "min": 60, "h": 1}[unit]
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{hours / 24:,.0f} d"


def _money(dollars: float) -> str:
    return f"{dollars:,.2f}" if dollars < 10 else f"{dollars:,.0f}"
