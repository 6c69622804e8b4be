"""The backend over a server's raw /v1/completions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from localsynth.backends.address import read_address, read_key
from localsynth.backends.base import BackendInfo
from localsynth.backends.concurrency import Concurrency, Gate
from localsynth.backends.http import Http
from localsynth.backends.openai.asking import Asking, Server
from localsynth.backends.openai.probe import probe
from localsynth.backends.openai.served import look
from localsynth.errors import BackendError
from localsynth.records import Completion, Request

MOST, START = 128, 8  # requests at once where nobody says how many: the bound, and how many it begins with


class OpenAIBackend:
    """One model on one server. `model` "" is the only one served; `tokenizer` is the folder or GGUF file of the same
    model, needed where the server is on another machine and tells no chat template.

    `slots` 0 finds out how many requests at once the server sustains; otherwise that many, 1,024 at the most, and less
    when it is overloaded. `context` lowers what one request may use. The key comes from the environment or the keyring:
    see `read_key`.
    """

    def __init__(
        self, url: str, model: str = "", *, tokenizer: Path | None = None, slots: int = 0, context: int = 0
    ) -> None:
        self._url, self._model, self._tokenizer, self._slots, self._context = url, model, tokenizer, slots, context
        self._info: BackendInfo | None = None
        self._server: Server | None = None
        self._gate: Gate | None = None

    @property
    def info(self) -> BackendInfo:
        """What this backend is; known once `open` has returned."""
        if self._info is None:
            raise BackendError("the backend is not open", "await open() first")
        return self._info

    @property
    def gate(self) -> Gate | None:
        """Where requests wait for the server; None before `open`."""
        return self._gate

    async def open(self) -> None:
        """Look at the server and probe it. BackendError when it cannot be used, ModelError when the model cannot."""
        if self._server is not None:
            return
        address = read_address(self._url)
        http = Http(address, await asyncio.to_thread(read_key, address))
        try:
            served = await look(http, self._model, self._tokenizer)
            manners = await probe(http, served)
        except BaseException:
            await http.aclose()
            raise
        context = min(served.context, self._context or served.context)
        self._server = Server(http, served, manners, context)
        told = self._slots or served.slots
        self._gate = Gate(Concurrency(told or MOST, told or START))
        self._info = BackendInfo(
            name=served.kind,
            version=served.version,
            model=served.model,
            max_concurrency=self._gate.concurrency.most,
            context=context,
            template=served.vocabulary.template,
            tokens=served.vocabulary.tokens,
            seeds="seed" not in manners.refused,
            logprobs=True,
            stop_token_ids=served.kind == "vllm",
        )

    async def generate(self, request: Request, on_text: Callable[[str], None] | None = None) -> Completion:
        """Complete one prompt; cancelling gives the server's slot back. BackendError; ContextOverflow when it does not
        fit."""
        if self._server is None or self._gate is None:
            raise BackendError("the backend is not open", "await open() first")
        return await self._gate.ask(Asking(self._server, request, on_text))

    async def aclose(self) -> None:
        """Close all connections; what still waits fails."""
        if self._gate is not None:
            self._gate.close()
        if self._server is not None:
            await self._server.http.aclose()
