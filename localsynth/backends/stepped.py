"""Turns a synchronous decoder, which writes one token for every live sequence at a time, into an async backend."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from localsynth.backends.base import BackendInfo
from localsynth.backends.textstop import TextStream
from localsynth.errors import BackendError, LocalsynthError, ModelError
from localsynth.records import Completion, FinishReason, Request

TEXT_EVERY = 0.25


@dataclass(frozen=True, slots=True)
class Step:
    """What one step gave one sequence: `tokens` sampled tokens whose bytes are `piece`.

    `finish` frees the slot; `stopped_by` is then the id of the stop token, whose bytes are not in `piece`. `logprobs`
    holds one value per sampled token where the request asks for them. `error` fails this request alone.
    """

    uid: int
    piece: bytes = b""
    tokens: int = 1
    finish: FinishReason | None = None
    stopped_by: int | None = None
    logprobs: tuple[float, ...] = ()
    error: BackendError | None = None


class Decoder(Protocol):
    """An engine in our process. Every method is called on one thread, the one that made it."""

    @property
    def info(self) -> BackendInfo: ...

    def add(self, uid: int, request: Request) -> int:
        """Take a free slot for this request; returns its prompt tokens. BackendError concerns this request only."""
        ...

    def step(self) -> Sequence[Step]:
        """Sample for every live sequence. Any error is the end of this decoder."""
        ...

    def remove(self, uid: int) -> None:
        """Free the slot of a sequence that is live."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True, eq=False)
class _Job:
    uid: int
    request: Request
    future: asyncio.Future[Completion]
    on_text: Callable[[str], None] | None
    stream: TextStream
    started: float = field(default_factory=monotonic)
    prompt_tokens: int = 0
    tokens: int = 0
    logprobs: list[float] = field(default_factory=list)
    unsaid: str = ""
    said_at: float = 0.0


# What the decoder's thread tells the event loop: a job with its outcome, or with None and its new text.
_News = tuple[_Job, Completion | LocalsynthError | None, str]


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
        self._inbox: deque[tuple[_Job, bool]] = deque()
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
        job = _Job(next(self._uids), request, future, on_text, TextStream(request.stop))
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

    def _post(self, job: _Job, *, cancel: bool) -> None:
        with self._wake:
            self._inbox.append((job, cancel))
            self._wake.notify()

    # From here on, everything runs on the decoder's thread, but for _deliver.

    def _work(self, opened: asyncio.Future[BackendInfo]) -> None:
        try:
            decoder = self._make()
        except LocalsynthError as error:
            self._over = BackendError(error.message, error.hint)
            self._tell(_set_exception, opened, error)
            return
        self._tell(_set_result, opened, decoder.info)
        worker = _Worker(decoder, self._make, self._tell_news)
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

    def _mail(self, *, wait: bool) -> list[tuple[_Job, bool]] | None:
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

    def _tell_news(self, news: list[_News]) -> None:
        self._tell(_deliver, news)

    def _tell(self, say: Callable[..., None], *args: object) -> None:
        assert self._loop is not None
        # The loop is gone when the program ends without aclose: nobody is left to be told.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(say, *args)


class _Worker:
    """The decoder's thread: who waits, who is live, and what came of them."""

    def __init__(self, decoder: Decoder, load: Callable[[], Decoder], tell: Callable[[list[_News]], None]) -> None:
        self._decoder: Decoder | None = decoder
        self._load, self._tell = load, tell
        self._slots = decoder.info.max_concurrency
        self._waiting: dict[int, _Job] = {}
        self._live: dict[int, _Job] = {}
        self._finished_any = True
        self.over: BackendError | None = None

    @property
    def busy(self) -> bool:
        """Whether there is something to step."""
        return bool(self._live or self._waiting)

    def take(self, mail: list[tuple[_Job, bool]]) -> None:
        """Queue new jobs and drop cancelled ones."""
        for job, cancel in mail:
            if not cancel:
                self._waiting[job.uid] = job
            elif job.uid in self._live:
                del self._live[job.uid]
                if self._decoder is not None:
                    self._decoder.remove(job.uid)
            else:
                self._waiting.pop(job.uid, None)

    def step(self) -> None:
        """Fill free slots, sample once for all, and tell the loop what came of it, in one wake-up."""
        if not self.busy:
            return
        news: list[_News] = []
        try:
            if self.over is not None:
                raise self.over  # noqa: TRY301
            if self._decoder is None:
                self._decoder = self._load()
            self._fill(self._decoder, news)
            if self._live:
                for step in self._decoder.step():
                    self._apply(step, self._decoder, news)
        except Exception as error:
            self._die(error, news)
        if news:
            self._tell(news)

    def refuse(self, mail: list[tuple[_Job, bool]]) -> None:
        """The backend closes: whoever still waits is told."""
        self.take(mail)
        error = BackendError("the backend was closed while a request was running", "start the run again")
        self._tell([(job, error, "") for job in (*self._waiting.values(), *self._live.values())])

    def close(self) -> None:
        """Free the decoder."""
        decoder, self._decoder = self._decoder, None
        if decoder is not None:
            decoder.close()

    def _fill(self, decoder: Decoder, news: list[_News]) -> None:
        while self._waiting and len(self._live) < self._slots:
            uid = next(iter(self._waiting))
            job = self._waiting.pop(uid)
            try:
                job.prompt_tokens = decoder.add(uid, job.request)
            except BackendError as error:
                news.append((job, error, ""))
            except Exception as error:
                why = f"the decoder refused the request: {error or type(error).__name__}"
                news.append((job, BackendError(why, "change the prompt or the sampling"), ""))
            else:
                self._live[uid] = job

    def _apply(self, step: Step, decoder: Decoder, news: list[_News]) -> None:
        job = self._live.get(step.uid)
        if job is None:
            return  # a stop text ended it earlier in the same step
        if step.error is not None:
            del self._live[step.uid]
            news.append((job, step.error, ""))
            return
        job.tokens += step.tokens
        job.logprobs.extend(step.logprobs)
        text = job.stream.feed(step.piece)
        by_text = job.stream.stopped_by
        if by_text is None and step.finish is None:
            _say(job, text, news)
            return
        if by_text is not None and step.finish is None:
            decoder.remove(step.uid)
        if by_text is None:
            text += job.stream.finish()
        del self._live[step.uid]
        self._finished_any = True
        news.append((job, _completion(job, step, by_text), job.unsaid + text))

    def _die(self, error: Exception, news: list[_News]) -> None:
        """Fail everything: what was written is lost, what waits may be tried again."""
        with contextlib.suppress(Exception):
            self.close()
        again = self._finished_any and not isinstance(error, LocalsynthError)
        self._finished_any = False
        if isinstance(error, LocalsynthError):
            told = BackendError(error.message, error.hint)
        else:
            told = BackendError(
                f"the decoder failed: {error or type(error).__name__}",
                "it is loaded again for the next request; if this repeats, use fewer slots or less context",
                retryable=again,
            )
        if not again:
            self.over = told
        news.extend((job, told, "") for job in (*self._live.values(), *self._waiting.values()))
        self._live.clear()
        self._waiting.clear()


def _completion(job: _Job, step: Step, by_text: str | None) -> Completion:
    return Completion(
        text=job.stream.text,
        finish_reason="stop" if by_text is not None else step.finish or "stop",
        stopped_by=by_text if by_text is not None else step.stopped_by,
        prompt_tokens=job.prompt_tokens,
        completion_tokens=job.tokens,
        duration=monotonic() - job.started,
        logprobs=tuple(job.logprobs) if job.request.logprobs else None,
    )


def _say(job: _Job, text: str, news: list[_News]) -> None:
    """Collect text for `on_text`, so that a fast decoder does not flood the event loop."""
    if job.on_text is None:
        return
    job.unsaid += text
    now = monotonic()
    if job.unsaid and now - job.said_at >= TEXT_EVERY:
        job.said_at = now
        news.append((job, None, job.unsaid))
        job.unsaid = ""


def _deliver(news: list[_News]) -> None:
    for job, outcome, text in news:
        if job.future.done():
            continue
        if text and job.on_text is not None:
            try:
                job.on_text(text)
            except Exception as error:
                loop = job.future.get_loop()
                loop.call_exception_handler({"message": "on_text failed", "exception": error})
        if isinstance(outcome, Completion):
            job.future.set_result(outcome)
        elif outcome is not None:
            job.future.set_exception(copy.copy(outcome))


def _set_result(future: asyncio.Future[BackendInfo], info: BackendInfo) -> None:
    if not future.done():
        future.set_result(info)


def _set_exception(future: asyncio.Future[BackendInfo], error: LocalsynthError) -> None:
    if not future.done():
        future.set_exception(error)
