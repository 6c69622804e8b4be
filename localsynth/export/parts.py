"""One JSONL file for each part of a split: near-duplicates are in one part, so that no answer is given away."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import tee
from pathlib import Path

from localsynth.errors import DataError
from localsynth.export.base import ExportRow, Format, Written
from localsynth.export.files import dump, hashed
from localsynth.export.split import Clusters, Part, assign, text_key

# The gate has rejected what is nearer than 0.975 already; what is this near still gives the answer away.
SIMILARITY = 0.9
_PARTS: tuple[Part, ...] = ("train", "valid", "test")

Records = Callable[[Iterable[ExportRow]], Iterator[Mapping[str, object]]]


def split(name: str, text: str, records: Records, what: str) -> Format:
    """A format that is a folder with train, valid and test.jsonl. `what` needs the parts, as an error says it."""
    files = tuple(f"{part}.jsonl" for part in _PARTS)
    return Format(name, text, "", records, partial(_write, records, what), scored=True, owned=files)


def _write(records: Records, what: str, rows: Iterable[ExportRow], path: Path) -> list[Written]:
    """Rows wait in a spool file beside the parts: which part a row is in is known only after the last one."""
    clusters = Clusters()
    members: list[tuple[str, int]] = []  # each row's own key and the bytes of its line
    with tempfile.TemporaryFile(dir=path) as spool, ExitStack() as stack:
        own, theirs = tee(rows)
        for record, row in zip(records(theirs), own, strict=True):
            key = text_key(next((content for role, content in row.messages if role == "user"), row.messages[0][1]))
            clusters.link(key, row.id)
            for other, similarity in row.near:
                if similarity >= SIMILARITY:
                    clusters.link(key, other)
            members.append((key, spool.write(dump(record).encode() + b"\n")))
        parts = _parts(clusters, members, what)
        names = [name for name in _PARTS if name in parts.values()]
        files = {name: stack.enter_context(hashed(path / f"{name}.jsonl")) for name in names}
        spool.seek(0)
        for key, size in members:
            file = files[parts[key]]
            file.write(spool.read(size))
            file.count += 1
        return [file.close() for file in files.values()]


def _parts(clusters: Clusters, members: list[tuple[str, int]], what: str) -> dict[str, Part]:
    """The part of every row key; a cluster is named by its smallest text key, whatever the order of rows."""
    names: dict[object, str] = {}
    counts: dict[object, int] = {}
    for key, _ in members:
        root = clusters.find(key)
        names[root] = min(names.get(root, key), key)
        counts[root] = counts.get(root, 0) + 1
    if len(counts) < 2:
        raise DataError(
            f"{what} needs two rows that are not near-duplicates, and there are {len(members)} in one cluster"
            if members
            else f"{what} needs at least two rows",
            "generate more rows, or export one file: --format openai",
        )
    parts = assign([(names[root], count) for root, count in counts.items()])
    by_root = dict(zip(counts, parts, strict=True))
    return {key: by_root[clusters.find(key)] for key, _ in members}
