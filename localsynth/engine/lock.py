"""One run at a time on a store: a file lock that the system takes back when the process dies, however it dies."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from localsynth import paths
from localsynth.errors import StoreBusy, StoreError

RUNS = "lock"  # what one run at a time holds; other work that may go on beside it has a name of its own


@contextmanager
def hold(store: Path, run: str, what: str = "", name: str = RUNS) -> Iterator[Callable[[Mapping[str, object]], None]]:
    """Hold the store for `run`. StoreBusy names the process that holds it; a dead one holds nothing.

    `what` is done with the run when it is not carried out: nobody can pause or stop that. What is given to the function
    that comes back stands in `holder` from then on.
    """
    path = _path(store, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _unwritable(error) from None
    try:
        if not _lock(descriptor):
            raise _busy(store, _read(path))
        who = {"pid": os.getpid(), "run": "" if what else run, "what": what}

        def tell(facts: Mapping[str, object]) -> None:
            try:
                os.ftruncate(descriptor, os.pwrite(descriptor, json.dumps({**who, **facts}).encode(), 0))
            except OSError as error:
                raise _unwritable(error) from None

        tell({})
        yield tell
    finally:
        os.close(descriptor)


def refuse_busy(store: Path) -> None:
    """StoreBusy when a live process is at work on the store."""
    who = holder(store)
    if who is not None:
        raise _busy(store, who)


def presence(store: Path) -> Callable[[], None]:
    """A check that the store is still the file it is now: SQLite writes on into a deleted one without a word."""
    first = store.stat()

    def there() -> None:
        try:
            same = os.path.samestat(first, store.stat())
        except OSError:
            same = False
        if not same:
            raise StoreError(
                f"{store} was deleted or replaced while the run was writing to it",
                "put the file back and type `localsynth resume`, or start a new run",
            )

    return there


def holder(store: Path, name: str = RUNS) -> dict[str, object] | None:
    """{"pid", "run"} of the live process that holds the store, None when it is free."""
    path = _path(store, name)
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


def _unwritable(error: OSError) -> StoreError:
    return StoreError(
        f"cannot write beside the store: {error}", "free some space, or choose a writable folder with --store"
    )


def _path(store: Path, name: str) -> Path:
    return paths.runs_dir(store) / name


def _read(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _busy(store: Path, who: dict[str, object]) -> StoreBusy:
    if who.get("what"):
        return StoreBusy(f"{who['what']} (process {who.get('pid')}) is at work on {store}", "wait until it is over")
    name = f"run {who['run']} (process {who.get('pid')})" if who.get("run") else "another process"
    return StoreBusy(
        f"{name} is at work on {store}",
        "wait for it, watch it with `localsynth status --watch`, or end it with `localsynth stop`",
    )
