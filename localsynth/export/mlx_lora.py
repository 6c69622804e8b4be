"""A data folder for `mlx_lm.lora --data`: train, valid and test in chat format."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from localsynth.errors import DataError
from localsynth.export.base import ExportRow, Format, Written, dialogue
from localsynth.export.files import dump, hashed
from localsynth.export.openai import record
from localsynth.export.split import Clusters, Part, assign, text_key

# The gate has rejected what is nearer than 0.975 already; what is this near still gives the answer away.
SIMILARITY = 0.9


def _write(rows: Iterable[ExportRow], path: Path) -> list[Written]:
    """Rows wait in a spool file beside the parts: which part a row is in is known only after the last one."""
    clusters = Clusters()
    members: list[tuple[str, int]] = []  # each row's own key and the bytes of its line
    with tempfile.TemporaryFile(dir=path) as spool, ExitStack() as stack:
        for row in rows:
            talk = dialogue(row, "mlx-lora", answered=True)
            key = text_key(talk.pairs[0][0])
            clusters.link(key, row.id)
            for other, similarity in row.near:
                if similarity >= SIMILARITY:
                    clusters.link(key, other)
            members.append((key, spool.write(dump(record(row)).encode() + b"\n")))
        parts = _parts(clusters, members)
        names: list[Part] = [name for name in ("train", "valid", "test") if name in parts.values()]
        files = {name: stack.enter_context(hashed(path / f"{name}.jsonl")) for name in names}
        spool.seek(0)
        for key, size in members:
            file = files[parts[key]]
            file.write(spool.read(size))
            file.count += 1
        return [file.close() for file in files.values()]


def _parts(clusters: Clusters, members: list[tuple[str, int]]) -> dict[str, Part]:
    """The part of every row key; a cluster is named by its smallest text key, whatever the order of rows."""
    names: dict[object, str] = {}
    counts: dict[object, int] = {}
    for key, _ in members:
        root = clusters.find(key)
        names[root] = min(names.get(root, key), key)
        counts[root] = counts.get(root, 0) + 1
    if len(counts) < 2:
        raise DataError(
            f"format mlx-lora needs two rows that are not near-duplicates, and there are {len(members)} in one cluster"
            if members
            else "format mlx-lora needs at least two rows",
            "generate more rows, or export as openai",
        )
    parts = assign([(names[root], count) for root, count in counts.items()])
    by_root = dict(zip(counts, parts, strict=True))
    return {key: by_root[clusters.find(key)] for key, _ in members}


FORMAT = Format(
    "mlx-lora",
    "folder with train, valid and test.jsonl for mlx_lm.lora; near-duplicates stay in one part",
    "",
    _write,
    scored=True,
    owned=("train.jsonl", "valid.jsonl", "test.jsonl"),
)
