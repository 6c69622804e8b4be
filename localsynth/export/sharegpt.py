"""ShareGPT: conversations of from/value with the roles system, human and gpt."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from localsynth.export.base import ExportRow, Format, Written
from localsynth.export.files import write_lines

_NAMES = {"user": "human", "assistant": "gpt"}


def conversation(row: ExportRow) -> list[dict[str, str]]:
    """The messages under ShareGPT's names."""
    return [{"from": _NAMES.get(role, role), "value": content} for role, content in row.messages]


def _write(rows: Iterable[ExportRow], path: Path) -> list[Written]:
    return [write_lines(path, ({"conversations": conversation(row)} for row in rows))]


FORMAT = Format("sharegpt", 'JSONL of {"conversations": [{"from", "value"}, ...]}', ".jsonl", _write)
