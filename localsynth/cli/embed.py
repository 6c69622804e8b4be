"""`localsynth embed`: vectors for rows that have none."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localsynth.cli.options import json_option, store_option

if TYPE_CHECKING:
    from localsynth.engine.embed import EmbedProgress

_EVERY = 2.0  # seconds between lines of progress


@click.command("embed", short_help="Compute the embeddings that rows lack.")
@click.option("--run", "run_name", help="Only this run: a number, name or id.  [default: all runs]")
@click.option(
    "--encoder",
    help="A folder, a catalogue name, or char-2-4, which needs no model.  [default: the newest run's]",
)
@store_option
@json_option
def embed(*, store: Path, run_name: str | None, encoder: str | None, as_json: bool) -> int:
    """Embed the first question of every finished row that has no embedding: imported rows, rejected rows, and those
    of runs whose gate looks for no near duplicates.

    The map shows rows that have an embedding, and the gate compares new questions with those of admitted rows. A text
    that the encoder cannot read is embedded by its characters (char-2-4), as in the gate. Each batch is stored at once:
    an embed that was ended goes on where it stopped. Prints how many rows were embedded.
    """
    from localsynth.cli.narration import data, data_json, say
    from localsynth.engine.embed import embed as embed_rows

    done = embed_rows(store, encoder=encoder, run=run_name, told=_Said().told)
    apart = f", {done.by_characters} by characters, which it cannot read" if done.by_characters else ""
    say(f"{done.rows} rows embedded by {done.encoder}{apart}, in {done.seconds:.0f} s")
    if as_json:
        data_json(asdict(done))
    else:
        data(str(done.rows + done.by_characters))
    return 0


class _Said:
    """Says how far it is every few seconds, and at once what there is to do."""

    def __init__(self) -> None:
        self._next = 0.0

    def told(self, progress: EmbedProgress) -> None:
        from localsynth.cli.narration import say
        from localsynth.cli.panel import duration

        if time.monotonic() < self._next or progress.done == progress.total:
            return
        self._next = time.monotonic() + _EVERY
        if progress.left is None:
            say(f"{progress.total} rows have no embedding by {progress.encoder}")
        else:
            rate = progress.done / progress.seconds if progress.seconds else 0.0
            say(f"{progress.done} of {progress.total} rows, {rate:.0f} a second, {duration(progress.left)} left")
