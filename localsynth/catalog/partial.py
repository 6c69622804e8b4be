"""Downloads that are not whole yet: where they lie, how far they are, and that one process at a time writes each."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from localsynth.errors import ModelError

_FOLDER = ".partial"


@dataclass(frozen=True, slots=True)
class Partial:
    """What there is of a model so far, in bytes; `busy`: a process is fetching the rest now."""

    size: int
    busy: bool


def part_of(target: Path, etag: str) -> Path:
    """Where a file lies until it is whole: another content is another part."""
    return target.parent / _FOLDER / f"{target.name}.{hashlib.sha256(etag.encode()).hexdigest()[:16]}"


@contextlib.contextmanager
def claim(part: Path) -> Iterator[None]:
    """Keep other processes from this part; two that write into it would spoil it. ModelError when one has it."""
    part.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not _held(descriptor, fcntl.LOCK_EX):
            name = part.name.rpartition(".")[0]
            raise ModelError(f"{name} is being fetched by another process", "wait until it is there, or end that one")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                if not part.stat().st_size:
                    part.unlink()
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            part.parent.rmdir()


def partial(folder: Path) -> Partial | None:
    """What of a folder's models is half here; None where there is nothing of the kind."""
    size, busy = 0, False
    for part in folder.rglob(f"{_FOLDER}/*"):
        with contextlib.suppress(OSError):
            size += part.stat().st_size
            busy = busy or _is_claimed(part)
    return Partial(size, busy) if size or busy else None


def _is_claimed(part: Path) -> bool:
    descriptor = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return not _held(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _held(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
