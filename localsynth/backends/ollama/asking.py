"""One request in Ollama's words, and what comes back."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Any

from localsynth.backends.base import BackendInfo
from localsynth.backends.http import OVERLOADED, Http, Reply, check_size, count
from localsynth.backends.textstop import TextStream, tell
from localsynth.errors import BackendError, ContextOverflow
from localsynth.printable import one_line
from localsynth.records import Completion, Request

_PATH = "/api/generate"
_HINT = "look at the log of `ollama serve`"


class Asking:
    """One raw completion; always streamed, so that a stop text is found here and can be named."""

    def __init__(
        self, http: Http, info: BackendInfo, request: Request, prompt: str, on_text: Callable[[str], None] | None
    ) -> None:
        """`prompt`: the request's, as Ollama is to be given it."""
        self._http, self._info, self._request, self._prompt, self._on_text = http, info, request, prompt, on_text
        self.overloaded = False

    async def run(self) -> Completion:
        """The completion; its duration is 0. BackendError, with `overloaded` set where the server had too much."""
        stream, end = TextStream(self._request.stop), None
        pieces = length = 0
        async with self._http.stream(_PATH, self._body(self._prompt)) as (reply, lines):
            self._check_status(reply)
            async with aclosing(_parts(lines, self._http.quote)) as answered:
                async for part in answered:
                    text = str(part.get("response") or "")
                    pieces, length = pieces + bool(text), length + len(text)
                    check_size(pieces, length, self._request.sampling.max_tokens)
                    self._say(stream.feed(text.encode("utf-8", "replace")))
                    end = part if part.get("done") else end
                    if stream.stopped_by is not None:
                        break
        if stream.stopped_by is not None:
            # Each part is a token; what the server still wrote behind the stop text is nobody's.
            return self._completion(stream, stream.stopped_by, None, pieces)
        if end is None:
            raise BackendError("Ollama's stream ended before the answer did", _HINT, retryable=True)
        self._say(stream.finish())
        return self._ended(stream, end, pieces)

    def _ended(self, stream: TextStream, end: Mapping[str, Any], pieces: int) -> Completion:
        reason, told = end.get("done_reason"), count(end.get("eval_count"))
        written = pieces if told is None else told
        if reason == "length":
            if written < self._request.sampling.max_tokens:
                raise ContextOverflow(
                    f"the answer was cut after {written} tokens: the context of {self._info.context} is full",
                    "ask for fewer tokens, or raise --context",
                )
            return self._completion(stream, None, end, written)
        if reason != "stop":
            why = self._http.quote(str(reason), 40)
            raise BackendError(f"Ollama broke an answer off: {why}", _HINT, retryable=True)
        tokens = self._info.tokens
        ended_by = tokens.control.get(tokens.eos, next(iter(tokens.end_ids), None))
        return self._completion(stream, ended_by, end, written)

    def _completion(
        self, stream: TextStream, ended_by: int | str | None, end: Mapping[str, Any] | None, written: int
    ) -> Completion:
        return Completion(
            text=stream.text,
            finish_reason="length" if ended_by is None else "stop",
            stopped_by=ended_by,
            prompt_tokens=count((end or {}).get("prompt_eval_count")) or 0,
            completion_tokens=written,
            duration=0.0,
        )

    def _body(self, prompt: str) -> dict[str, Any]:
        sampling, tokens = self._request.sampling, self._info.tokens
        texts = {number: text for text, number in tokens.control.items()}
        ends = dict.fromkeys((*self._request.stop_ids, *tokens.end_ids))
        # Every value is sent: a model's Modelfile has defaults of its own, stop texts among them.
        options = {
            "num_predict": sampling.max_tokens,
            "num_ctx": self._info.context,
            "seed": self._request.seed,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "repeat_penalty": sampling.repeat_penalty,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "stop": [texts[number] for number in ends if number in texts],
        }
        return {"model": self._info.model, "prompt": prompt, "raw": True, "stream": True, "options": options}

    def _check_status(self, reply: Reply) -> None:
        if reply.status == HTTPStatus.OK:
            return
        self.overloaded = reply.status in OVERLOADED
        if reply.status == HTTPStatus.NOT_FOUND:
            name = one_line(self._info.model, 80)
            raise BackendError(f"Ollama no longer has the model {name}", f"ollama pull {name}")
        raise self._http.failure(reply, "a completion")

    def _say(self, text: str) -> None:
        tell(self._on_text, text)


async def _parts(lines: AsyncIterator[bytes], quote: Callable[[str, int], str]) -> AsyncGenerator[Mapping[str, Any]]:
    async for line in lines:
        if not line.strip():
            continue
        try:
            part = json.loads(line)
        except (ValueError, RecursionError):
            part = None
        if not isinstance(part, dict):
            raise BackendError("Ollama's stream broke off in the middle of a part", _HINT, retryable=True)
        if part.get("error"):
            words = quote(str(part["error"]), 200)
            raise BackendError(f"Ollama failed while it answered: {words}", _HINT, retryable=True)
        yield part
