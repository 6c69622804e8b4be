"""Verbs that concern rows: ls, show, replay."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localsynth.cli.options import json_option, store_option

if TYPE_CHECKING:
    from localsynth.store.rows import SampleRow


@click.command(short_help="List rows.")
@click.option("--run", "run_name", help="Only this run: a number, name or id.")
@click.option("--kept/--rejected", default=None, help="Only what is kept, or only what is rejected.")
@click.option("--rule", help="Only what this rule rejected, such as instruction.too_short.")
@click.option("--search", help="Only rows in which every one of these words occurs in one turn.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Rows at the most.")
@click.option("--newest", is_flag=True, help="The newest first.")
@store_option
@json_option
def ls(
    *, store: Path, run_name: str | None, kept: bool | None, rule: str | None, search: str | None, limit: int,
    newest: bool, as_json: bool,
) -> int:  # fmt: skip
    """List rows with their verdicts: id, why, the question, the answer."""
    from localsynth.cli.narration import data, data_json
    from localsynth.cli.panel import rule_name
    from localsynth.printable import fit, terminal_width
    from localsynth.store.queries import Reader

    with Reader.open(store) as reader:
        run = reader.run(run_name).id if run_name else None
        rows = reader.samples(
            run, kept=kept, rule=rule, search=search, limit=limit, order="newest" if newest else "oldest"
        )
        numbers = {each.id: each.number for each in reader.runs()}
    if as_json:
        data_json([_as_data(row, numbers[row.run]) for row in rows])
        return 0
    names = [f"{numbers[row.run]}:{row.index}" for row in rows]
    verdicts = [
        "kept" if row.kept else row.state if row.state != "done" else rule_name(row.rule or "review") for row in rows
    ]
    first, second = max(map(len, names), default=0), min(24, max(map(len, verdicts), default=0))
    room = max(40, terminal_width() - first - second - 6)
    for row, name, verdict in zip(rows, names, verdicts, strict=True):
        question, answer = fit(row.instruction, room * 3 // 5), fit(row.response, room - room * 3 // 5)
        data(f"{name:<{first}}  {fit(verdict, second)}  {question}  {answer}".rstrip())
    return 0


@click.command(short_help="Show one row in full.")
@click.argument("row_name", metavar="ROW")
@store_option
@json_option
def show(row_name: str, store: Path, *, as_json: bool) -> int:
    """Show ROW (`17` of the newest run, `RUN:17`, or a whole id): its turns, scores and where they come from."""
    from localsynth.cli.narration import data_json
    from localsynth.store.queries import Reader

    with Reader.open(store) as reader:
        row = reader.sample(reader.resolve_sample(row_name))
        number = reader.run(row.run).number
    if as_json:
        data_json(_as_data(row, number))
    else:
        _print_row(row, number)
    return 0


@click.command(short_help="Generate a row again and show the difference.")
@click.argument("row_name", metavar="ROW")
@store_option
@json_option
def replay(row_name: str, store: Path, *, as_json: bool) -> int:
    """Generate ROW again from what is stored (model, seed, sampling, the turns before) and show the difference.

    Exit code 0 when every turn came out the same, 1 when one did not.
    """
    from localsynth.cli.exits import Exit
    from localsynth.cli.narration import data, data_json, say
    from localsynth.engine.replay import replay_row
    from localsynth.printable import printable
    from localsynth.store.queries import Reader

    with Reader.open(store) as reader:
        row = reader.sample(reader.resolve_sample(row_name))
        run = reader.run(row.run)
    turns = replay_row(run, row)
    if as_json:
        data_json([dataclasses.asdict(turn) | {"same": turn.same} for turn in turns])
    else:
        for turn in turns:
            say(f"turn {turn.position} ({turn.role}, seed {turn.seed}): {'the same' if turn.same else 'different'}")
            for line in turn.diff():
                data(printable(line))
    return Exit.OK if all(turn.same for turn in turns) else Exit.ERROR


def _as_data(row: SampleRow, number: int) -> dict[str, Any]:
    return dataclasses.asdict(row) | {"name": f"{number}:{row.index}"}


def _print_row(row: SampleRow, number: int) -> None:
    from localsynth.cli.narration import data
    from localsynth.cli.panel import rule_name
    from localsynth.printable import one_line, printable

    verdict = (
        "kept" if row.kept else f"rejected by {rule_name(row.rule or 'review')}" if row.state == "done" else row.state
    )
    data(f"{number}:{row.index}  {verdict}")
    for turn, message in zip(row.turns, row.messages, strict=True):
        about = [turn.model or "", f"seed {turn.seed}" if turn.seed is not None else ""]
        about += [f"{turn.completion_tokens} tokens" if turn.completion_tokens is not None else ""]
        about += [turn.finish_reason or "", f"cleaned by {', '.join(turn.rules)}" if turn.rules else ""]
        data(f"\n--- {turn.role} ({'; '.join(one_line(part, 80) for part in about if part)})")
        if turn.thinking:
            data(f"[thinking] {printable(turn.thinking)}\n")
        data(printable(message.content))
    if row.error:
        data(f"\nerror: {printable(row.error)}")
    data("\n--- scores")
    for score in row.scores:
        value = "" if score.value is None else f"{score.value:.3g}"
        mark = {True: "ok", False: "FAIL", None: ""}[score.passed]
        data(f"{rule_name(score.name):<32} {mark:<5} {value:>8}  {one_line(score.reason, 80)}")
        if score.detail and score.passed is False:
            data(f"{'':<32} {one_line(score.detail, 120)}")
