"""A data folder for `mlx_lm.lora --data`: train, valid and test in chat format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from localsynth.export.base import ExportRow, dialogue
from localsynth.export.openai import record
from localsynth.export.parts import split


def _records(rows: Iterable[ExportRow]) -> Iterator[dict[str, object]]:
    for row in rows:
        dialogue(row, "mlx-lora", answered=True)
        yield record(row)


FORMAT = split(
    "mlx-lora",
    "folder with train, valid and test.jsonl for mlx_lm.lora; near-duplicates stay in one part",
    _records,
    "format mlx-lora",
)
