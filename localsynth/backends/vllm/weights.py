"""Which weights a folder holds."""

from __future__ import annotations

import hashlib
from pathlib import Path
from threading import Event

_CHUNK = 4 << 20  # bytes: a few milliseconds


def digest(path: Path, stop: Event) -> str:
    """SHA-256 in hex of a folder's one safetensors file; of the lines `sha256sum` prints for several, in name order.

    "" soon after `stop` is set: large weights take minutes, and nothing else can end the thread that reads them.
    """
    files = sorted(path.glob("*.safetensors"))
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
