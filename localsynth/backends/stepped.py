"""Turns a synchronous decoder, which writes one token for every live sequence at a time, into an async backend."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections import deque
from collections.abc import Callable

from localsynth.backends.base import BackendInfo
from localsynth.backends.textstop import TextStream
from localsynth.backends.worker import Decoder, Job, News, Step, Worker, deliver
from localsynth.errors import BackendError, LocalsynthError, ModelError
from localsynth.records import Completion, Request

__all__ = ["Decoder", "Step", "SteppedBackend"]


class SteppedBackend:
    """A backend over the decoder that `load` makes; everything but waiting happens on one thread of its own.

    A decoder that dies fails what it was writing with a retryable BackendError; the next request loads it again, once:
    if it dies again before it finished anything, the backend is over.
    """

    def __init__(self, load: Callable[[], Decoder]) -> None:
        self._load = load
        self._info: BackendInfo | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._wake = threading.Condition()
        self._inbox: deque[tuple[Job, bool]] = deque()
        self._closing = False
        self._over: BackendError | None = None
        self._uids = itertools.count()

    @property
    def info(self) -> BackendInfo:
        """What this backend is; known once `open` has returned."""
        if self._info is None:
            raise BackendError("the backend is not open", "await open() first")
        return self._info

    async def open(self) -> None:
        """Start the thread and load. ModelError when the model cannot be used."""
        if self._thread is not None:
            return
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[BackendInfo] = self._loop.create_future()
        self._thread = threading.Thread(target=self._work, args=(opened,), name="decoder", daemon=True)
        self._thread.start()
        try:
            self._info = await asyncio.shield(opened)
        except BaseException:
            await self.aclose()
            raise

    async def generate(self, request: Request, on_text: Callable[[str], None] | None = None) -> Completion:
        """Complete one prompt; cancelling frees its slot. BackendError; ContextOverflow when it does not fit."""
        if self._loop is None or self._info is None:
            raise BackendError("the backend is not open", "await open() first")
        if self._closing or self._over is not None:
            raise self._over or BackendError("the backend is closed", "start the run again")
        future: asyncio.Future[Completion] = self._loop.create_future()
        job = Job(next(self._uids), request, future, on_text, TextStream(request.stop))
        self._post(job, cancel=False)
        try:
            return await future
        except asyncio.CancelledError:
            self._post(job, cancel=True)
            raise

    async def aclose(self) -> None:
        """Stop the thread and free the model; what still waits fails."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        thread = self._thread
        if thread is not None and thread.is_alive():
            await asyncio.to_thread(thread.join)

    def _post(self, job: Job, *, cancel: bool) -> None:
        with self._wake:
            self._inbox.append((job, cancel))
            self._wake.notify()

    # From here on, everything runs on the decoder's thread.

    def _work(self, opened: asyncio.Future[BackendInfo]) -> None:
        try:
            decoder = self._make()
        except LocalsynthError as error:
            self._over = BackendError(error.message, error.hint)
            self._tell(_set_exception, opened, error)
            return
        self._tell(_set_result, opened, decoder.info)
        worker = Worker(decoder, self._make, self._tell_news)
        try:
            while (mail := self._mail(wait=not worker.busy)) is not None:
                worker.take(mail)
                worker.step()
                self._over = worker.over
        finally:
            worker.close()
            with self._wake:
                self._closing = True
                mail = list(self._inbox)
            worker.refuse(mail)

    def _mail(self, *, wait: bool) -> list[tuple[Job, bool]] | None:
        """What came in; None when it is time to go."""
        with self._wake:
            while wait and not self._inbox and not self._closing:
                self._wake.wait()
            if self._closing:
                return None
            mail = list(self._inbox)
            self._inbox.clear()
            return mail

    def _make(self) -> Decoder:
        try:
            return self._load()
        except LocalsynthError:
            raise
        except Exception as error:
            raise ModelError(
                f"the model could not be loaded: {error or type(error).__name__}",
                "try another model file, or fewer slots and less context",
            ) from error

    def _tell_news(self, news: list[News]) -> None:
        self._tell(deliver, news)

    def _tell(self, say: Callable[..., None], *args: object) -> None:
        assert self._loop is not None
        # The loop is gone when the program ends without aclose: nobody is left to be told.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(say, *args)


def _set_result(future: asyncio.Future[BackendInfo], info: BackendInfo) -> None:
    if not future.done():
        future.set_result(info)


def _set_exception(future: asyncio.Future[BackendInfo], error: LocalsynthError) -> None:
    if not future.done():
        future.set_exception(error)
