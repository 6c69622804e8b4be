"""A backend that runs in a Ray actor, as the backends of a cluster's workers do, reached over Ray."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

from localsynth.backends.base import Backend, BackendInfo
from localsynth.config import Plan
from localsynth.engine.building import build_backend
from localsynth.errors import BackendError
from localsynth.records import Completion, Request


class Owner:
    """The actor: the backend of a plan, built and used in this process alone."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._backend: Backend | None = None
        self._cancelled = 0

    async def open(self) -> BackendInfo:
        backend = build_backend(self._plan.ask, self._plan)
        await backend.open()
        self._backend = backend
        return backend.info

    async def generate(self, request: Request) -> AsyncIterator[str | Completion]:
        """The text as it comes, then the completion."""
        news: asyncio.Queue[str | None] = asyncio.Queue()
        task = asyncio.ensure_future(self._backend.generate(request, news.put_nowait))
        task.add_done_callback(lambda _: news.put_nowait(None))
        try:
            while (text := await news.get()) is not None:
                yield text
            yield await task
        finally:
            if not task.done():
                task.cancel()
            with contextlib.suppress(BaseException):
                await task
            self._cancelled += task.cancelled()

    async def cancelled(self) -> int:
        """How many requests ended in the backend itself because nobody wants them any more."""
        return self._cancelled

    async def aclose(self) -> None:
        if self._backend is not None:
            await self._backend.aclose()


class RayBackend:
    """The far side of an owner. Errors are those that the backend there raised; a process that is gone is one too."""

    def __init__(self, plan: Plan) -> None:
        import ray

        # An actor's process finds what is installed, not what lies beside a test.
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        self._ray = ray
        self.owner = ray.remote(Owner).options(num_cpus=0, max_restarts=0).remote(plan)
        self._info: BackendInfo | None = None

    @property
    def info(self) -> BackendInfo:
        if self._info is None:
            raise BackendError("the backend is not open", "await open() first")
        return self._info

    async def open(self) -> None:
        self._info = await self._over(self.owner.open.remote())

    async def generate(self, request: Request, on_text: Callable[[str], None] | None = None) -> Completion:
        _ = self.info
        pieces = self.owner.generate.options(num_returns="streaming").remote(request)
        try:
            async for piece in pieces:
                found = await self._over(piece)
                if isinstance(found, Completion):
                    return found
                if on_text is not None:
                    on_text(found)
        except asyncio.CancelledError:
            self._ray.cancel(pieces)
            raise
        raise AssertionError("the stream ended without a completion")

    async def aclose(self) -> None:
        await self._over(self.owner.aclose.remote())

    async def _over(self, ref: Any) -> Any:
        try:
            return await ref
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayError as error:
            raise BackendError(
                f"the process of the backend is gone: {error}", "start it again", retryable=True
            ) from None
