"""The backend over vLLM's async engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from localsynth.backends.base import BackendInfo
from localsynth.backends.textstop import tell
from localsynth.backends.tokenizer import LocalTokenizer, read_tokenizer
from localsynth.backends.vllm import library, rows
from localsynth.backends.vllm.engine import Engine, EngineFacts
from localsynth.backends.vllm.settings import VllmSettings, engine_arguments, revision_of
from localsynth.backends.weights import digesting
from localsynth.errors import BackendError, ContextOverflow, LocalsynthError
from localsynth.records import Completion, Request

OnText = Callable[[str], None]


class VllmBackend:
    """A model folder, loaded by `open`. ModelError for one that cannot be run, MissingPackage without vLLM.

    An engine that dies fails what it was writing with a retryable BackendError; the next request starts it again, once:
    if it dies again before it finished anything, the backend is over.
    """

    def __init__(self, path: Path, settings: VllmSettings | None = None, *, name: str | None = None) -> None:
        self._path, self._settings = path, settings or VllmSettings()
        self._name = name or path.name
        self._info: BackendInfo | None = None
        self._engine: Engine | None = None
        self._starting = asyncio.Lock()
        self._running: set[asyncio.Task[Completion]] = set()
        self._finished_any = True
        self._over: BackendError | None = None

    @property
    def info(self) -> BackendInfo:
        """What this backend is; known once `open` has returned."""
        if self._info is None:
            raise BackendError("the backend is not open", "await open() first")
        return self._info

    async def open(self) -> None:
        """Start the engine. ModelError when the model cannot be used."""
        if self._info is not None:
            return
        version = library.check()
        engine_arguments(self._path, self._settings, on_cpu=False)  # what the folder lacks is said before vLLM loads
        self._tokenizer: LocalTokenizer = await asyncio.to_thread(read_tokenizer, self._path)
        with digesting(self._path) as digest:
            async with self._starting:
                self._facts: EngineFacts = (await self._start()).facts()
            sha256 = await asyncio.wrap_future(digest)
        self._info = BackendInfo(
            name="vllm",
            version=f"vllm {version}",
            model=self._name,
            max_concurrency=self._facts.slots,
            context=self._facts.context,
            revision=revision_of(self._path),
            file=str(self._path),
            sha256=sha256,
            quantisation=self._facts.quantisation,
            template=self._tokenizer.template,
            tokens=self._tokenizer.tokens,
            logprobs=True,
        )

    async def generate(self, request: Request, on_text: OnText | None = None) -> Completion:
        """Complete one prompt; cancelling frees its row. BackendError; ContextOverflow when it does not fit."""
        if self._info is None:
            raise BackendError("the backend is not open", "await open() first")
        if self._over is not None:
            raise self._over
        task = asyncio.ensure_future(self._complete(request, on_text))
        self._running.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if self._over is not None and caller is not None and not caller.cancelling():
                why = "the backend was closed while a request was running"
                raise BackendError(why, "start the run again") from None
            raise
        finally:
            self._running.discard(task)

    async def aclose(self) -> None:
        """End the engine; what still runs fails."""
        self._over = BackendError("the backend is closed", "start the run again")
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        async with self._starting:
            engine, self._engine = self._engine, None
            if engine is not None:
                await engine.stop()

    async def _complete(self, request: Request, on_text: OnText | None) -> Completion:
        ids = self._tokenizer.encode(request.prompt)
        if not ids:
            raise BackendError("the prompt is empty", "a raw prompt needs at least one token")
        if len(ids) + request.sampling.max_tokens > self.info.context:
            raise ContextOverflow(
                f"the prompt has {len(ids)} tokens and {request.sampling.max_tokens} more are asked for, "
                f"but a row has room for {self.info.context}",
                "shorten the prompt, lower max_tokens, or set more --context",
            )
        stops = self._existing((*request.stop_ids, *self._tokenizer.tokens.end_ids))
        row = rows.Row(request, ids, stops, self._tokenizer.piece)
        engine = await self._alive()
        try:
            await self._write(engine, row, on_text)
        except BackendError as error:
            if error.retryable:
                raise BackendError(error.message, error.hint, retryable=self._finished_any) from None
            raise
        self._finished_any = True
        return row.completion()

    async def _write(self, engine: Engine, row: rows.Row, on_text: OnText | None) -> None:
        """Feed the row until it is finished.

        vLLM applies a bias to every token of a request, and takes no logits processors from a request. So where the
        first token is restricted it is a request of its own; the next finds the prompt in the prefix cache.
        """
        avoid, ids = row.request.sampling.avoid_first, list(row.prompt)
        first = self._existing(self._tokenizer.avoided(avoid)) if avoid else []
        fields = rows.sampling(row.request, row.stops, first=first)
        if first:
            ids += await _feed(engine, ids, fields, row, on_text)
            fields = rows.rest(fields, row.request)
        if row.finish is None:
            await _feed(engine, ids, fields, row, on_text)
        if row.finish is None:
            raise BackendError("vLLM ended a request before it was whole", "start the run again", retryable=True)

    def _existing(self, ids: tuple[int, ...]) -> list[int]:
        """Those that the model can write: vLLM refuses a request that names others."""
        return [token for token in dict.fromkeys(ids) if token < self._facts.vocabulary]

    async def _alive(self) -> Engine:
        """The engine; another one when it died."""
        async with self._starting:
            if self._over is not None:
                raise self._over
            if self._engine is None or not self._engine.dead:
                return await self._start()
            dead, self._engine = self._engine, None
            error = dead.died()
            await dead.stop()
            try:
                if not self._finished_any:
                    raise error
                self._finished_any = False
                return await self._start()
            except LocalsynthError as failed:
                self._over = BackendError(failed.message, failed.hint)
                raise self._over from None

    async def _start(self) -> Engine:
        if self._engine is None:
            engine = Engine(self._path, self._settings)
            await engine.start()
            self._engine = engine
        return self._engine


async def _feed(
    engine: Engine, ids: list[int], fields: dict[str, Any], row: rows.Row, on_text: OnText | None
) -> list[int]:
    """One request of the engine into the row, up to its end or the row's; returns the tokens."""
    written: list[int] = []
    async with contextlib.aclosing(engine.tokens(ids, fields)) as news:
        async for new, logprobs in news:
            written += new
            text = row.feed(new, logprobs)
            tell(on_text, text)
            if row.finish is not None:
                break
    return written
