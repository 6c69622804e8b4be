"""OpenAI chat messages, one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from localsynth.export.base import ExportRow, Format, Written
from localsynth.export.files import write_lines


def messages(row: ExportRow) -> list[dict[str, str]]:
    """[{"role", "content"}, ...]"""
    return [{"role": role, "content": content} for role, content in row.messages]


def record(row: ExportRow) -> dict[str, object]:
    """One training example of the chat API."""
    return {"messages": messages(row)}


def _write(rows: Iterable[ExportRow], path: Path) -> list[Written]:
    return [write_lines(path, map(record, rows))]


FORMAT = Format("openai", 'JSONL of {"messages": [...]}, read by nearly every trainer', ".jsonl", _write)
