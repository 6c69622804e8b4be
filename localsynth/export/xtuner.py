"""XTuner: one JSON array of conversations with system, input and output; only outputs are trained on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from localsynth.export.base import ExportRow, Format, Written, dialogue
from localsynth.export.files import write_array


def record(row: ExportRow) -> dict[str, object]:
    """`system` stands in the first turn only, and is "" there when there is none."""
    talk = dialogue(row, "xtuner", answered=True)
    turns: list[dict[str, str | None]] = [{"input": question, "output": answer} for question, answer in talk.pairs]
    turns[0] = {"system": talk.system or "", **turns[0]}
    return {"conversation": turns}


def _write(rows: Iterable[ExportRow], path: Path) -> list[Written]:
    return [write_array(path, map(record, rows))]


FORMAT = Format(
    "xtuner",
    'JSON array of {"conversation": [{"system", "input", "output"}, ...]}',
    ".json",
    lambda rows: map(record, rows),
    _write,
)
