"""What a server does with a raw prompt, found out once with a few one-token requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from localsynth.backends.http import PROBE, REFUSED, Http, Reply, as_object, count
from localsynth.backends.openai.body import EXTRAS, probe_body
from localsynth.backends.openai.served import Served
from localsynth.backends.openai.vocabulary import Vocabulary
from localsynth.errors import BackendError, ModelError

_RAW = (
    "Magpie needs raw completions (/v1/completions): the model has to write the user's turn, and a chat endpoint "
    "always adds the template for the assistant's"
)
_PLAIN = "The lamp on the table was green."


@dataclass(frozen=True, slots=True)
class Manners:
    """How prompts are to be sent. `ids`: as token ids. `adds_bos`: the server puts a BOS before every text.

    `refused`: parameters that it does not take.
    """

    ids: bool
    adds_bos: bool
    refused: frozenset[str]


async def probe(http: Http, served: Served) -> Manners:
    """Find out. BackendError for a server that is not raw, ModelError for a vocabulary that is not the model's."""
    refused = await _refused(http, served)
    encoded = served.vocabulary.encode(_PLAIN)
    plain = await _count(http, served, _PLAIN, refused)
    if encoded is None:
        adds = await _adds_bos_here(http, served, refused)
        check_bos(http.address.root, served.vocabulary, adds=adds)
        return Manners(ids=False, adds_bos=adds, refused=refused)
    over = plain - len(encoded)
    if over not in (0, 1):
        raise _unfit(served, len(encoded), plain)
    if await _takes_ids(http, served, encoded, refused):
        return Manners(ids=True, adds_bos=False, refused=refused)
    adds = over == 1
    marks = "".join([*served.vocabulary.tokens.control][:2])
    marked = served.vocabulary.encode(_PLAIN + marks) or []
    if await _count(http, served, _PLAIN + marks, refused) - adds != len(marked):
        raise _deaf(served)
    check_bos(http.address.root, served.vocabulary, adds=adds)
    return Manners(ids=False, adds_bos=adds, refused=refused)


def check_bos(where: str, vocabulary: Vocabulary, *, adds: bool) -> None:
    """BackendError where a server puts a BOS before the prompts of a model that has none."""
    if adds and not vocabulary.tokens.bos:
        raise BackendError(
            f"{where} puts a token before every prompt, although the model has no BOS",
            "turn that off on the server (add_bos_token), or use one that takes token ids: vLLM, llama-server",
        )


def without_bos(prompt: str, bos: str) -> str:
    """The prompt for a server that puts the BOS before it itself. BackendError for one that is to have none."""
    if not prompt.startswith(bos):
        raise BackendError(
            "the server puts a BOS before every prompt, and this one is to have none",
            "use a server that takes token ids: vLLM, llama-server",
        )
    return prompt.removeprefix(bos)


def _deaf(served: Served) -> BackendError:
    return BackendError(
        f"the server of {served.model} reads control strings as plain text, so no prompt of Magpie reaches the model",
        "use a server that takes prompts as token ids (vLLM), or llama-server",
    )


def _unfit(served: Served, here: int, there: int) -> BackendError | ModelError:
    """A prompt of `here` tokens became `there`: a template of the server's own, or another model's tokenizer."""
    if there > here + 5:
        return BackendError(
            f"the server turns a prompt of {here} tokens into {there}: it adds a template of its own, and {_RAW}",
            "use a server that leaves prompts alone (vLLM, llama-server), or --backend ollama for Ollama",
        )
    return ModelError(
        f"the tokenizer given is not that of {served.model}: it makes {here} tokens of a text, the server {there}",
        "name the folder or GGUF file of the very model that is served with --tokenizer",
    )


async def _refused(http: Http, served: Served) -> frozenset[str]:
    """The extra parameters that a strict server refuses; BackendError when it refuses the plain request too."""
    reply = await http.post("/v1/completions", probe_body(served, _PLAIN, frozenset()), within=PROBE)
    if reply.status == HTTPStatus.OK:
        return frozenset()
    everything = frozenset(EXTRAS)
    if reply.status in (400, 422):
        plain = await http.post("/v1/completions", probe_body(served, _PLAIN, everything), within=PROBE)
        if plain.status == HTTPStatus.OK:
            single = [await _takes(http, served, everything - {name}) for name in EXTRAS]
            return frozenset(name for name, taken in zip(EXTRAS, single, strict=True) if not taken)
        reply = plain
    raise await _refusal(http, served, reply)


async def _takes(http: Http, served: Served, refused: frozenset[str]) -> bool:
    return await _taken(http, probe_body(served, _PLAIN, refused)) is not None


async def _taken(http: Http, body: Mapping[str, Any]) -> Reply | None:
    """The answer, None for a refusal. BackendError for any other failure: it says nothing about what is taken."""
    reply = await http.post("/v1/completions", body, within=PROBE)
    if reply.status in REFUSED:
        return None
    if reply.status != HTTPStatus.OK:
        raise http.failure(reply, "a first completion")
    return reply


async def _refusal(http: Http, served: Served, reply: Reply) -> BackendError | ModelError:
    where = http.address.root
    chat = "chat" in http.words(reply.body).lower()
    if reply.status in (404, 405, 501) or (reply.status in (400, 422) and chat):
        return BackendError(
            f"{where} is a chat-only server. {_RAW}",
            "use a server with raw completions: vLLM, llama-server, LM Studio; for Ollama --backend ollama",
        )
    return http.failure(reply, f"a first completion by {served.model}")


async def _count(http: Http, served: Served, prompt: str | list[int], refused: frozenset[str]) -> int:
    reply = await http.post("/v1/completions", probe_body(served, prompt, refused), within=PROBE)
    if reply.status != HTTPStatus.OK:
        raise http.failure(reply, "a first completion")
    return prompt_tokens(as_object(reply, http.address.root), http.address.root)


async def _takes_ids(http: Http, served: Served, ids: list[int], refused: frozenset[str]) -> bool:
    body = probe_body(served, ids, refused)
    try:
        reply = await _taken(http, body)
    except BackendError:
        # Some servers fall over ids instead of refusing them, and do so each time; the same again tells them apart.
        again = await http.post("/v1/completions", body, within=PROBE)
        if again.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            return False
        raise
    if reply is None:
        return False
    return prompt_tokens(as_object(reply, http.address.root), http.address.root) == len(ids)


async def _adds_bos_here(http: Http, served: Served, refused: frozenset[str]) -> bool:
    """Without the vocabulary: a text of one control string is one token, two where a BOS is put before it."""
    single = next(iter(served.vocabulary.tokens.control), None)
    if single is None:
        raise _deaf(served)
    made = await _count(http, served, single, refused)
    if made > 2:
        raise _deaf(served)
    return made == 2


def prompt_tokens(answer: Mapping[str, Any], where: str) -> int:
    """`usage.prompt_tokens`. BackendError when the server does not count."""
    usage = answer.get("usage")
    told = count(usage.get("prompt_tokens")) if isinstance(usage, dict) else None
    if told is None:
        raise BackendError(
            f"{where} does not say how many tokens a prompt has, so a doubled BOS would go unseen",
            "use a server that reports `usage`: vLLM, llama-server, LM Studio",
        )
    return told
