"""LLaMA-Factory: a data folder with its own dataset_info.json; give the folder as `dataset_dir`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from localsynth.export.base import ExportRow, Format, Written, dialogue
from localsynth.export.files import dump, write_lines
from localsynth.export.sharegpt import conversation

DATASET = "localsynth"
_INFO = {
    DATASET: {
        "file_name": "data.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations"},
        "tags": {
            "role_tag": "from",
            "content_tag": "value",
            "user_tag": "human",
            "assistant_tag": "gpt",
            "system_tag": "system",
        },
    }
}


def _records(rows: Iterable[ExportRow]) -> Iterator[dict[str, object]]:
    for row in rows:
        dialogue(row, "llama-factory", answered=True)  # its reader drops rows that do not alternate, without a word
        yield {"conversations": conversation(row)}


def _write(rows: Iterable[ExportRow], path: Path) -> list[Written]:
    written = write_lines(path / "data.jsonl", _records(rows))
    (path / "dataset_info.json").write_text(dump(_INFO) + "\n", encoding="utf-8")
    return [written]


FORMAT = Format(
    "llama-factory",
    "folder with data.jsonl and dataset_info.json",
    "",
    _records,
    _write,
    owned=("data.jsonl", "dataset_info.json"),
)
