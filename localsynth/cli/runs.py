"""Verbs that concern runs: run, pause, resume, stop, status."""

from __future__ import annotations

import time
from pathlib import Path

import click

from localsynth.cli.options import json_option, store_option

_RUN = click.argument("run_name", metavar="[RUN]", required=False)


@click.command("run", short_help="Carry a run out in this process.")
@_RUN
@store_option
def run(run_name: str | None, store: Path) -> int:
    """Carry RUN (a number, name or id; the newest without one) out in this process, from wherever it stands.

    This is what `generate` and `resume` start in the background. It prints a line every few seconds. Ctrl-C finishes
    what is in flight and stops; a second one stops at once.
    """
    from localsynth.cli.exits import Exit
    from localsynth.cli.narration import say
    from localsynth.cli.panel import status_line
    from localsynth.engine import runner

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
@store_option
@json_option
def resume(run_name: str | None, store: Path, *, detach: bool, as_json: bool) -> int:
    """Go on with RUN (the newest without one) and watch it. Rows that are in the store are never made again."""
    from localsynth.cli.narration import say
    from localsynth.cli.watching import follow
    from localsynth.engine import launch

    row = launch.newest(store, run_name)
    if launch.alive(store, row.id):
        launch.tell(store, row.id, "resume")
        return 0 if detach else follow(store, row.id, None, as_json=as_json)
    if row.state == "finished":
        say(f"run {row.number} is finished already; for more: localsynth generate")
        return 0
    process = launch.start(store, row.id)
    return 0 if detach else follow(store, row.id, process, as_json=as_json)


@click.command("status", short_help="Show the runs of a store.")
@_RUN
@click.option("--watch", is_flag=True, help="Follow RUN, or the newest run, until it ends.")
@store_option
@json_option
def status(run_name: str | None, store: Path, *, watch: bool, as_json: bool) -> int:
    """Show all runs, or RUN in full."""
    from localsynth.cli.narration import data, data_json
    from localsynth.cli.watching import follow, progress_of, summary
    from localsynth.engine import launch
    from localsynth.store.queries import Reader

    if watch:
        return follow(store, launch.newest(store, run_name).id, None, as_json=as_json)
    with Reader.open(store) as reader:
        rows = [reader.run(run_name)] if run_name else reader.runs()
        found = [summary(store, row, progress_of(reader, row.id)) for row in rows]
    if as_json:
        data_json(found)
    elif run_name:
        for key, value in found[0].items():
            data(f"{key:<20} {_short(value)}")
    else:
        for each in found:
            rate = f"{each['tokens_per_second']:.0f} tokens/s" if each.get("tokens_per_second") else ""
            kept = f"{each['kept']:>7}/{each['target']:<7}"
            data(f"{each['run']:>4}  {each['state']:<9} {kept} {_short(each['model']):<28} {rate}")
    return 0


def _short(value: object) -> str:
    from localsynth.printable import one_line

    return one_line("" if value is None else str(value), 100)


def _tell(store: Path, run_name: str | None, verb: str, what: str) -> int:
    from localsynth.cli.exits import Exit
    from localsynth.cli.narration import say
    from localsynth.engine import launch

    row = launch.newest(store, run_name)
    if not launch.alive(store, row.id):
        say(f"run {row.number} is not running: it is {launch.true_state(store, row)}")
        return Exit.ERROR
    launch.tell(store, row.id, verb)  # type: ignore[arg-type]
    say(f"run {row.number} {what}")
    if verb != "pause":
        _wait(store, row.id)
    return Exit.OK


def _wait(store: Path, run: str, seconds: float = 600) -> None:
    """Return when the run's process has left, so that the next command finds the store free."""
    from localsynth.engine import launch

    end = time.monotonic() + seconds
    while launch.alive(store, run) and time.monotonic() < end:
        time.sleep(0.1)
