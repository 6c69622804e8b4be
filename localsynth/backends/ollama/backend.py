"""Ollama by its own interface: `/api/generate` with `raw`, because its /v1/completions applies the model's template."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from localsynth.backends.address import read_address, read_key
from localsynth.backends.base import BackendInfo
from localsynth.backends.concurrency import Concurrency, Gate
from localsynth.backends.http import LOADING, LOOK, Http, as_object, count
from localsynth.backends.ollama.asking import Asking
from localsynth.backends.openai.probe import check_bos, without_bos
from localsynth.backends.openai.served import is_here
from localsynth.backends.openai.vocabulary import Vocabulary, read_vocabulary
from localsynth.errors import BackendError, ContextOverflow, ModelError
from localsynth.printable import one_line
from localsynth.records import Completion, Request

MOST = 4  # Ollama's own default for parallel requests is 1 to 4, by version and memory; it queues the rest
CONTEXT = 4096  # tokens of one request where the plan does not say: Ollama's default, asked for by name
_BLOB = re.compile(r"^FROM\s+(\S.*)$", re.MULTILINE)


class OllamaBackend:
    """One model of an Ollama server. Its chat template is Jinja only in the model file: read from Ollama's own copy
    where the server runs on this machine, else from `tokenizer`, a folder or GGUF file of the same model.

    `context` 0 is 4,096 tokens: Ollama cuts longer prompts silently, so they are refused here before that.
    """

    def __init__(
        self, url: str, model: str, *, tokenizer: Path | None = None, slots: int = 0, context: int = 0
    ) -> None:
        self._url, self._model, self._tokenizer = url, model, tokenizer
        self._context = context or CONTEXT
        self._info: BackendInfo | None = None
        self._http: Http | None = None
        self._vocabulary: Vocabulary | None = None
        self._strips_bos = False
        self._gate = Gate(Concurrency(slots or MOST, slots or MOST))

    @property
    def info(self) -> BackendInfo:
        """What this backend is; known once `open` has returned."""
        if self._info is None:
            raise BackendError("the backend is not open", "await open() first")
        return self._info

    @property
    def gate(self) -> Gate | None:
        """Where requests wait for the server."""
        return self._gate

    async def open(self) -> None:
        """Look at the server. BackendError when it is no Ollama, ModelError when it has not got the model."""
        if self._info is not None:
            return
        address = read_address(self._url or "http://127.0.0.1:11434")
        self._http = Http(address, await asyncio.to_thread(read_key, address))
        try:
            version = await self._version(self._http)
            facts = await self._show(self._http)
            self._context = min(self._context, _trained(facts) or self._context)
            self._vocabulary = await self._read(self._http, facts)
            self._strips_bos = await self._adds_bos(self._http, self._vocabulary)
            check_bos(address.root, self._vocabulary, adds=self._strips_bos)
        except BaseException:
            await self._http.aclose()
            raise
        details = facts.get("details")
        level = details.get("quantization_level") if isinstance(details, dict) else None
        self._info = BackendInfo(
            name="ollama",
            version=version,
            model=self._model,
            max_concurrency=self._gate.concurrency.most,
            context=self._context,
            quantisation=one_line(level, 20) if isinstance(level, str) else None,
            template=self._vocabulary.template,
            tokens=self._vocabulary.tokens,
            stop_token_ids=False,
        )

    async def generate(self, request: Request, on_text: Callable[[str], None] | None = None) -> Completion:
        """Complete one prompt; cancelling gives the slot back. BackendError; ContextOverflow when it does not fit."""
        info, http, vocabulary = self.info, self._http, self._vocabulary
        assert http is not None
        assert vocabulary is not None
        _check(request, info, vocabulary)
        return await self._gate.ask(Asking(http, info, request, self._prompt(request), on_text))

    async def aclose(self) -> None:
        """Close all connections; what still waits fails."""
        self._gate.close()
        if self._http is not None:
            await self._http.aclose()

    def _prompt(self, request: Request) -> str:
        bos = self.info.tokens.bos
        return without_bos(request.prompt, bos) if self._strips_bos else request.prompt

    async def _version(self, http: Http) -> str:
        reply = await http.get("/api/version")
        if reply.status == HTTPStatus.OK:
            version = as_object(reply, http.address.root).get("version")
            if isinstance(version, str):
                return one_line(version, 40)
        raise BackendError(
            f"{http.address.root} is no Ollama server", "check the port (11434); for others --backend openai"
        )

    async def _show(self, http: Http) -> dict[str, Any]:
        reply = await http.post("/api/show", {"model": self._model}, within=LOOK)
        if reply.status == HTTPStatus.OK:
            return as_object(reply, http.address.root)
        if reply.status != HTTPStatus.NOT_FOUND:
            raise http.failure(reply, "/api/show")
        tags = await http.get("/api/tags")
        found = as_object(tags, http.address.root).get("models") if tags.status == HTTPStatus.OK else None
        cards = found if isinstance(found, list) else []
        names = [http.quote(str(one.get("name")), 60) for one in cards if isinstance(one, dict)]
        has = f"it has: {', '.join(names[:12])}" if names else "it has none yet"
        raise ModelError(
            f"Ollama has no model {one_line(self._model, 80)!r}; {has}", f"ollama pull {one_line(self._model, 80)}"
        )

    async def _read(self, http: Http, facts: Mapping[str, Any]) -> Vocabulary:
        if self._tokenizer is not None:
            return await asyncio.to_thread(read_vocabulary, self._tokenizer)
        found = _BLOB.search(str(facts.get("modelfile", "")))
        if http.address.loopback and found and await asyncio.to_thread(is_here, found[1]):
            return await asyncio.to_thread(read_vocabulary, Path(found[1]))
        raise ModelError(
            f"Ollama does not tell the chat template of {one_line(self._model, 80)} in a form that can be used",
            "name the folder or GGUF file of the same model with --tokenizer",
        )

    async def _adds_bos(self, http: Http, vocabulary: Vocabulary) -> bool:
        """Whether a BOS is put before a raw prompt: one control string is then two tokens."""
        mark = next(iter(vocabulary.tokens.control), None)
        if mark is None:
            return False
        # The context of later requests: another one would make Ollama load the model twice.
        options = {"num_predict": 1, "num_ctx": self._context, "temperature": 0.0, "seed": 0}
        body = {"model": self._model, "prompt": mark, "raw": True, "stream": False, "options": options}
        reply = await http.post("/api/generate", body, within=LOADING)
        if reply.status != HTTPStatus.OK:
            raise http.failure(reply, f"a first completion by {one_line(self._model, 80)}")
        made = count(as_object(reply, http.address.root).get("prompt_eval_count"))
        if made is None or made > 2:
            raise BackendError(
                f"Ollama makes {made} tokens of one control string, so a raw prompt does not reach the model as it is",
                "update Ollama, or use llama-server with the same model",
            )
        return made == 2


def _check(request: Request, info: BackendInfo, vocabulary: Vocabulary) -> None:
    """What Ollama would do wrong without a word: cut a prompt that is too long, forget what a text must not begin
    with."""
    if any(request.sampling.avoid_first):
        raise BackendError("Ollama has no logit bias, which avoid_first needs", "leave avoid_first out of the plan")
    ids, most = vocabulary.encode(request.prompt), request.sampling.max_tokens
    prompt = len(ids) if ids is not None else 1
    if prompt + most > info.context:
        raise ContextOverflow(
            f"the prompt and {most} tokens more do not fit into a context of {info.context}",
            "ask for fewer tokens, or raise --context",
        )


def _trained(facts: Mapping[str, Any]) -> int:
    """The context that the model was trained with; 0 where it is not told."""
    values = facts.get("model_info")
    if not isinstance(values, dict):
        return 0
    found = values.get(f"{values.get('general.architecture')}.context_length")
    return count(found) or 0
