"""Which weights a backend runs: one hash of a file or a folder, the same whatever loads it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

_CHUNK = 4 << 20  # bytes: a few milliseconds


@contextlib.contextmanager
def digesting(path: Path) -> Iterator[Future[str]]:
    """The digest, made while the body loads the weights; given up where the body fails, since large ones take minutes.

    The body asks for the result before it ends.
    """
    over = Event()
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(digest, path, over)
        try:
            yield found
        finally:
            over.set()


def digest(path: Path, stop: Event | None = None) -> str:
    """SHA-256 in hex of a file, or of a folder's safetensors: of the one, or of the lines that `sha256sum` prints for
    several in the order of their names. "" soon after `stop` is set.
    """
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    stop = stop or Event()
    hashes = [_sha256(file, stop) for file in files]
    if stop.is_set():
        return ""
    if len(hashes) == 1:
        return hashes[0]
    lines = "".join(f"{found}  {file.name}\n" for found, file in zip(hashes, files, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


def _sha256(path: Path, stop: Event) -> str:
    made, buffer = hashlib.sha256(), memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as file:
        while not stop.is_set() and (size := file.readinto(buffer)):
            made.update(buffer[:size])
    return made.hexdigest()
