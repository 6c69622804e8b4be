"""One file over HTTP: resumed where it stopped, checked by its hash, in place only when it is whole.

huggingface_hub 2 throws a half-done file away when it is interrupted, which for a model of several GB is a day lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localsynth.catalog.partial import claim, part_of
from localsynth.errors import ModelError

if TYPE_CHECKING:
    import httpx

AGAIN = "check the connection and give the same command again: it goes on where it stopped"
_TRIES = 5
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file to fetch: `size` in bytes and `sha256` where they are known; `etag` changes whenever its content does."""

    url: str
    size: int | None
    sha256: str | None
    etag: str


def download(
    remote: RemoteFile, target: Path, headers: Mapping[str, str], report: Callable[[int], None] | None = None
) -> None:
    """Fetch `remote` into `target` unless a file of its size is there; `report` gets the bytes had so far.

    ModelError: refused, unreachable (retryable), or what came is not what was announced; or it is being fetched by
    another process.
    """
    if target.exists() and (remote.size is None or target.stat().st_size == remote.size):
        return
    part = part_of(target, remote.etag)
    with claim(part):
        _fetch(remote, target, part, headers, report)


def gated(name: str) -> ModelError:
    """The error for what is only given to those who accepted a licence."""
    hint = "accept its licence on its page, then log in: hf auth login (or set HF_TOKEN)"
    return ModelError(f"{name} asks you to accept its licence first", hint)


def _fetch(
    remote: RemoteFile, target: Path, part: Path, headers: Mapping[str, str], report: Callable[[int], None] | None
) -> None:
    import httpx

    with httpx.Client(headers=dict(headers), follow_redirects=True, timeout=30) as client:
        for left in reversed(range(_TRIES)):
            before = part.stat().st_size if part.exists() else 0
            try:
                _stream(client, remote, part, report)
                break
            except httpx.TransportError as error:
                # A connection that breaks is taken up again as long as it brings something.
                moved = part.exists() and part.stat().st_size > before
                if not left or not moved:
                    message = f"{target.name} stopped after {before / 1e9:.2f} GB: {type(error).__name__}"
                    raise ModelError(message, AGAIN, retryable=True) from None
    _verify(remote, part, target.name)
    part.replace(target)


def _stream(client: httpx.Client, remote: RemoteFile, part: Path, report: Callable[[int], None] | None) -> None:
    had = part.stat().st_size if part.exists() else 0
    if remote.size is not None and had >= remote.size:
        return
    # Compressed transfer would make the byte ranges mean something else.
    ask = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={had}-"} if had else {})
    with client.stream("GET", remote.url, headers=ask) as response:
        if response.status_code in (401, 403):
            raise gated(part.name)
        if response.status_code not in (200, 206):
            message = f"{part.name}: the server answered {response.status_code}"
            raise ModelError(message, "try again later", retryable=response.status_code >= 500)
        resumed = response.status_code == 206
        had = had if resumed else 0
        with part.open("ab" if resumed else "wb") as file:
            for chunk in response.iter_bytes(_CHUNK):
                file.write(chunk)
                had += len(chunk)
                if report:
                    report(had)


def _verify(remote: RemoteFile, part: Path, name: str) -> None:
    size = part.stat().st_size
    wrong = remote.size is not None and size != remote.size
    if not wrong and remote.sha256:
        with part.open("rb") as file:
            wrong = hashlib.file_digest(file, hashlib.sha256).hexdigest() != remote.sha256
    if wrong:
        part.unlink()
        raise ModelError(f"{name} arrived damaged ({size} bytes)", "give the same command again", retryable=True)
