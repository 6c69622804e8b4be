"""Data in and out of the store: export and import."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localsynth.cli.options import json_option, store_option

if TYPE_CHECKING:
    from localsynth.cli.import_rows import Imported
    from localsynth.export import ExportResult

# As `localsynth.export.formats()` has them; written out so that `--help` loads none of it.
FORMATS = ("openai", "sharegpt", "alpaca", "magpie", "mlx-lora", "xtuner", "llama-factory", "trl", "parquet")
_EVERY = 2.0  # seconds between lines of progress


@click.command("export", short_help="Write rows for a trainer.")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option(
    "-f", "--format", "fmt", type=click.Choice(FORMATS), default="openai", show_default=True, help="As listed above."
)
@click.option("--run", "run_name", help="Only this run: a number, name or id.  [default: all runs]")
@click.option("--all", "everything", is_flag=True, help="Rejected rows too, not only what is kept.")
@click.option("--answered/--instructions", default=None, help="Only rows with an answer, or only those without.")
@click.option("--search", help="Only rows in which every one of these words occurs in one turn.")
@click.option("--limit", type=click.IntRange(1), help="Rows at the most.")
@click.option(
    "--split", is_flag=True, help="A folder with train, valid and test.jsonl, near-duplicates in one of them."
)
@click.option("--thinking", is_flag=True, help="Put a model's reasoning before its answer, in <think> tags.")
@click.option("--force", is_flag=True, help="Overwrite what is there.")
@store_option
@json_option
def export_command(
    *, store: Path, path: Path | None, fmt: str, run_name: str | None, everything: bool, answered: bool | None,
    search: str | None, limit: int | None, split: bool, thinking: bool, force: bool, as_json: bool,
) -> int:  # fmt: skip
    """Write what is kept to PATH, with a dataset card beside it.

    \b
    openai         JSONL of messages, read by nearly every trainer
    sharegpt       JSONL of conversations (from, value)
    alpaca         JSONL of instruction, input, output, system, history
    magpie         JSONL in the row schema of the published Magpie data
    mlx-lora       folder for mlx_lm.lora: train, valid, test without shared near-duplicates
    xtuner         JSON array of conversations (system, input, output)
    llama-factory  folder with data.jsonl and dataset_info.json
    trl            JSONL of conversational prompt and completion
    parquet        everything a row knows: messages, models, sampling, seeds, scores

    Prints the path; the default is localsynth-FORMAT in the current folder. With --split, which goes with JSONL, a
    tenth of the rows each is for valid and for test. Ended before its end, it leaves nothing behind.
    """
    from importlib.metadata import version

    from localsynth.cli.ending import ending_cleanly
    from localsynth.cli.narration import say
    from localsynth.engine.exporting import RowStream, Selection, command_line, thinking_words
    from localsynth.engine.tally import unjudged
    from localsynth.export import check_target, export, find
    from localsynth.store.queries import Reader

    form = find(fmt, split=split)
    target = path or Path(f"localsynth-{fmt}{form.suffix}")
    check_target(target, fmt, force=force, split=split)
    with ending_cleanly(), Reader.open(store) as reader:
        if waiting := reader.uncompared():
            say(f"{waiting} rows come from a merge that was cut off; duplicates may be among those that are exported")
            say(f"  next: give the same merge again, localsynth merge {store} SHARD.db ..., then export again")
        run = reader.run(run_name) if run_name else None
        if count := unjudged(store, run.id if run else None):
            say(f"{count} rows are not judged by the thresholds in force, which the card names")
            say(f"  next: localsynth threshold apply --store {store}, then export again")
        selection = Selection(run.id if run else None, everything, answered, search, limit)
        pace = _Pace(0.5 if as_json else _EVERY)
        stream = RowStream(
            reader,
            selection,
            scored=form.scored,
            on_row=lambda count: pace.say(json.dumps({"rows": count}) if as_json else f"{count} rows written so far"),
        )
        command = command_line(target.name, store.name, fmt, selection, thinking=thinking, split=split)
        said = thinking_words(thinking=thinking)
        result = export(
            stream,
            fmt,
            target,
            lambda: stream.card(target.name, command, version("localsynth"), said),
            include_thinking=thinking,
            force=force,
            split=split,
        )
    _note_export(store, target, result, asdict(selection))
    say(f"{result.count} rows as {fmt}; card in {result.card}")
    _print_export(result, target, as_json=as_json)
    return 0


def _note_export(store: Path, target: Path, result: ExportResult, query: dict[str, object]) -> None:
    """In the store; an export from a store that cannot be written is an export all the same."""
    from localsynth.cli.narration import say
    from localsynth.errors import StoreError
    from localsynth.store.store import Store

    try:
        with Store.open(store, create=False) as opened:
            opened.add_export(
                path=str(target.absolute()),
                export_format=result.format,
                query=query,
                count=result.count,
                sha256=result.sha256,
            )
    except StoreError as error:
        say(f"the store keeps no note of this export: {error.message}")


def _print_export(result: ExportResult, target: Path, *, as_json: bool) -> None:
    from localsynth.cli.narration import data, data_json

    if not as_json:
        data(str(target))
        return
    data_json(
        {
            "format": result.format,
            "path": str(target.absolute()),
            "files": [str(path.absolute()) for path in result.paths],
            "card": str(result.card.absolute()),
            "count": result.count,
            "sha256": result.sha256,
        }
    )


@click.command("import", short_help="Read rows from a file, a folder or the Hub.")
@click.argument("source")
@click.option("--name", help="A name for the run that will hold the rows.")
@store_option
@json_option
def import_command(*, store: Path, source: str, name: str | None, as_json: bool) -> int:
    """Read SOURCE into the store: a file, a folder, or hf:OWNER/NAME[@REVISION][:FILE] from the Hub.

    The shape is found out: OpenAI messages, ShareGPT, Alpaca, Magpie, TRL, XTuner, Parquet, WildChat, UltraChat, BELLE,
    Evol-Instruct, preference pairs (DPO), labelled answers (KTO), tool calls, instructions alone, and .txt with one
    instruction a line; also as .gz.

    Prints the number of the run that holds the rows. The same content imported again adds nothing. Lines that cannot
    be used are listed, the rest is imported, and the exit code is 5.
    """
    from localsynth.cli.exits import Exit
    from localsynth.cli.import_rows import import_into
    from localsynth.cli.narration import data, data_json

    pace = _Pace()
    done = import_into(store, source, name=name, progress=lambda so_far: pace.say(f"{so_far.added} rows read so far"))
    _tell(done)
    if as_json:
        data_json(asdict(done))
    else:
        data(str(done.number))
    return Exit.DATA if done.bad else Exit.OK


def _tell(done: Imported) -> None:
    from localsynth.cli.narration import say

    if done.already:
        say(f"run {done.number} holds this content already; nothing was added")
        return
    parts = [f"{done.answered} with answers"]
    parts += [f"{done.pairs} preference pairs"] if done.pairs else []
    parts += [f"{done.rejected} rejected by their label"] if done.rejected else []
    say(f"run {done.number}: {done.added} rows imported ({', '.join(parts)})")
    for line in done.bad_lines:
        say(f"  {line.source}, line {line.line}: {line.reason}")
    if done.bad > len(done.bad_lines):
        say(f"  and {done.bad - len(done.bad_lines)} more")
    if done.bad:
        say(f"{done.bad} lines were left out; mend them and import the file again as a new run")


class _Pace:
    """Says how far a long job is, every few seconds."""

    def __init__(self, every: float = _EVERY) -> None:
        self._every = every
        self._next = time.monotonic() + every

    def say(self, text: str) -> None:
        """Say it when it is time."""
        if (now := time.monotonic()) >= self._next:
            from localsynth.cli.narration import say

            self._next = now + self._every
            say(text)
