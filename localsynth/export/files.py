"""Files that are there whole or not at all: written beside their place, synced, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from localsynth.errors import DataError
from localsynth.export.base import ExportRow, Format, Written

# Legal in JSON, but line ends to many readers that split text into lines.
_LINE_ENDS = {"\u2028": "\\u2028", "\u2029": "\\u2029", "\u0085": "\\u0085"}


def dump(value: object) -> str:
    """One line of JSON that a person can read in any language."""
    text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    if not text.isascii():
        for end, escape in _LINE_ENDS.items():
            text = text.replace(end, escape)
    return text


class HashedFile:
    """A new binary file with the SHA-256 of what went in."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.count = 0
        self._file = path.open("xb")
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Append."""
        self._file.write(data)
        self._hash.update(data)

    def close(self) -> Written:
        """Everything is on the disk when this returns."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return Written(self.name, self.count, self._hash.hexdigest())

    def abandon(self) -> None:
        """Close without a promise; may follow `close`."""
        self._file.close()


@contextmanager
def hashed(path: Path) -> Iterator[HashedFile]:
    """A HashedFile that is closed whatever happens."""
    file = HashedFile(path)
    try:
        yield file
    finally:
        file.abandon()


def write_lines(path: Path, values: Iterable[Mapping[str, object]]) -> Written:
    """JSONL."""
    with hashed(path) as file:
        for value in values:
            file.write(dump(value).encode() + b"\n")
            file.count += 1
        return file.close()


def jsonl(
    name: str,
    text: str,
    records: Callable[[Iterable[ExportRow]], Iterator[Mapping[str, object]]],
    *,
    scored: bool = False,
) -> Format:
    """A format that is one file with a line for each record; `text` is its help."""
    return Format(name, text, ".jsonl", records, lambda rows, path: [write_lines(path, records(rows))], scored)


def write_array(path: Path, values: Iterable[Mapping[str, object]]) -> Written:
    """A JSON array, one element a line."""
    with hashed(path) as file:
        file.write(b"[")
        for value in values:
            file.write((b",\n" if file.count else b"\n") + dump(value).encode())
            file.count += 1
        file.write(b"\n]\n")
        return file.close()


def write_text(path: Path, text: str) -> None:
    """A small file, renamed into place."""
    with placed(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def digest_of(path: Path) -> str:
    """The SHA-256 of a file another library wrote."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def placed(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to, a file or a folder; moved to `path` at the end, removed after a fault.

    A folder that is there already keeps what else it holds; its files are replaced one by one. DataError when the
    disk refuses.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(part)
        yield part
        if part.is_dir() and path.is_dir():
            for file in sorted(part.iterdir()):
                file.replace(path / file.name)
            part.rmdir()
        else:
            part.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}", "free space, or name another place"
        ) from error
    finally:
        _remove(part)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Make a rename last through a power cut; not every file system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        return
    finally:
        os.close(handle)
