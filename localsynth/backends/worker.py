"""The decoder's thread: fills free slots, steps, and turns what comes of it into completions."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from localsynth.backends.base import BackendInfo
from localsynth.backends.textstop import TextStream, tell
from localsynth.errors import BackendError, LocalsynthError
from localsynth.records import Completion, FinishReason, Request

TEXT_EVERY = 0.25  # seconds between two pieces of text that a listener is told


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

    @property
    def room(self) -> int:
        """Requests that may be live now; at most `info.max_concurrency`, fewer while memory is short."""
        ...

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
class Job:
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
News = tuple[Job, Completion | LocalsynthError | None, str]


class Worker:
    """The decoder's thread: who waits, who is live, and what came of them."""

    def __init__(self, decoder: Decoder, load: Callable[[], Decoder], tell: Callable[[list[News]], None]) -> None:
        self._decoder: Decoder | None = decoder
        self._load, self._tell = load, tell
        self._waiting: dict[int, Job] = {}
        self._live: dict[int, Job] = {}
        self._finished_any = True
        self.over: BackendError | None = None

    @property
    def busy(self) -> bool:
        """Whether there is something to step."""
        return bool(self._live or self._waiting)

    def take(self, mail: list[tuple[Job, bool]]) -> None:
        """Queue new jobs and drop cancelled ones."""
        gone: list[Job] = []
        for job, cancel in mail:
            if not cancel:
                self._waiting[job.uid] = job
            elif self._live.pop(job.uid, None) is not None:
                gone.append(job)
            else:
                self._waiting.pop(job.uid, None)
        try:
            for job in gone:
                if self._decoder is not None:
                    self._decoder.remove(job.uid)
        except Exception as error:
            news: list[News] = []
            self._die(error, news)
            self._tell(news)

    def step(self) -> None:
        """Fill free slots, sample once for all, and tell the loop what came of it, in one wake-up."""
        if not self.busy:
            return
        news: list[News] = []
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

    def refuse(self, mail: list[tuple[Job, bool]]) -> None:
        """The backend is closed: whoever still waits is told."""
        self.take(mail)
        error = BackendError("the backend was closed while a request was running", "start the run again")
        self._tell([(job, error, "") for job in (*self._waiting.values(), *self._live.values())])

    def close(self) -> None:
        """Free the decoder. What goes wrong in that harms nobody any more."""
        decoder, self._decoder = self._decoder, None
        if decoder is not None:
            with contextlib.suppress(Exception):
                decoder.close()

    def _fill(self, decoder: Decoder, news: list[News]) -> None:
        while self._waiting and len(self._live) < decoder.room:
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

    def _apply(self, step: Step, decoder: Decoder, news: list[News]) -> None:
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

    def _die(self, error: Exception, news: list[News]) -> None:
        """Fail everything: what was written is lost, what waits may be tried again."""
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


def _completion(job: Job, step: Step, by_text: str | None) -> Completion:
    return Completion(
        text=job.stream.text,
        finish_reason="stop" if by_text is not None else step.finish or "stop",
        stopped_by=by_text if by_text is not None else step.stopped_by,
        prompt_tokens=job.prompt_tokens,
        completion_tokens=job.tokens,
        duration=monotonic() - job.started,
        logprobs=tuple(job.logprobs) if job.request.logprobs else None,
    )


def _say(job: Job, text: str, news: list[News]) -> None:
    """Collect text for `on_text`, so that a fast decoder does not flood the event loop."""
    if job.on_text is None:
        return
    job.unsaid += text
    now = monotonic()
    if job.unsaid and now - job.said_at >= TEXT_EVERY:
        job.said_at = now
        news.append((job, None, job.unsaid))
        job.unsaid = ""


def deliver(news: list[News]) -> None:
    for job, outcome, text in news:
        if job.future.done():
            continue
        tell(job.on_text, text)
        if isinstance(outcome, Completion):
            job.future.set_result(outcome)
        elif outcome is not None:
            job.future.set_exception(copy.copy(outcome))
