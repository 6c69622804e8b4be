"""OpenAI chat messages, one JSON object a line."""

from __future__ import annotations

from localsynth.export.base import ExportRow
from localsynth.export.files import jsonl


def messages(row: ExportRow) -> list[dict[str, str]]:
    """[{"role", "content"}, ...]"""
    return [{"role": role, "content": content} for role, content in row.messages]


def record(row: ExportRow) -> dict[str, object]:
    """One training example of the chat API."""
    return {"messages": messages(row)}


FORMAT = jsonl("openai", 'JSONL of {"messages": [...]}, read by nearly every trainer', lambda rows: map(record, rows))
