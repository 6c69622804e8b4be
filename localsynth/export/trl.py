"""TRL's conversational types: prompt and completion, or prompt only for instructions without answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from localsynth.errors import DataError
from localsynth.export.base import ExportRow
from localsynth.export.files import jsonl
from localsynth.export.openai import messages


def _records(rows: Iterable[ExportRow]) -> Iterator[dict[str, object]]:
    first: bool | None = None
    for row in rows:
        if first is None:
            first = row.answered
        if row.answered is not first:
            raise DataError(
                "format trl holds either rows with answers or instructions alone, and this export has both",
                "add --answered or --instructions",
            )
        talk = messages(row)
        yield {"prompt": talk[:-1], "completion": talk[-1:]} if first else {"prompt": talk}


FORMAT = jsonl("trl", "JSONL of conversational prompt and completion, loss on the last answer", _records)
