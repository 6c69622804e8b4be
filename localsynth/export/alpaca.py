"""Alpaca: instruction, input, output; earlier turns in `history`, as LLaMA-Factory reads them."""

from __future__ import annotations

from localsynth.export.base import ExportRow, dialogue
from localsynth.export.files import jsonl


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


FORMAT = jsonl("alpaca", "JSONL of instruction, input, output, system, history", lambda rows: map(record, rows))
