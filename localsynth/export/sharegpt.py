"""ShareGPT: conversations of from/value with the roles system, human and gpt."""

from __future__ import annotations

from localsynth.export.base import ExportRow
from localsynth.export.files import jsonl

_NAMES = {"user": "human", "assistant": "gpt"}


def conversation(row: ExportRow) -> list[dict[str, str]]:
    """The messages under ShareGPT's names."""
    return [{"from": _NAMES.get(role, role), "value": content} for role, content in row.messages]


FORMAT = jsonl(
    "sharegpt",
    'JSONL of {"conversations": [{"from", "value"}, ...]}',
    lambda rows: ({"conversations": conversation(row)} for row in rows),
)
