"""`localsynth bench`: one line on how fast a model writes here."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localsynth.cli.options import json_option
from localsynth.cli.planning import plan_parameters, seconds_option

if TYPE_CHECKING:
    from localsynth.engine.calibrate import Calibration
    from localsynth.engine.metering import Speed
    from localsynth.engine.perpair import PerPair

_FLAGS = ("model", "answer_model", "backend", "slots", "context", "threads", "gpu_layers", "servers", "tokenizer")
_ALSO = ("answer_tokens", "question_tokens", "seed", "no_near_duplicates", "memory_share", "tensor_parallel")


@click.command(params=plan_parameters(*_FLAGS, *_ALSO), short_help="Print one line on how fast a model writes here.")
@click.option("--plan", "plan_file", type=click.Path(path_type=Path), help="A plan.toml; what is typed here wins.")
@seconds_option(120)
@json_option
def bench(*, plan_file: Path | None, seconds: float, as_json: bool, **typed: Any) -> int:
    """Generate pairs for two minutes, through the gate and into a temporary store, and print one line to paste.

    The line says machine, model, backend, slots, tokens a second, and seconds for each kept pair.

    The aim on a MacBook Air with an M3 is under 10 s a pair from an 8B model in 4 bits. It is unproven until somebody
    with such a machine pastes this line into an issue; Raschka's Magpie notebook takes 31 s a pair.
    """
    import asyncio

    from localsynth.cli.narration import data, data_json, say
    from localsynth.cli.plan_flags import build_plan
    from localsynth.engine.calibrate import calibrate
    from localsynth.engine.perpair import per_pair

    plan = build_plan(typed | {"plan_file": plan_file})
    found = asyncio.run(calibrate(plan, seconds, say, lambda most: [most]))
    speed = found.speeds[-1]
    pair = per_pair(found, plan)
    if as_json:
        about = {"machine": _machine(), "model": found.model, "backend": found.backend}
        data_json(
            about | dataclasses.asdict(speed) | {"seconds_per_pair": pair.seconds(speed), "assumed": pair.assumed}
        )
    else:
        data(_line(found, speed, pair))
    return 0


def _line(found: Calibration, speed: Speed, pair: PerPair) -> str:
    from importlib.metadata import version

    from localsynth.printable import one_line

    low, middle, high = pair.seconds(speed)
    took = f"{middle:.2f} s a kept pair ({low:.2f} to {high:.2f})"
    parts = [f"localsynth {version('localsynth')}", _machine(), one_line(found.model, 60), found.backend]
    parts += [f"{speed.slots} slots", f"{speed.tokens_per_second:.0f} tokens/s", took]
    if pair.assumed:
        parts.append(f"assumed: {', '.join(pair.assumed)}")
    return " | ".join(parts)


def _machine() -> str:
    """What it is, not whose: no host name."""
    from localsynth import catalog

    here = catalog.machine()
    chip = platform.processor() or platform.machine()
    kind = "Apple silicon" if here.apple_silicon else chip
    return f"{platform.system()} {kind}, {here.cores} cores, {here.ram_gb:.0f} GB" + (", CUDA" if here.cuda else "")
