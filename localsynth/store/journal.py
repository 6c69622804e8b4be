"""Group commit: rows from the event loop, written by a thread of their own about every 50 ms.

A killed process loses at most the rows of the last group; what one `put` was given is committed together or not at
all.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from localsynth.errors import StoreError
from localsynth.store.store import Row, Store

T = TypeVar("T")
_Call = tuple[Callable[[Store], Any], "Future[Any]"]


class Journal:
    """The writer of a run. `put` never waits; `call` runs a function on the writer's thread, after all rows before it.

    The first error stays: it is raised at the next `put`, `flush` and `close`, and nothing is written after it.
    """

    def __init__(self, path: Path, *, interval: float = 0.05, group: int = 2000) -> None:
        """Open the store, or make it. `interval` in seconds, `group` in rows: whichever comes first commits."""
        self.error: Exception | None = None
        self._path, self._interval, self._group = path, interval, group
        self._puts: deque[tuple[Row, ...] | _Call] = deque()
        self._rows = self._calls = 0
        self._closing = False
        self._lock = threading.Lock()
        self._wake = threading.Event()
        opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._work, args=(opened,), name="journal", daemon=True)
        self._thread.start()
        opened.result()

    def put(self, *rows: Row) -> None:
        """Hand over rows that belong together. Raises what went wrong before, so that no row is lost in silence."""
        with self._lock:
            self._check()
            if not rows:
                return
            first = not self._puts
            self._puts.append(rows)
            self._rows += len(rows)
            if first or self._rows >= self._group:
                self._wake.set()

    @property
    def waiting(self) -> int:
        """Rows that are not committed yet: a producer that is faster than the disk awaits `flush` now and then."""
        return self._rows

    async def flush(self) -> None:
        """Return when every row put before is committed."""
        await self.call(lambda _: None)

    async def call(self, function: Callable[[Store], T]) -> T:
        """Run `function` with the journal's store; its result or its exception comes back."""
        future: Future[T] = Future()
        with self._lock:
            self._check()
            self._puts.append((function, future))
            self._calls += 1
            self._wake.set()
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Commit what waits, finish the full-text index and close the store; may be called twice.

        It blocks; `await asyncio.to_thread(journal.close)` keeps an event loop free.
        """
        with self._lock:
            self._closing = True
            self._wake.set()
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _check(self) -> None:
        if self.error is not None:
            raise self.error
        if self._closing:
            raise StoreError("the journal is closed")

    def _work(self, opened: Future[None]) -> None:
        try:
            store = Store.open(self._path)
        except BaseException as error:
            opened.set_exception(error)
            return
        opened.set_result(None)
        try:
            while self._wait():
                self._commit(store)
                self._index(store)
            store.close()
        except Exception as error:
            self._fail(error)
            with suppress(StoreError):
                store.close()

    def _wait(self) -> bool:
        """Sleep until a group is due; False when the journal is closed and empty."""
        self._wake.wait()
        with self._lock:
            self._wake.clear()
            hurry = self._closing or self._calls or self._rows >= self._group
        if not hurry:
            self._wake.wait(self._interval)
        return bool(self._puts) or not self._closing

    def _commit(self, store: Store) -> None:
        """Write the rows up to the next call, then make the call."""
        rows: list[Row] = []
        call: _Call | None = None
        with self._lock:
            while self._puts and call is None and len(rows) < self._group:
                put = self._puts.popleft()
                if isinstance(put[-1], Future):
                    call = put
                else:
                    rows += put
        if rows:
            try:
                store.save(rows)
            except Exception:
                if call is not None:
                    self._puts.appendleft(call)  # answered with the error, once the error is there for all to see
                raise
        with self._lock:
            self._rows -= len(rows)
            self._calls -= call is not None
            if self._puts or self._closing:
                self._wake.set()
        if call is not None:
            _answer(store, *call)

    def _index(self, store: Store) -> None:
        """Use the time until the next rows for the full-text index."""
        try:
            while not self._puts and store.index_text():
                pass
        except StoreError as error:
            if not error.retryable:  # another program that holds the file for a while is no reason to end a run
                raise

    def _fail(self, error: Exception) -> None:
        with self._lock:
            self.error = error
            puts = list(self._puts)
            self._puts.clear()
        for put in puts:
            if isinstance(put[-1], Future):
                _refuse(put[-1], error)


def _refuse(future: Future[Any], error: Exception) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(error)


def _answer(store: Store, function: Callable[[Store], Any], future: Future[Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function(store))
    except BaseException as error:
        future.set_exception(error)
