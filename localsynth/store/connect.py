"""Opening the file and saying what is wrong with it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localsynth.errors import StoreError
from localsynth.store.migrations import APPLICATION_ID, VERSION, migrate

BUSY_SECONDS = 30.0
_NO_ROOM = 1 << 20  # bytes; below this an I/O error is taken for a full disk
_PASSING = ("SQLITE_BUSY", "SQLITE_LOCKED")
_FAULTS = (
    ("SQLITE_NOTADB", "is not a database", "name another file: `--store FILE`"),
    ("SQLITE_CORRUPT", "is damaged", 'save what can be saved: `sqlite3 {path} ".recover"`'),
    ("SQLITE_READONLY", "is read-only", "make the file and its folder writable, or name another file: `--store FILE`"),
    ("SQLITE_CANTOPEN", "cannot be opened", "check the rights of the file and its folder"),
    ("SQLITE_BUSY", "is locked by another program", "close that program and try again"),
    ("SQLITE_LOCKED", "is locked by another program", "close that program and try again"),
)


def open_writer(path: Path, *, create: bool, wait: float = BUSY_SECONDS) -> sqlite3.Connection:
    """A connection that writes, its schema brought up to date. StoreError says what is wrong with the file."""
    _check_path(path, create=create)
    with faults(path):
        # By its URI, so that another store can be attached for reading only.
        connection = sqlite3.connect(path.absolute().as_uri(), uri=True, timeout=wait, isolation_level=None)
        try:
            version = _check_version(connection, path, writable=True)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA cache_size = -32000")
            # Even with nothing to change: a read-only file opens without complaint, and this makes it known at once.
            with transaction(connection):
                if version < VERSION and _check_version(connection, path, writable=True) < VERSION:
                    migrate(connection)  # asked again under the lock: another process may have done it meanwhile
        except BaseException:
            connection.close()
            raise
    return connection


class _Outdated(StoreError):
    """The store is of an earlier version than what reads it."""


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, usable beside a writer and on a read-only disk.

    A store of an earlier version is brought up to date first, which needs one that can be written to.
    """
    _check_path(path, create=False)
    try:
        return _open_reader(path)
    except _Outdated as outdated:
        try:
            open_writer(path, create=False).close()
        except StoreError as error:
            raise StoreError(
                f"{outdated.message}; it cannot be brought up to date: {error.message}",
                error.hint if error.retryable else "copy it to where it can be written to, and name the copy",
                retryable=error.retryable,
            ) from error
    return _open_reader(path)


def _open_reader(path: Path) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode=ro"
    with faults(path):
        try:
            return _connect_reader(path, uri)
        except sqlite3.OperationalError:
            # WAL wants its index file beside the store; on a read-only disk it cannot be made, nor can anyone write.
            if path.with_name(f"{path.name}-wal").exists():
                raise
            return _connect_reader(path, f"{uri}&immutable=1")


def _connect_reader(path: Path, uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        _check_version(connection, path, writable=False)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_path(path: Path, *, create: bool) -> None:
    if path.is_dir():
        raise StoreError(f"{path} is a folder, not a store", "name a file: `--store FILE`")
    if path.exists():
        return
    if not create:
        raise StoreError(
            f"there is no store at {path}", "`localsynth generate` makes one; `--store FILE` names another"
        )
    if not path.parent.is_dir():
        raise StoreError(f"there is no folder {path.parent}", "make the folder first, or name another `--store FILE`")


def _check_version(connection: sqlite3.Connection, path: Path, *, writable: bool) -> int:
    # In one statement, so from one snapshot: another process may be making the store meanwhile.
    version, application, tables = connection.execute(
        "SELECT (SELECT user_version FROM pragma_user_version), (SELECT application_id FROM pragma_application_id), "
        "(SELECT count(*) FROM sqlite_master)"
    ).fetchone()
    if application != APPLICATION_ID and (tables or version or application):
        raise StoreError(f"{path} is a database of another program", "name another file: `--store FILE`")
    if version > VERSION:
        raise StoreError(
            f"{path} has store version {version}; this localsynth knows versions up to {VERSION}",
            "upgrade localsynth, or name another file: `--store FILE`",
        )
    if version < VERSION and not writable:
        said = f"{path} has store version {version}, this localsynth reads version {VERSION}"
        if not version:  # an empty file, or one that another process is making
            raise StoreError(said, "there is nothing in it yet: `localsynth generate` makes it a store")
        raise _Outdated(said)
    return int(version)


@contextmanager
def faults(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into StoreError with what to do next."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(error, path) from error


@contextmanager
def lenient(connection: sqlite3.Connection) -> Iterator[None]:
    """Read texts that a damaged file holds as bytes which are no UTF-8."""
    before = connection.text_factory
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    try:
        yield
    finally:
        connection.text_factory = before


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. The write lock is taken at once: taking it halfway could fail where waiting cannot help."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # after a full disk SQLite has rolled back already
            connection.execute("ROLLBACK")
        raise


def _explain(error: sqlite3.Error, path: Path) -> StoreError:
    name = getattr(error, "sqlite_errorname", None) or ""
    if name == "SQLITE_FULL" or (name.startswith("SQLITE_IOERR") and _no_room(path)):
        return StoreError(f"the disk is full: {path} cannot grow", "free some space, then type `localsynth resume`")
    for prefix, what, hint in _FAULTS:
        if name.startswith(prefix):
            return StoreError(f"{path} {what}", hint.format(path=path), retryable=prefix in _PASSING)
    return StoreError(f"{path}: {error}", "check the disk; `localsynth resume` carries on a stopped run")


def _no_room(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.resolve().parent).free < _NO_ROOM
    except OSError:
        return False
