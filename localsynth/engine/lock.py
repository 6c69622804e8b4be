"""One run at a time on a store: a file lock that the system takes back when the process dies, however it dies."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localsynth import paths
from localsynth.errors import StoreBusy, StoreError


@contextmanager
def hold(store: Path, run: str) -> Iterator[None]:
    """Hold the store for `run`. StoreBusy names the process that holds it; a dead one holds nothing."""
    path = _path(store)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(
            f"cannot write beside the store: {error}", "choose a store in a writable folder with --store"
        ) from None
    try:
        if not _lock(descriptor):
            raise _busy(store, _read(path))
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps({"pid": os.getpid(), "run": run}).encode())
        yield
    finally:
        os.close(descriptor)


def holder(store: Path) -> dict[str, object] | None:
    """{"pid", "run"} of the live process that holds the store, None when it is free."""
    path = _path(store)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(path)
    else:
        return None
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    # `holder` takes a shared lock for an instant: that is no reason to refuse.
    for _ in range(10):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False


def _path(store: Path) -> Path:
    return paths.runs_dir(store) / "lock"


def _read(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _busy(store: Path, who: dict[str, object]) -> StoreBusy:
    name = f"run {who['run']} (process {who.get('pid')})" if who.get("run") else "another process"
    return StoreBusy(
        f"{name} is at work on {store}",
        "wait for it, watch it with `localsynth status --watch`, or end it with `localsynth stop`",
    )
