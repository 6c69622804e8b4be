"""How many requests a server gets at once: found by trying, never asked of the user."""

from __future__ import annotations

import asyncio
import copy
import math
from collections import deque
from dataclasses import replace
from time import monotonic
from typing import Protocol, runtime_checkable

from localsynth.errors import BackendError
from localsynth.records import Completion

GAIN = 0.05  # a higher limit must bring this share more throughput to be kept; a lower one may cost so much
SETTLED = 8  # windows after which a settled limit is tried again: the mix of short and long requests changes
MOST_SLOTS = 1024  # requests at once at the most, whatever a server or a plan says: each holds a connection
WINDOW = 32  # requests that a limit is judged by, at least; twice the limit where that is more


class Concurrency:
    """The limit, from what became of the requests. Times are seconds of any clock that only goes forward.

    It grows while throughput rises, goes back a step when it does not, and is halved when the server is overloaded;
    then it grows by an eighth at a time up to where that was. A settled limit is tried lower and higher in turns, but
    never lower where it began at `most`, which somebody has chosen.

    Throughput is Little's law: the limit times the tokens of a request by its seconds. Short and long requests have
    much the same speed, so this is known from far fewer of them than tokens by the clock.
    """

    def __init__(self, most: int, start: int) -> None:
        self.most = min(max(1, most), MOST_SLOTS)
        self.limit = min(max(1, start), self.most)
        self._chosen = self.limit == self.most
        self._before = self.limit
        self._best = self._settled = 0.0
        self._refused = self._rest = 0
        self._lower = False
        self._cut_at = self._opened = -math.inf
        self._done, self._tokens, self._seconds = 0, 0, 0.0

    def finished(self, tokens: int, started: float, now: float, *, full: bool) -> None:
        """A request that began at `started` brought `tokens`; `full`: no place was free until it ended."""
        if started <= self._opened or not full:
            return  # it ran in part under another limit, or the limit held nobody back
        self._done, self._tokens, self._seconds = self._done + 1, self._tokens + tokens, self._seconds + now - started
        if self._done < max(WINDOW, 2 * self.limit) or not self._seconds:
            return
        rate = self.limit * self._tokens / self._seconds
        self._open_window(now)
        self._judge(rate)

    def overloaded(self, started: float, now: float) -> None:
        """The server refused a request that began at `started`, or did not answer in time."""
        if started < self._cut_at:
            return  # sent before the last cut: its failure says nothing about the limit that holds now
        self._refused = self.limit
        self.limit = self._before = max(1, self.limit // 2)
        self._cut_at, self._best, self._rest = now, 0.0, 0
        self._open_window(now)

    def _judge(self, rate: float) -> None:
        if self._rest:
            self._rest -= 1
            self._settled += rate / SETTLED
            if not self._rest:
                self._best = self._settled
                self._lower = not self._lower and not self._chosen
                self._shrink() if self._lower else self._grow()
        elif self.limit < self._before:
            self._settle(self.limit if rate >= self._best * (1 - GAIN) else self._before)
        # Of a small step no more is asked than half of what it brings where throughput grows with the limit.
        elif rate > self._best * (1 + min(GAIN, (self.limit / self._before - 1) / 2)):
            self._best = rate
            self._grow()
        else:
            self._settle(self._before)

    def _settle(self, limit: int) -> None:
        self.limit, self._rest, self._settled = limit, SETTLED, 0.0

    def _grow(self) -> None:
        self._before = self.limit
        self.limit = min(self.most, self.limit + max(1, self.limit // (8 if self.limit < self._refused else 2)))

    def _shrink(self) -> None:
        self._before = self.limit
        self.limit = max(1, self.limit * 2 // 3)

    def _open_window(self, now: float) -> None:
        self._opened, self._done, self._tokens, self._seconds = now, 0, 0, 0.0


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
        except BackendError as error:
            # A server that does not answer in time has too much, too.
            if asking.overloaded or isinstance(error.__cause__, TimeoutError):
                self.concurrency.overloaded(sent, monotonic())
            raise
        finally:
            full = self.inside >= self.concurrency.limit
            self.leave()
        now = monotonic()
        self.concurrency.finished(done.completion_tokens, sent, now, full=full)
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
        self._closed = BackendError("the backend is closed", "start the run again")
        self.turn_away(self._closed)

    def turn_away(self, error: BackendError) -> None:
        """Whoever waits gets this error; what runs goes on."""
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


@runtime_checkable
class Gated(Protocol):
    """A backend whose requests wait at a gate; None until it is open."""

    @property
    def gate(self) -> Gate | None: ...


def gate_of(backend: object) -> Gate | None:
    """The gate of a backend that has one."""
    return backend.gate if isinstance(backend, Gated) else None
