"""The one way in: a file, a folder or a data set of the Hub, read as a stream of rows and bad lines."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

from localsynth.errors import DataError, MissingPackage
from localsynth.importing import hub, jsonfile
from localsynth.importing.base import BadLine, ImportedRow, Message, Unfit, UnknownShape, shown
from localsynth.importing.jsonfile import Value
from localsynth.importing.shapes import KNOWN, parse

_KINDS = (".jsonl", ".json", ".ndjson", ".parquet", ".txt")
_NO_ROWS = frozenset({"dataset_info.json", "dataset_infos.json"})
_PATIENCE = 1000  # bad lines before the first good one, after which a file is refused


@dataclass(frozen=True, slots=True)
class Located:
    """What a name stands for: its files in reading order, each with the name that messages use."""

    name: str
    files: tuple[tuple[str, Path], ...]

    def digest(self) -> str:
        """SHA-256 of the contents: of the one file, or of the digests of several in their order."""
        digests = []
        for name, path in self.files:
            try:
                with path.open("rb") as file:
                    digests.append(hashlib.file_digest(file, "sha256").hexdigest())
            except OSError as error:
                raise _unreadable(name, error) from error
        return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def locate(spec: str | Path) -> Located:
    """Find the files of a path or `hf:` name. DataError when there are none."""
    if isinstance(spec, str) and spec.startswith("hf:"):
        return Located(spec, tuple(hub.fetch(spec)))
    path = Path(spec)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.is_file() and _kind(p) in _KINDS and p.name not in _NO_ROWS)
        if not found:
            raise DataError(f"{path} has no file to import", f"import reads {', '.join(_KINDS)}, also as .gz")
        # Our own LoRA folder: the order in which its rows were meant.
        found.sort(
            key=lambda p: ("train", "valid", "test").index(p.stem) if p.stem in ("train", "valid", "test") else 3
        )
        return Located(str(path), tuple((p.name, p) for p in found))
    if not path.exists():
        raise DataError(f"there is no file {path}", "check the name; data sets of the Hub are written hf:OWNER/NAME")
    return Located(str(path), ((path.name, path),))


def read(spec: str | Path | Located) -> Iterator[ImportedRow | BadLine]:
    """Every row, and every line that is none, in the order of the files; memory does not grow with a file of lines.

    DataError: nothing there, not a data file, or rows of no known shape. MissingPackage: Parquet without pyarrow.
    """
    located = spec if isinstance(spec, Located) else locate(spec)
    for name, path in located.files:
        yield from _file(name, path)


def instructions(spec: str | Path | Located) -> Iterator[str]:
    """The first user turn of every row."""
    for row in read(spec):
        if isinstance(row, ImportedRow):
            yield next(message.content for message in row.messages if message.role == "user")


def _kind(path: Path) -> str:
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


def _file(name: str, path: Path) -> Iterator[ImportedRow | BadLine]:
    try:
        with path.open("rb") as raw:
            magic = raw.read(4)
            raw.seek(0)
            if magic == b"PAR1":
                yield from _rows(name, _parquet(name, path))
                return
            file: IO[bytes] = gzip.GzipFile(fileobj=raw) if magic[:2] == b"\x1f\x8b" else raw  # type: ignore[assignment]
            if _kind(path) == ".txt":
                yield from _text(name, file)
            else:
                yield from _rows(name, jsonfile.values(file, name))
    except OSError as error:
        raise _unreadable(name, error) from error


def _rows(name: str, values: Iterable[Value]) -> Iterator[ImportedRow | BadLine]:
    """Bad lines before the first good row wait: where no row is good, the file is refused with the reason."""
    waiting: list[BadLine] = []
    keys: list[str] | None = None
    good = False
    for line, value in values:
        found: ImportedRow | BadLine
        try:
            if isinstance(value, Unfit):
                raise value
            found = parse(value, name, line)
        except (Unfit, UnknownShape) as error:
            keys = error.keys if keys is None and isinstance(error, UnknownShape) else keys
            found = BadLine(name, line, shown(str(error), 200))
        if good:
            yield found
        elif isinstance(found, BadLine):
            waiting.append(found)
            if len(waiting) > _PATIENCE:
                break
        else:
            good = True
            yield from waiting
            yield found
    if not good:
        raise _refused(name, waiting, keys)


def _refused(name: str, waiting: list[BadLine], keys: list[str] | None) -> DataError:
    if keys is not None:
        shape = ", ".join(shown(key, 30) for key in keys[:12]) or "no keys"
        return DataError(f"{name} has rows of no known shape: {shape}", f"known are {KNOWN}")
    if not waiting:
        return DataError(f"{name} has no rows", "name a file that has some")
    return DataError(f"{name} has no usable row; line {waiting[0].line}: {waiting[0].reason}", "mend the file")


def _text(name: str, file: IO[bytes]) -> Iterator[ImportedRow | BadLine]:
    """One instruction a line; blank lines separate."""
    number = 0
    try:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                text = line.decode("utf-8-sig").strip()
            except UnicodeDecodeError as error:
                yield BadLine(name, number, f"not UTF-8 at byte {error.start + 1}")
            else:
                yield ImportedRow((Message("user", text),), name, number)
    except EOFError as error:
        yield BadLine(name, number + 1, f"the file breaks off here: {error}")


def _parquet(name: str, path: Path) -> Iterator[Value]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingPackage("Parquet needs the package pyarrow", "pip install 'localsynth[parquet]'") from None
    try:
        with pq.ParquetFile(path) as file:
            batches = file.iter_batches(batch_size=500)
            yield from enumerate(chain.from_iterable(batch.to_pylist() for batch in batches), start=1)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{name} is not a whole Parquet file: {shown(str(error), 120)}", "copy or download it again"
        ) from error


def _unreadable(name: str, error: OSError) -> DataError:
    return DataError(f"{name} cannot be read: {error.strerror or error}", "check the file and its permissions")
