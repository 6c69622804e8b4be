"""Verbs that concern runs: run, pause, resume, stop, status."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localsynth.cli.options import json_option, model_options, store_option

if TYPE_CHECKING:
    from localsynth.store.rows import Verb

_PATIENCE = 600.0  # seconds in which a run must have left
_RUN = click.argument("run_name", metavar="[RUN]", required=False)


@click.command("run", short_help="Carry a run, or one shard of a packed job, out in this process.")
@click.argument("run_name", metavar="[RUN|FOLDER]", required=False)
@click.option("--shard", metavar="I/K", help="Take the argument for a packed job's folder and carry out this shard.")
@click.option("--out", type=click.Path(path_type=Path), help="Where the shard's store goes.  [default: FOLDER/shards]")
@click.option("-m", "--model", help="With --shard: the model's file, folder or name here.  [default: the packed one]")
@click.option("--answer-model", help="With --shard: another model for the answers.")
@click.option("--slots", type=click.IntRange(1), help="With --shard: sequences generated at the same time.")
@click.option("--tensor-parallel", type=click.IntRange(1), help="With --shard: GPUs that share the model (vLLM).")
@model_options
@store_option
def run(run_name: str | None, store: Path, *, shard: str | None, out: Path | None, **typed: Any) -> int:
    """Carry RUN (a number, name or id; the newest without one) out in this process, from wherever it stands.

    This is what `generate` and `resume` start in the background. It prints a line every few seconds. Ctrl-C finishes
    what is in flight and stops; a second one stops at once.

    With --shard I/K it carries out one part of a job that `localsynth handoff pack` wrote into FOLDER. The same command
    goes on where it stopped.
    """
    from localsynth.cli.exits import Exit
    from localsynth.cli.narration import say
    from localsynth.cli.panel import status_line
    from localsynth.engine import runner

    if shard is not None:
        from localsynth.cli.shards import run_shard

        if not run_name:
            raise click.UsageError("--shard needs the folder of a packed job: localsynth run FOLDER --shard I/K")
        return run_shard(Path(run_name).expanduser().absolute(), shard, out, typed)
    if given := [name for name, value in {"out": out, **typed}.items() if value not in (None, ())]:
        raise click.UsageError(f"--{given[0].replace('_', '-')} goes with --shard")
    state, reason = runner.run(store, run_name, lambda row, progress: say(status_line(row, progress)))
    say(f"{state}{': ' + reason if reason else ''}")
    return Exit.OK if state == "finished" else Exit.INCOMPLETE


@click.command("pause", short_help="Let a run start nothing new until it is resumed.")
@_RUN
@store_option
def pause(run_name: str | None, store: Path) -> int:
    """Let RUN finish what is in flight and start nothing new until `localsynth resume`. Its model stays loaded."""
    return _tell(store, run_name, "pause", "pauses once what is in flight is finished")


@click.command("stop", short_help="End a run; it can be resumed.")
@_RUN
@click.option("--now", is_flag=True, help="Drop what is in flight instead of finishing it.")
@store_option
def stop(run_name: str | None, store: Path, *, now: bool) -> int:
    """End RUN's process: finish what is in flight, start nothing new. `localsynth resume` goes on later."""
    if now:
        return _tell(store, run_name, "cancel", "stops at once")
    return _tell(store, run_name, "drain", "stops once what is in flight is finished")


@click.command("resume", short_help="Go on with a run that was paused, stopped, killed or failed.")
@_RUN
@click.option("--detach", is_flag=True, help="Return at once.")
@click.option("--force", is_flag=True, help="From now on, go on though the model is unfit for Magpie.")
@store_option
@json_option
def resume(run_name: str | None, store: Path, *, detach: bool, force: bool, as_json: bool) -> int:
    """Go on with RUN (the newest without one) and watch it. Rows that are in the store are never made again."""
    from localsynth.cli.narration import data_json, say
    from localsynth.cli.watching import begin, follow, summary
    from localsynth.engine import launch
    from localsynth.store.queries import Reader

    row = launch.newest(store, run_name)
    running, process = launch.alive(store, row.id), None
    if force and not running:
        launch.force(store, row)
    if running:
        launch.tell(store, row.id, "resume")
    elif row.state == "finished":
        say(f"run {row.number} is finished already; for more: localsynth generate")
    else:
        process = launch.start(store, row.id)
    if (running or process) and not detach:
        return follow(store, row.id, process, as_json=as_json)
    if process:
        return begin(store, row.id, process, as_json=as_json)
    if as_json:
        with Reader.open(store) as reader:
            data_json(summary(store, reader, row))
    return 0


@click.command("status", short_help="Show the runs of a store.")
@_RUN
@click.option("--watch", is_flag=True, help="Follow RUN, or the newest run, until it ends.")
@store_option
@json_option
def status(run_name: str | None, store: Path, *, watch: bool, as_json: bool) -> int:
    """Show all runs, or RUN in full."""
    from localsynth.cli.narration import data, data_json
    from localsynth.cli.watching import follow, summary
    from localsynth.engine import launch
    from localsynth.store.queries import Reader

    if watch:
        return follow(store, launch.newest(store, run_name).id, None, as_json=as_json)
    with Reader.open(store) as reader:
        rows = [reader.run(run_name)] if run_name else reader.runs()
        found = [summary(store, reader, row) for row in rows]
    if as_json:
        data_json(found)
    elif run_name:
        for line in _details(found[0]):
            data(line)
    else:
        for each in found:
            data(_line(each))
    return 0


def _line(found: Mapping[str, Any]) -> str:
    """One run on one line; the model's name gets what is left of the width."""
    from localsynth.printable import fit, terminal_width

    imported = found["method"] == "import"
    unit = "row" if found["kept"] == 1 else "rows"
    kept = f"{found['kept']:>7} {unit}" if imported else f"{found['kept']:>7} of {found['target']:<7}"
    what = "imported" if imported else found["model"] or "the starter"
    rate = f"{found['tokens_per_second']:.0f} tokens/s" if found["state"] in {"running", "paused"} else ""
    head = f"{found['run']:>4}  {found['state']:<8} {kept:<19} "
    room = max(12, terminal_width() - len(head) - len(rate) - 1)
    return f"{head}{fit(what, room)} {rate}".rstrip()


def _details(found: Mapping[str, Any]) -> Iterator[str]:
    """One run on a few lines, without what is empty; figures of this moment only where there is a process."""
    from localsynth.cli.panel import duration, rule_name
    from localsynth.printable import one_line, terminal_width

    moving = ("answering", "waiting", "slots_used", "slots", "tokens_per_second", "eta_low", "eta_high", "live")
    hidden = {"rejected", "run", "latest", "pace", *(() if found["state"] in {"running", "paused"} else moving)}
    yield f"{'run':<18} {found['run']}"
    for key, value in found.items():
        if value in (None, "") or key in hidden:
            continue
        shown = value
        if key in {"elapsed", "eta_low", "eta_high"}:
            shown = duration(value)
        elif key == "duplicate_rate":
            shown = f"{value:.1%}"
        yield f"{key.replace('_', ' '):<18} {one_line(str(shown), max(20, terminal_width() - 19))}"
    for rule, count in sorted(found["rejected"].items(), key=lambda item: -item[1]):
        yield f"{'rejected':<18} {count:>6}  {rule_name(rule)}"


def _tell(store: Path, run_name: str | None, verb: Verb, what: str) -> int:
    from localsynth.cli.exits import Exit
    from localsynth.cli.narration import say
    from localsynth.engine import launch

    row = launch.newest(store, run_name)
    if not launch.alive(store, row.id):
        say(f"run {row.number} is not running: it is {launch.true_state(store, row)}")
        return Exit.ERROR
    launch.tell(store, row.id, verb)
    say(f"run {row.number} {what}")
    if verb != "pause" and not _left(store, row.id):
        say(f"it is still at work after {_PATIENCE / 60:.0f} minutes")
        say("  next: localsynth stop --now")
        return Exit.ERROR
    return Exit.OK


def _left(store: Path, run: str) -> bool:
    """Wait for the run's process to leave, so that the next command finds the store free."""
    from localsynth.engine import launch

    end = time.monotonic() + _PATIENCE
    while launch.alive(store, run) and time.monotonic() < end:
        time.sleep(0.1)
    return not launch.alive(store, run)
