"""Alpaca: instruction, input, output; earlier turns in `history`, as LLaMA-Factory reads them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from localsynth.export.base import ExportRow, Format, Written, dialogue
from localsynth.export.files import write_lines


def record(row: ExportRow) -> dict[str, object]:
    """All five keys in every row: Arrow readers want one schema. `input` is empty, the instruction is whole."""
    talk = dialogue(row, "alpaca", answered=True)
    question, answer = talk.pairs[-1]
    return {
        "instruction": question,
        "input": "",
        "output": answer,
        "system": talk.system or "",
        "history": [list(pair) for pair in talk.pairs[:-1]],
    }


def _write(rows: Iterable[ExportRow], path: Path) -> list[Written]:
    return [write_lines(path, map(record, rows))]


FORMAT = Format("alpaca", "JSONL of instruction, input, output, system, history", ".jsonl", _write)
