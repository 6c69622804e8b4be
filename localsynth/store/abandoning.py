"""Breaking off what is read for somebody who does not wait for it any more."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_STEPS = 20_000  # of SQLite's machine between two looks: about a millisecond
_current: ContextVar[Errand | None] = ContextVar("errand", default=None)


class Errand:
    """One job's reading. Once `abandoned` is set, from any thread, its queries end with a StoreError."""

    def __init__(self) -> None:
        self.abandoned = False

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Every Reader that is opened in here belongs to this errand."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


def watch(connection: sqlite3.Connection) -> None:
    """Let the errand that is at work break off the queries of this connection."""
    errand = _current.get()
    if errand is not None:
        connection.set_progress_handler(lambda: int(errand.abandoned), _STEPS)
