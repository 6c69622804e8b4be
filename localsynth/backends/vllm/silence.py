"""Ends the waiting for an engine that lives and answers nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

# Longer than vLLM's own limit for one step, 300 s: where a step is what hangs, vLLM's error says more.
SILENCE_S = 360.0
# A run that is stopped with Ctrl-Z misses one look, however long it stands still.
LOOKS = 12


class Silence:
    """Fails all who wait with TimeoutError when none of them heard anything for `limit_s` seconds, after a call of
    `broken`; sooner where the engine is `dead` and nobody told them.

    One request has no limit: it may be queued behind others for hours, and those are heard.
    """

    def __init__(self, dead: Callable[[], bool], broken: Callable[[], None], limit_s: float = SILENCE_S) -> None:
        self.limit_s = limit_s
        self._dead, self._broken = dead, broken
        self._quiet = 0
        self._waiting: set[asyncio.Timeout] = set()
        self._timer: asyncio.TimerHandle | None = None

    def heard(self) -> None:
        """The engine said something to somebody."""
        self._quiet = 0

    @asynccontextmanager
    async def broken_off(self) -> AsyncIterator[None]:
        """What is awaited inside ends with the silence."""
        async with asyncio.timeout(None) as mine:
            if not self._waiting:
                self._quiet = 0
                self._wait()
            self._waiting.add(mine)
            try:
                yield
            finally:
                self._waiting.discard(mine)
                if not self._waiting and self._timer is not None:
                    self._timer.cancel()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.limit_s / LOOKS, self._look)

    def _look(self) -> None:
        self._quiet += 1
        if self._quiet >= LOOKS or self._dead():
            if not self._dead():
                self._broken()
            now = asyncio.get_running_loop().time()
            for each in self._waiting:
                if each.when() is None:
                    each.reschedule(now)
        self._wait()
