"""What comes back: whole answers and streamed ones, each value checked, as one shape."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from localsynth.backends.http import check_size, count
from localsynth.errors import BackendError

_HINT = "look at the server's log"


@dataclass(slots=True)
class Answer:
    """One choice. `finish` is None while it is written; `ids` and `reason` are None where the server tells none.

    `pieces` counts the parts in which the text came. `most`: the tokens that were asked for. `quote` puts the server's
    words into a message of so many characters.
    """

    most: int
    quote: Callable[[str, int], str]
    model: str | None = None
    finish: str | None = None
    reason: int | str | None = None
    ids: list[int] | None = None
    logprobs: list[float] = field(default_factory=list)
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    pieces: int = 0
    _texts: list[str] = field(default_factory=list)
    _length: int = 0

    @property
    def text(self) -> str:
        """All that came so far."""
        return "".join(self._texts)

    def add(self, data: Mapping[str, Any]) -> str:
        """Take in a whole answer or a part of a streamed one; returns its text. BackendError for what is no answer."""
        error = data.get("error")
        if error:
            said = error.get("message") if isinstance(error, dict) else error
            raise BackendError(
                f"the server failed while it answered: {self.quote(str(said), 200)}", _HINT, retryable=True
            )
        if isinstance(data.get("model"), str):
            self.model = data["model"]
        usage = data.get("usage")
        if isinstance(usage, dict):
            told = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
            self.prompt_tokens = self.prompt_tokens if told[0] is None else told[0]
            self.completion_tokens = self.completion_tokens if told[1] is None else told[1]
        choices = data.get("choices")
        if not isinstance(choices, list) or not choices:
            return ""  # the last part of a stream holds the counts alone
        return self._choice(choices[0])

    def _choice(self, choice: object) -> str:
        if not isinstance(choice, dict) or not isinstance(choice.get("text"), str):
            raise BackendError("the server's answer holds no text", _HINT, retryable=True)
        # JSON can spell half a surrogate pair, which no file and no terminal can hold.
        text = str(choice["text"]).encode("utf-8", "replace").decode()
        self._texts.append(text)
        self._length += len(text)
        self.pieces += 1
        finish, reason, ids = choice.get("finish_reason"), choice.get("stop_reason"), choice.get("token_ids")
        if reason is None:
            reason = choice.get("matched_stop")  # SGLang's word for it
        if isinstance(finish, str):
            self.finish = finish
        if isinstance(reason, int | str):
            self.reason = reason
        if isinstance(ids, list):
            self.ids = [] if self.ids is None else self.ids
            self.ids += (number for number in ids if isinstance(number, int))
        self.logprobs += _logprobs(choice.get("logprobs"))
        check_size(max(self.pieces, len(self.ids or ()), len(self.logprobs)), self._length, self.most)
        return text


async def parts(lines: AsyncIterator[bytes]) -> AsyncGenerator[Mapping[str, Any]]:
    """The parts of a stream of server-sent events, up to [DONE]. A retryable BackendError when it is cut off."""
    done = False
    async for line in lines:
        # What follows [DONE] is read to its end, so that the connection can be used again.
        if done or not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            done = True
            continue
        try:
            part = json.loads(data)
        except (ValueError, RecursionError):
            part = None
        if not isinstance(part, dict):
            raise BackendError("the server's stream broke off in the middle of a part", _HINT, retryable=True)
        yield part
    if not done:
        raise BackendError("the server's stream ended before the answer did", _HINT, retryable=True)


def _logprobs(value: object) -> list[float]:
    """OpenAI's old form lists them; llama-server writes one object per token."""
    if not isinstance(value, dict):
        return []
    found = value.get("token_logprobs")
    if found is None and isinstance(value.get("content"), list):
        found = [entry.get("logprob") for entry in value["content"] if isinstance(entry, dict)]
    if not isinstance(found, list):
        return []
    # Rounding in a server can give a certain token a hair more than 0; an impossible one is -9999, as vLLM has it. Cut
    # first: a whole number of 400 digits, which JSON may hold, does not become a float.
    return [float(max(-9999.0, min(0.0, one))) for one in found if isinstance(one, int | float) and one == one]  # noqa: PLR0124 - not a number
