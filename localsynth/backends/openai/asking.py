"""One request to a server, from our words to its words and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from localsynth.backends.http import OVERLOADED, Http, Reply, as_object
from localsynth.backends.openai.answer import Answer, parts
from localsynth.backends.openai.body import PENALTIES, completion_body
from localsynth.backends.openai.probe import Manners, without_bos
from localsynth.backends.openai.served import Served
from localsynth.backends.textstop import TextStream, tell
from localsynth.errors import BackendError, ContextOverflow
from localsynth.records import Completion, FinishReason, Request

Listener = Callable[[str], None]
_PATH = "/v1/completions"


@dataclass(frozen=True, slots=True)
class Server:
    """A server that was looked at and probed. `context`: tokens of prompt plus completion."""

    http: Http
    served: Served
    manners: Manners
    context: int


class Asking:
    """One request. `ContextOverflow` is raised before anything is sent where the prompt can be counted here."""

    def __init__(self, server: Server, request: Request, on_text: Listener | None) -> None:
        self._server, self._request, self._on_text = server, request, on_text
        vocabulary = server.served.vocabulary
        self._ids = vocabulary.encode(request.prompt)
        self._check_room(None if self._ids is None else len(self._ids))
        self._stop_ids = tuple(dict.fromkeys((*request.stop_ids, *vocabulary.tokens.end_ids)))
        texts = {number: text for text, number in vocabulary.tokens.control.items()}
        self._shown = {texts[number]: number for number in self._stop_ids if number in texts}
        # vLLM says what ended a text. Other servers do not, so a stop text is looked for here, as the text comes.
        self._here = server.served.kind != "vllm" and bool(request.stop)
        self._never = vocabulary.avoided(request.sampling.avoid_first)
        self._check_taken()

        self.overloaded = False

    async def run(self) -> Completion:
        """The completion; its duration is 0. BackendError, with `overloaded` set where the server had too much."""
        request, most = self._request, self._request.sampling.max_tokens
        prompt = self._prompt()
        if not self._never:
            stream = TextStream(request.stop)
            return self._completion([await self._ask(prompt, most, request.seed, (), stream)], stream)
        # A bias holds for every token of a request, so the first one, and only it, is asked for with the bias.
        stream = TextStream(request.stop)  # over both: a stop text may begin in the first token
        first = await self._ask(prompt, 1, request.seed, self._never, stream)
        if first.finish != "length" or most == 1 or stream.stopped_by is not None:
            return self._completion([first], stream)
        rest = await self._ask(self._longer(prompt, first), most - 1, (request.seed + 1) % 2**32, (), stream)
        return self._completion([first, rest], stream)

    def _prompt(self) -> str | list[int]:
        manners, prompt = self._server.manners, self._request.prompt
        if manners.ids and self._ids is not None:
            return self._ids
        return without_bos(prompt, self._server.served.vocabulary.tokens.bos) if manners.adds_bos else prompt

    def _longer(self, prompt: str | list[int], first: Answer) -> str | list[int]:
        """The prompt with the first token behind it. BackendError where the server did not say which it is."""
        whole = bool(first.text) and "\ufffd" not in first.text
        if isinstance(prompt, list) and (first.ids or whole):
            return prompt + (first.ids or self._server.served.vocabulary.encode(first.text) or [])
        if isinstance(prompt, str) and whole:
            return prompt + first.text
        raise BackendError(
            "the first token of a text was half a character, behind which this server cannot write on",
            "use a server that returns token ids (vLLM), or leave avoid_first out of the plan",
            retryable=True,
        )

    async def _ask(
        self, prompt: str | list[int], most: int, seed: int, never: Sequence[int], stream: TextStream
    ) -> Answer:
        server, request = self._server, self._request
        # Only vLLM is known to heed stop_token_ids: the others are given the texts of these tokens too.
        marks = () if server.served.kind == "vllm" else tuple(self._shown)
        streamed = self._on_text is not None or self._here
        body = completion_body(
            server.served,
            prompt,
            request,
            max_tokens=most,
            seed=seed,
            stop_ids=self._stop_ids,
            stop=marks if self._here else (*request.stop, *marks),
            never=never,
            shown=marks,
            stream=streamed,
            refused=server.manners.refused,
        )
        answer = await (self._streamed(body, stream) if streamed else self._whole(body, stream))
        self._check(answer, prompt, most)
        return answer

    async def _whole(self, body: dict[str, Any], stream: TextStream) -> Answer:
        http = self._server.http
        reply = await http.post(_PATH, body)
        self._check_status(reply)
        answer = Answer(body["max_tokens"], http.quote)
        self._say(stream.feed(answer.add(as_object(reply, http.address.root)).encode()))
        if stream.stopped_by is not None:
            answer.finish = "stop"
        return answer

    async def _streamed(self, body: dict[str, Any], stream: TextStream) -> Answer:
        answer = Answer(body["max_tokens"], self._server.http.quote)
        async with self._server.http.stream(_PATH, body) as (reply, lines):
            self._check_status(reply)
            async with aclosing(parts(lines)) as answered:
                async for part in answered:
                    self._say(stream.feed(answer.add(part).encode()))
                    if stream.stopped_by is not None:
                        answer.finish, answer.completion_tokens = "stop", None
                        break
        return answer

    def _check_status(self, reply: Reply) -> None:
        if reply.status == HTTPStatus.OK:
            return
        http, served = self._server.http, self._server.served
        self.overloaded = reply.status in OVERLOADED
        words = http.words(reply.body)
        if reply.status in (400, 413, 422) and ("context" in words.lower() or "too long" in words.lower()):
            raise ContextOverflow(f"the server says: {words}", "ask for fewer tokens or shorten the prompt")
        if reply.status == HTTPStatus.NOT_FOUND:
            raise BackendError(
                f"{http.address.root} no longer serves {served.model}: {words or 'not found'}",
                "it was restarted with another model: start the run again with the one that it serves",
            )
        raise http.failure(reply, "a completion")

    def _check(self, answer: Answer, prompt: str | list[int], most: int) -> None:
        served, quote = self._server.served, self._server.http.quote
        if answer.model is not None and answer.model not in served.names:
            raise BackendError(
                f"the server answers with {quote(answer.model, 80)!r} instead of {served.model!r}",
                "it was restarted with another model: start the run again with the one that it serves",
            )
        if answer.finish not in ("stop", "length"):
            why = quote(str(answer.finish), 40) if answer.finish else "no reason"
            raise BackendError(f"the server broke an answer off: {why}", "look at its log", retryable=True)
        if isinstance(prompt, list) and answer.prompt_tokens not in (None, len(prompt)):
            raise BackendError(
                f"the server turned a prompt of {len(prompt)} tokens into {answer.prompt_tokens}",
                "it was restarted with other settings: start the run again",
            )
        written = answer.completion_tokens
        if answer.finish == "length" and written is not None and written < most:
            raise ContextOverflow(
                f"the answer was cut after {written} of {most} tokens: the context of the server is full",
                "ask for fewer tokens or shorten the prompt",
            )

    def _check_room(self, prompt_tokens: int | None) -> None:
        """Every answer takes a token at least; a prompt that cannot be counted here is counted by the server."""
        most, room = self._request.sampling.max_tokens, self._server.context
        if (prompt_tokens or 1) + most > room:
            counted = "the prompt" if prompt_tokens is None else f"the prompt has {prompt_tokens} tokens"
            raise ContextOverflow(
                f"{counted} and {most} more were asked for, but the server's context holds {room}",
                "ask for fewer tokens or shorten the prompt",
            )

    def _check_taken(self) -> None:
        """What this server refuses must not be left out silently where it would change the text."""
        sampling, refused = self._request.sampling, self._server.manners.refused
        wanted = {
            "top_k": sampling.top_k > 0,
            "min_p": sampling.min_p > 0,
            "repeat_penalty": sampling.repeat_penalty != 1,
            "avoid_first": bool(self._never),
        }
        words = {"repeat_penalty": PENALTIES[self._server.served.kind], "avoid_first": ("logit_bias",)}
        for name, matters in wanted.items():
            if matters and refused.issuperset(words.get(name, (name,))):
                raise BackendError(
                    f"{self._server.http.address.root} takes no {name}", f"leave {name} out of the sampling in the plan"
                )

    def _completion(self, answers: Sequence[Answer], stream: TextStream) -> Completion:
        first, last = answers[0], answers[-1]
        if stream.stopped_by is None:
            self._say(stream.finish())
        tokens = sum(_tokens(answer) for answer in answers)
        logprobs = tuple(value for answer in answers for value in answer.logprobs)
        finish: FinishReason = "stop" if last.finish == "stop" else "length"
        return Completion(
            text=stream.text,
            finish_reason=finish,
            stopped_by=self._stopped_by(last, stream) if finish == "stop" else None,
            prompt_tokens=first.prompt_tokens or len(self._ids or ()),
            completion_tokens=tokens,
            duration=0.0,
            logprobs=logprobs if self._request.logprobs and len(logprobs) == tokens else None,
        )

    def _stopped_by(self, last: Answer, stream: TextStream) -> int | str | None:
        if stream.stopped_by is not None:
            return stream.stopped_by
        if isinstance(last.reason, str):
            return self._shown.get(last.reason, last.reason)
        if last.reason is not None:
            return last.reason
        # vLLM gives no reason for the model's own end token; the last id is that token.
        if last.ids and last.ids[-1] in self._stop_ids:
            return last.ids[-1]
        tokens = self._server.served.vocabulary.tokens
        return tokens.control.get(tokens.eos, self._stop_ids[0] if self._stop_ids else None)

    def _say(self, text: str) -> None:
        tell(self._on_text, text)


def _tokens(answer: Answer) -> int:
    """The sampled tokens; of a text that was cut here, the parts in which it came, which are a token each."""
    if answer.completion_tokens is not None:
        return answer.completion_tokens
    return len(answer.ids) if answer.ids is not None else answer.pieces
