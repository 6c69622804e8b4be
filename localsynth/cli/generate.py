"""`localsynth generate`: the main verb. Writes a run into the store, starts its process and watches it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localsynth.cli.options import json_option, model_options, store_option

if TYPE_CHECKING:
    from localsynth.config import Plan


def _fit_or_forced(plan: Plan) -> Plan:
    """The plan as it is where its model is not known to be unfit; on a terminal a person may go on with one that is."""
    from localsynth.cli.narration import say
    from localsynth.engine.fitness import refuse_unfit
    from localsynth.errors import ModelError

    try:
        refuse_unfit(plan)
    except ModelError as error:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        say(error.message)
        if not click.confirm("Most of what it writes will be thrown away. Go on?", err=True):
            raise
        return replace(plan, force=True)
    return plan


@click.command(short_help="Make instruction-response pairs (the main verb).")
@click.option("-n", "--target", type=click.IntRange(1), help="Pairs to keep.  [default: 20]")
@click.option(
    "-m",
    "--model",
    help="Model that asks: a .gguf file, a folder, a catalogue name, or what a server calls it.  [default: starter]",
)
@click.option("--answer-model", help="Another model for the answers.")
@click.option(
    "--topics", help="Ready topics with weights: math,coding:2.  `localsynth generate --list-topics` shows them."
)
@click.option("--system", "systems", multiple=True, help="A system prompt of your own to steer by; may be repeated.")
@click.option("--language", help="Language of the questions, such as en or zh; others are rejected.  [default: any]")
@click.option("--turns", type=click.IntRange(1, 16), help="User turns per conversation.  [default: 1]")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), help="Run seed: the same seed, the same rows.  [default: random]"
)
@click.option("--preset", type=click.Choice(["air", "pro"]), help="The paper's mix of temperatures for the questions.")
@click.option("--temperature", type=float, help="Temperature of the questions.")
@click.option("--top-p", type=float, help="Top-p of the questions.")
@click.option("--answer-temperature", type=float, help="Temperature of the answers; 0 is greedy.")
@click.option("--question-tokens", type=click.IntRange(1), help="Longest question, in tokens.")
@click.option("--answer-tokens", type=click.IntRange(1), help="Longest answer, in tokens.")
@click.option("--instructions-only", is_flag=True, default=None, help="Write questions, no answers.")
@click.option(
    "--instructions", type=click.Path(path_type=Path), help="Answer the instructions in this file; ask nothing."
)
@click.option("--similarity", type=float, help="Cosine from which a question is a near duplicate.  [default: 0.975]")
@click.option("--encoder", help="Sentence encoder for near duplicates: a folder or a catalogue name.")
@click.option("--no-near-duplicates", is_flag=True, default=None, help="Compare exact texts only; loads no encoder.")
@click.option("--max-minutes", type=click.FloatRange(0), help="Finish what is in flight and stop after this time.")
@click.option("--max-tokens", type=click.IntRange(0), help="Finish what is in flight and stop after this many tokens.")
@click.option(
    "--max-attempts", type=click.IntRange(0), help="Questions to try at the most.  [default: 20 times the target]"
)
@click.option(
    "--slots", type=click.IntRange(1), help="Sequences generated at the same time.  [default: by the machine]"
)
@click.option("--context", type=click.IntRange(64), help="Tokens of context per sequence.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads.")
@click.option("--gpu-layers", type=click.IntRange(0), help="Layers on the GPU.")
@click.option("--tensor-parallel", type=click.IntRange(1), help="GPUs that share the model (vLLM).")
@click.option("--memory-share", type=click.FloatRange(0, 1), help="Part of the device's memory to use (vLLM, MLX).")
@click.option("--quantisation", help="How the model's weights are quantised, where its files do not say (vLLM).")
@model_options
@click.option("--plan", "plan_file", type=click.Path(path_type=Path), help="A plan.toml; what is typed here wins.")
@click.option("--name", help="A name for the run.")
@click.option("--force", is_flag=True, default=None, help="Go on with a model that is unfit for Magpie.")
@click.option("--detach", is_flag=True, help="Start the run and return; print its number.")
@click.option("--list-topics", is_flag=True, help="Show the ready topics and exit.")
@click.option("--print-plan", is_flag=True, help="Print the whole plan as TOML and exit.")
@store_option
@json_option
def generate(
    *, store: Path, as_json: bool, detach: bool, name: str | None, list_topics: bool, print_plan: bool, **typed: Any
) -> int:
    """Make instruction-response pairs: `localsynth generate -n 200 --model FILE.gguf --topics math,coding:2`.

    The model writes the questions itself, from nothing but its own pre-query template (Magpie, arXiv 2406.08464). Each
    question passes the gate before it is answered. Rows are committed as they come: a run that is stopped, killed or
    cut off goes on with `localsynth resume`.

    The first Ctrl-C finishes what is in flight and stops, the second stops at once, the third leaves the run alone.
    """
    from localsynth.cli.narration import data, data_json
    from localsynth.cli.plan_flags import build_plan, print_topics
    from localsynth.cli.watching import begin, follow
    from localsynth.config import plan_data
    from localsynth.engine import launch
    from localsynth.engine.lock import refuse_busy
    from localsynth.engine.plan_toml import plan_toml

    if list_topics:
        print_topics(str(typed["language"] or "en"), as_json=as_json)
        return 0
    plan = build_plan(typed)
    if print_plan:
        if as_json:
            data_json(plan_data(plan))
        else:
            data(plan_toml(plan).rstrip("\n"))
        return 0
    plan = _fit_or_forced(plan)
    # Before the run is written: one that cannot start would stand in the store for nothing.
    refuse_busy(store)
    run = launch.create(store, plan, name)
    process = launch.start(store, run)
    return begin(store, run, process, as_json=as_json) if detach else follow(store, run, process, as_json=as_json)
