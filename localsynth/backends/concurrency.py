"""How many requests a server gets at once: found by trying, never asked of the user."""

from __future__ import annotations

import asyncio
import copy
import math
from collections import deque
from dataclasses import replace
from time import monotonic
from typing import Protocol

from localsynth.errors import BackendError
from localsynth.records import Completion

GAIN = 1.05  # a higher limit must bring this much more throughput to be kept
SETTLED = 8  # windows after which a settled limit is tried again: the mix of short and long requests changes


class Concurrency:
    """The limit, from what became of the requests. Times are seconds of any clock that only goes forward.

    It grows while throughput rises, goes back one step when it does not, and is halved when the server is overloaded;
    after that it grows by one at a time, as TCP does.
    """

    def __init__(self, most: int, start: int) -> None:
        self.most = max(1, most)
        self.limit = min(max(1, start), self.most)
        self._before = self.limit
        self._best = 0.0
        self._careful = False
        self._rest = 0
        self._cut_at = -math.inf
        self._since, self._tokens, self._done, self._queued = 0.0, 0, 0, False

    def finished(self, tokens: int, started: float, now: float, *, queued: bool) -> None:
        """A request that began at `started` brought `tokens`; `queued`: another one waits for its place."""
        if started < self._cut_at:
            return  # one of the too many: what they bring is not what the lower limit brings
        self._done += 1
        self._queued = self._queued or queued
        if self._done == self.limit:
            # What was sent under the old limit is out of the way: measure from here.
            self._since, self._tokens = now, 0
            return
        self._tokens += tokens
        if self._done < 2 * self.limit or now <= self._since:
            return
        rate, full = self._tokens / (now - self._since), self._queued
        self._open_window(now)
        if full:
            self._judge(rate)

    def overloaded(self, started: float, now: float) -> None:
        """The server refused a request that began at `started`, or did not answer in time."""
        if started < self._cut_at:
            return  # sent before the last cut: its failure says nothing about the limit that holds now
        self.limit = self._before = max(1, self.limit // 2)
        self._cut_at, self._best, self._careful, self._rest = now, 0.0, True, 0
        self._open_window(now)

    def _judge(self, rate: float) -> None:
        if self._rest:
            self._rest -= 1
            if not self._rest:
                self._best = rate
                self._grow()
        elif rate > self._best * GAIN:
            self._best = rate
            self._grow()
        else:
            self.limit, self._rest = self._before, SETTLED

    def _grow(self) -> None:
        self._before = self.limit
        self.limit = min(self.most, self.limit + (1 if self._careful else max(1, self.limit // 2)))

    def _open_window(self, now: float) -> None:
        self._since, self._tokens, self._done, self._queued = now, 0, 0, False


class Asking(Protocol):
    """One request to a server. After a BackendError `overloaded` says whether the server had too much to do."""

    @property
    def overloaded(self) -> bool: ...

    async def run(self) -> Completion: ...


class Gate:
    """Lets as many requests through at once as the limit says, in order of arrival, and learns from each."""

    def __init__(self, concurrency: Concurrency) -> None:
        self.concurrency = concurrency
        self.inside = 0
        self._closed: BackendError | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def queued(self) -> bool:
        """Whether a request waits for its place."""
        return bool(self._waiting)

    async def ask(self, asking: Asking) -> Completion:
        """Run a request when there is a place for it; its duration includes the wait. BackendError."""
        arrived = monotonic()
        await self.enter()
        sent = monotonic()
        try:
            done = await asking.run()
        except BackendError:
            if asking.overloaded:
                self.concurrency.overloaded(sent, monotonic())
            raise
        finally:
            self.leave()
        now = monotonic()
        self.concurrency.finished(done.completion_tokens, sent, now, queued=self.queued)
        return replace(done, duration=now - arrived)

    async def enter(self) -> None:
        """Wait for a place; a cancelled wait leaves nothing behind. BackendError once the gate is closed."""
        if self._closed is not None:
            raise copy.copy(self._closed)
        if self.inside < self.concurrency.limit and not self._waiting:
            self.inside += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # the place was given in the moment of the cancellation
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def close(self) -> None:
        """Whoever waits, or comes later, is told."""
        self._closed = error = BackendError("the backend is closed", "start the run again")
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(copy.copy(error))

    def leave(self) -> None:
        """Give the place back, and hand free places on."""
        self.inside -= 1
        while self._waiting and self.inside < self.concurrency.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self.inside += 1
                turn.set_result(None)
