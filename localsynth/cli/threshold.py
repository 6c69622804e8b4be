"""`localsynth threshold`: what the filters screen does, for scripts."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localsynth.cli.options import json_option, store_option

if TYPE_CHECKING:
    from localsynth.config.thresholds import Threshold
    from localsynth.engine.tally import Table
    from localsynth.store.thresholds import Change

_dry_option = click.option("--dry-run", is_flag=True, help="Only say how many rows would be kept; write nothing.")


@click.group(short_help="Put bounds on scores, and count what they keep.")
def threshold() -> None:
    """Put bounds on scores: rows outside them are rejected, and everything can be taken back.

    Nothing is computed anew: the stored values decide. A rule's own word and a person's verdict stay.
    """


@threshold.command("list", short_help="Show the scores with their bounds.")
@store_option
@json_option
def list_command(*, store: Path, as_json: bool) -> int:
    """Show every score that can be bounded: its span, the bounds in force, how many rows it rejects."""
    from localsynth.cli.narration import data, data_json, say
    from localsynth.engine.tally import read_table

    table = read_table(store)
    tally = table.now
    found = [_entry(table, name, tally.rejected[name]) for name in table.measures]
    if as_json:
        data_json({"done": tally.done, "kept": tally.kept, "not_judged": table.strays, "scores": found})
        return 0
    width = max((len(each["score"]) for each in found), default=0)
    for each in found:
        span = f"{each['least']:.4g} to {each['most']:.4g}"
        bounds = table.force_words(each["score"])
        data(f"{each['score']:<{width}}  {span:<18}  {bounds:<20}  {each['rejected']} rejected")
    say(f"{tally.kept} of {tally.done} rows are kept")
    if table.strays or table.waiting:
        say(f"{table.strays} rows are not judged by the bounds in force: localsynth threshold apply")
    return 0


@threshold.command("set", short_help="Set the bounds of a score, or a preset's, and judge all rows.")
@click.argument("score", required=False)
@click.option("--low", type=float, help="The lowest value that passes.")
@click.option("--high", type=float, help="The highest value that passes.")
@click.option("--preset", help="Take the bounds of a preset instead: see `localsynth threshold presets`.")
@click.option(
    "--plan", "plan_file", type=click.Path(path_type=Path), help="Save into this plan.toml; the store stays as it is."
)
@_dry_option
@store_option
@json_option
def set_command(
    *, store: Path, score: str | None, low: float | None, high: float | None, preset: str | None,
    plan_file: Path | None, dry_run: bool, as_json: bool,
) -> int:  # fmt: skip
    """Let only rows pass whose SCORE lies from --low to --high: `localsynth threshold set instruction.length --low 5`.

    A bound that is not given is open. Prints how many rows are kept then.
    """
    from localsynth.config.thresholds import Threshold
    from localsynth.filters.presets import find_preset

    if (score is None) == (preset is None) or (score is not None and low is None and high is None):
        raise click.UsageError("name a score with --low, --high or both, or a --preset")
    if preset is not None and not (low is None and high is None):
        raise click.UsageError("a preset has bounds of its own: leave out --low and --high")
    if not all(math.isfinite(bound) for bound in (low, high) if bound is not None):
        raise click.UsageError("a bound is a finite number: leave one out where it is open")
    wanted = {score: Threshold(low, high)} if score is not None else dict(find_preset(preset or "").thresholds)
    if plan_file is not None:
        return _save(plan_file, wanted, dry_run=dry_run, as_json=as_json)
    return _change(store, wanted, preset or "you", dry_run=dry_run, as_json=as_json, strict=preset is None)


@threshold.command("clear", short_help="Take the bounds of scores away, or all of them.")
@click.argument("scores", nargs=-1)
@_dry_option
@store_option
@json_option
def clear_command(*, store: Path, scores: tuple[str, ...], dry_run: bool, as_json: bool) -> int:
    """Take the bounds of SCORES away, of all scores where none is named: the rules' own words count again."""
    from localsynth.config.thresholds import Threshold
    from localsynth.engine.tally import read_table

    table = read_table(store, only=())
    wanted = {name: Threshold() for name in scores or sorted(table.governed)}
    return _change(store, wanted, "you", dry_run=dry_run, as_json=as_json)


@threshold.command("undo", short_help="Take back what was set last.")
@store_option
@json_option
def undo_command(*, store: Path, as_json: bool) -> int:
    """Take back what was set last, and judge its rows as before; again and again, back to the beginning."""
    from localsynth.cli.narration import say
    from localsynth.engine.judging import judge
    from localsynth.store.thresholds import Thresholds

    with Thresholds(store) as thresholds:
        say(f"taken back: {', '.join(thresholds.undo())}")
        judge(thresholds, _pace())
    return _tell(store, as_json=as_json)


@threshold.command("apply", short_help="Judge rows that are not judged by the bounds in force.")
@store_option
@json_option
def apply_command(*, store: Path, as_json: bool) -> int:
    """Judge rows by the bounds in force: those that a merge brought, or where judging was cut off."""
    from localsynth.engine.judging import judge
    from localsynth.engine.tally import read_table
    from localsynth.store.thresholds import Thresholds

    table = read_table(store, only=())
    with Thresholds(store) as thresholds:
        thresholds.again(sorted({*table.waiting, *table.governed}))
        judge(thresholds, _pace())
    return _tell(store, as_json=as_json)


@threshold.command("presets", short_help="Show ready sets of bounds with their sources.")
@json_option
def presets_command(*, as_json: bool) -> int:
    """Show ready sets of bounds: what each bounds, and where its figures come from."""
    from localsynth.cli.narration import data, data_json
    from localsynth.filters.presets import presets

    if as_json:
        data_json([_preset(each.id, each.title, each.source, each.thresholds) for each in presets()])
        return 0
    for each in presets():
        data(f"{each.id}: {each.title}")
        for name, bounds in each.thresholds.items():
            data(f"  {name} {bounds.words()}")
        data(f"  source: {each.source}")
    return 0


def _change(
    store: Path, wanted: Mapping[str, Threshold], source: str, *, dry_run: bool, as_json: bool, strict: bool = True
) -> int:
    """Put thresholds in force and judge the rows, or only count."""
    from localsynth.cli.narration import say
    from localsynth.engine.judging import judge
    from localsynth.engine.tally import read_table
    from localsynth.store.queries import Reader
    from localsynth.store.thresholds import Change, Thresholds

    table = read_table(store, only=wanted)
    _check(table, wanted, strict=strict)
    now, then = table.now, table.tally(wanted)
    if len(then.fresh):
        with Reader.open(store) as reader:
            unanswered = reader.unanswered(then.fresh.tolist())
        if unanswered:
            say(f"{unanswered} rows that were rejected have no answer: the gate had stopped before it")
    if dry_run:
        _print(now.done, then.kept, now.kept, wanted, as_json=as_json)
        return 0
    changes: Sequence[Change] = [Change(name, bounds) for name, bounds in wanted.items()]
    with Thresholds(store) as thresholds:
        thresholds.put(changes, source)
        judge(thresholds, _pace())
    _print(now.done, then.kept, now.kept, wanted, as_json=as_json)
    return 0


def _check(table: Table, wanted: Mapping[str, Threshold], *, strict: bool) -> None:
    """PlanError for bounds that cross; NotFound for a score that no row has, where that is not allowed."""
    from localsynth.cli.narration import say
    from localsynth.config.thresholds import measure_of
    from localsynth.errors import NotFound, PlanError

    for name, bounds in wanted.items():
        if bounds.low is not None and bounds.high is not None and bounds.low > bounds.high:
            raise PlanError(f"the low bound of {name} is above its high bound", "change one of them")
        if name in table.measures or (bounds.open and name in table.governed):
            continue
        if not strict:
            say(f"no row here has a value of {name}")
            continue
        whole = measure_of(name, 0.5)
        near = [whole] if whole in table.measures else difflib.get_close_matches(name, table.measures, n=1)
        hint = f"did you mean {near[0]}?" if near else "`localsynth threshold list` shows those that there are"
        raise NotFound(f"no rows here differ in a score {name}", hint)


def _save(path: Path, wanted: Mapping[str, Threshold], *, dry_run: bool, as_json: bool) -> int:
    from localsynth.cli.narration import data, data_json, say
    from localsynth.config.plan_file import save_thresholds

    if not dry_run:
        save_thresholds(path, wanted)
        say(f"saved; localsynth generate --plan {path.name} uses it")
    if as_json:
        data_json({"plan": str(path.absolute()), "thresholds": _bounds(wanted)})
    else:
        data(str(path))
    return 0


def _tell(store: Path, *, as_json: bool) -> int:
    from localsynth.engine.tally import read_table

    tally = read_table(store, only=()).now
    _print(tally.done, tally.kept, None, {}, as_json=as_json)
    return 0


def _print(done: int, kept: int, before: int | None, wanted: Mapping[str, Threshold], *, as_json: bool) -> None:
    from localsynth.cli.narration import data, data_json, say

    if as_json:
        data_json({"done": done, "kept": kept, "kept_before": before, "thresholds": _bounds(wanted)})
        return
    say(f"{kept} of {done} rows are kept" + ("" if before is None else f", {kept - before:+d}"))
    data(str(kept))


def _entry(table: Table, name: str, rejected: int) -> dict[str, Any]:
    axis, bounds = table.axis(name), table.in_force(name)
    ends = {"least": axis.least, "most": axis.most, "low": bounds.low, "high": bounds.high}
    return {"score": name, **ends, "differs_by_run": table.differs(name), "rejected": rejected}


def _preset(name: str, title: str, source: str, thresholds: Mapping[str, Threshold]) -> dict[str, Any]:
    return {"id": name, "title": title, "source": source, "thresholds": _bounds(thresholds)}


def _bounds(thresholds: Mapping[str, Threshold]) -> dict[str, dict[str, float | None]]:
    return {name: {"low": bounds.low, "high": bounds.high} for name, bounds in thresholds.items()}


def _pace() -> Any:
    """Says how far judging is, every few seconds; it is never told to stop."""
    import time

    from localsynth.cli.narration import say

    began = last = time.monotonic()

    def told(done: int, total: int) -> bool:
        nonlocal last
        if (now := time.monotonic()) >= last + 2.0:
            last = now
            say(f"judged {100 * done // total} %, about {(now - began) * (total - done) / done:.0f} s left")
        return False

    return told
