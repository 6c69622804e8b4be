"""Parquet with everything a row knows; row groups are written as they fill."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from localsynth.errors import MissingPackage
from localsynth.export.base import ExportRow, Format, Written
from localsynth.export.files import digest_of, dump
from localsynth.export.openai import messages

_ROWS, _CHARACTERS = 5000, 32_000_000  # of one row group: bounds the memory that waits to be written


def _record(row: ExportRow) -> dict[str, object]:
    return {
        "id": row.id,
        "run": row.run,
        "index": row.index,
        "messages": messages(row),
        "thinking": list(row.thinking) or None,
        "model": row.model,
        "answer_model": row.answer_model,
        "sampling": dump({role: asdict(sampling) for role, sampling in row.sampling.items()}),
        "seeds": list(row.seeds) or None,
        "scores": [{"name": name, "value": value} for name, value in row.scores.items()],
        "topic": row.topic,
        "language": row.language,
        "created": row.created or None,
    }


def _groups(rows: Iterable[ExportRow]) -> Iterator[list[dict[str, object]]]:
    group: list[dict[str, object]] = []
    size = 0
    for row in rows:
        group.append(_record(row))
        size += sum(len(content) for _, content in row.messages)
        if len(group) >= _ROWS or size >= _CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _schema(pa: Any) -> Any:
    text = pa.string()
    return pa.schema([
        ("id", pa.int64()),
        ("run", text),
        ("index", pa.int64()),
        ("messages", pa.list_(pa.struct([("role", text), ("content", text)]))),
        ("thinking", pa.list_(text)),
        ("model", text),
        ("answer_model", text),
        ("sampling", text),
        ("seeds", pa.list_(pa.int64())),
        ("scores", pa.list_(pa.struct([("name", text), ("value", pa.float64())]))),
        ("topic", text),
        ("language", text),
        ("created", text),
    ])  # fmt: skip


def _write(rows: Iterable[ExportRow], path: Path) -> list[Written]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingPackage("Parquet needs the package pyarrow", "pip install 'localsynth[parquet]'") from None
    schema = _schema(pa)
    count = 0
    groups = _groups(rows)
    first = next(groups, [])  # before the file is made: a fault in the first rows leaves nothing
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in chain([first], groups):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            count += len(group)
    return [Written(path.name, count, digest_of(path))]


FORMAT = Format(
    "parquet",
    "Parquet with messages, models, sampling, seeds and scores",
    ".parquet",
    lambda rows: map(_record, rows),
    _write,
    scored=True,
)
