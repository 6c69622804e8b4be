"""What the export screen shows of the store: one row as it will be written, how many there are, the card, past exports.

Runs on worker threads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from localsynth.engine.exporting import RowStream, command_line, count_rows, thinking_words
from localsynth.engine.tally import unjudged
from localsynth.errors import DataError
from localsynth.export import ExportResult, find, line
from localsynth.export.card import card_path, render
from localsynth.store import Reader, RunRow
from localsynth.store.rows import ExportRow
from localsynth.tui.export_choices import Choices

_CARD_ROWS = 300  # rows that a draft of the card is made from
_PAST = 50


@dataclass(frozen=True, slots=True)
class Preview:
    """One row. `sample`: its id, None behind the last one. `fault`: why this format cannot hold it."""

    sample: int | None = None
    where: str = ""
    line: str = ""
    fault: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """The runs that there are, newest first, and the exports, newest first."""

    runs: tuple[RunRow, ...] = ()
    exports: tuple[ExportRow, ...] = ()


def preview(store: Path, choices: Choices, after: int | None) -> Preview:
    """The first row of an export, or the one behind the row `after`."""
    if not store.exists():
        return Preview()
    with Reader.open(store) as reader:
        scored = find(choices.format, split=choices.parts).scored
        selection = replace(choices.selection, limit=None)
        row = next(iter(RowStream(reader, selection, scored=scored, after=after, page=10)), None)
        if row is None:
            return Preview()
        where = f"run {reader.run(row.run).number}, row {row.index}"
    try:
        return Preview(row.id, where, line(row, choices.format, include_thinking=choices.thinking))
    except DataError as error:
        return Preview(row.id, where, "", error.message, error.hint)


def count(store: Path, choices: Choices) -> int:
    """How many rows would be written now."""
    if not store.exists():
        return 0
    with Reader.open(store) as reader:
        return count_rows(reader, choices.selection)


def draft_card(store: Path, choices: Choices, rows: int) -> str:
    """The card as it would be, with what only writing shows left open."""
    if not store.exists():
        return ""
    target = choices.target
    form = find(choices.format, split=choices.parts)
    with Reader.open(store) as reader:
        stream = RowStream(reader, choices.selection, scored=False)
        read = sum(1 for _ in islice(stream, _CARD_ROWS))
        command = command_line(
            target.name, store.name, choices.format, choices.selection, thinking=choices.thinking, split=choices.parts
        )
        source = stream.card(target.name, command, version("localsynth"), thinking_words(thinking=choices.thinking))
    result = ExportResult(choices.format, (), card_path(target, folder=not form.suffix), rows, "")
    open_ = "Not written yet: files and digests follow"
    part = f"; runs, models and languages are those of the first {read} rows" if read < rows else ""
    return f"{open_}{part}.\n\n{render(source, result, ())}"


def written_card(path: str) -> str:
    """The card of an export; what is wrong with it where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return f"{path} cannot be read: {error}"


def not_judged(store: Path) -> int:
    """How many rows are not judged by the thresholds that a card names."""
    return unjudged(store) if store.exists() else 0


def past(store: Path) -> Past:
    """What there was."""
    if not store.exists():
        return Past()
    with Reader.open(store) as reader:
        return Past(tuple(reader.runs()[::-1]), tuple(reader.exports()[: -_PAST - 1 : -1]))
