"""What a server is: its models, its kind, its context and where the model's vocabulary can be read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

from localsynth.backends.http import LOOK, Http, as_object, count
from localsynth.backends.openai.vocabulary import Vocabulary, ask_vocabulary, read_vocabulary
from localsynth.errors import BackendError, ModelError
from localsynth.printable import one_line

Kind = Literal["vllm", "llama-server", "server"]
DEFAULT_CONTEXT = 4096  # tokens, for a server that does not say


@dataclass(frozen=True, slots=True)
class Served:
    """One model on one server. `names`: every name it answers to. `slots` 0: the server does not say."""

    kind: Kind
    version: str
    model: str
    names: frozenset[str]
    context: int
    slots: int
    vocabulary: Vocabulary


async def look(http: Http, wanted: str, tokenizer: Path | None) -> Served:
    """Ask the server what it is. BackendError when it cannot be used, ModelError when the model cannot."""
    cards = await _models(http)
    card = _choose(http, cards, wanted)
    if card.get("owned_by") == "library":
        raise BackendError(
            f"{http.address.root} is Ollama, whose /v1/completions puts its template around every prompt",
            "use its own interface: --backend ollama",
        )
    model, context = str(card["id"]), _number(card.get("max_model_len"))
    props = await _props(http)
    if props is not None:
        settings = props.get("default_generation_settings")
        context = context or _number(settings.get("n_ctx") if isinstance(settings, dict) else None)
        version, kind = _text(props.get("build_info")), "llama-server"
    else:
        vllm = card.get("owned_by") == "vllm"
        version, kind = await _version(http), "vllm" if vllm else "server"
        context = context or await _lm_studio_context(http, model)
    return Served(
        kind=kind,  # type: ignore[arg-type]
        version=version or "unknown",
        model=model,
        names=frozenset(str(entry["id"]) for entry in cards),
        context=context or DEFAULT_CONTEXT,
        slots=_number(props.get("total_slots")) if props else 0,
        vocabulary=await _vocabulary(http, card, props, tokenizer),
    )


async def _models(http: Http) -> list[dict[str, Any]]:
    reply = await http.get("/v1/models")
    where = http.address.root
    if reply.status == HTTPStatus.NOT_FOUND:
        raise BackendError(
            f"{where} is no server with the OpenAI interface: it has no /v1/models",
            "check the port; for Ollama give --backend ollama",
        )
    if reply.status != HTTPStatus.OK:
        raise http.failure(reply, "the list of models")
    try:
        data = as_object(reply, where).get("data")
    except BackendError:
        raise BackendError(
            f"{where} is no server with the OpenAI interface: its /v1/models is no JSON", "check the host and the port"
        ) from None
    cards = [card for card in data if isinstance(card, dict) and card.get("id")] if isinstance(data, list) else []
    if not cards:
        raise BackendError(f"{where} serves no model", "load a model on the server first")
    return cards


def _choose(http: Http, cards: list[dict[str, Any]], wanted: str) -> dict[str, Any]:
    names = [http.quote(str(card["id"]), 80) for card in cards]
    listed = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    if not wanted:
        if len(cards) > 1:
            raise ModelError(f"{http.address.root} serves {len(cards)} models", f"name one of: {listed}")
        return cards[0]
    for card in cards:
        if card["id"] == wanted:
            return card
    raise ModelError(f"{http.address.root} does not serve {one_line(wanted, 80)!r}", f"it serves: {listed}")


async def _props(http: Http) -> Mapping[str, Any] | None:
    """What llama-server says about itself; None for every other server."""
    reply = await http.get("/props")
    if reply.status != HTTPStatus.OK:
        return None
    try:
        data = as_object(reply, http.address.root)
    except BackendError:
        return None
    return data if "default_generation_settings" in data else None


async def _version(http: Http) -> str:
    reply = await http.get("/version")
    if reply.status != HTTPStatus.OK:
        return ""
    try:
        return _text(as_object(reply, http.address.root).get("version"))
    except BackendError:
        return ""


async def _lm_studio_context(http: Http, model: str) -> int:
    """The context that LM Studio loaded a model with; 0 where the server is another."""
    reply = await http.get("/api/v0/models")
    try:
        data = as_object(reply, http.address.root).get("data") if reply.status == HTTPStatus.OK else None
    except BackendError:
        return 0
    for card in data if isinstance(data, list) else ():
        if isinstance(card, dict) and card.get("id") == model:
            return _number(card.get("loaded_context_length")) or _number(card.get("max_context_length"))
    return 0


async def _vocabulary(
    http: Http, card: Mapping[str, Any], props: Mapping[str, Any] | None, tokenizer: Path | None
) -> Vocabulary:
    """From the files the user names, else from those the server names where it runs on this machine, else from it."""
    if tokenizer is not None:
        return read_vocabulary(tokenizer)
    named = (props or {}).get("model_path") or card.get("root")
    if http.address.loopback and isinstance(named, str) and await asyncio.to_thread(is_here, named):
        return read_vocabulary(Path(named))
    template = (props or {}).get("chat_template")
    if isinstance(template, str) and template.strip():
        props = props or {}
        return await ask_vocabulary(
            template, _text(props.get("bos_token")), _text(props.get("eos_token")), lambda text: _tokenize(http, text)
        )
    raise ModelError(
        f"{http.address.root} does not tell the chat template of {http.quote(str(card['id']), 80)}",
        "name the model's folder or GGUF file on this machine with --tokenizer",
    )


async def _tokenize(http: Http, text: str) -> list[int]:
    body = {"content": text, "add_special": False, "parse_special": True}
    reply = await http.post("/tokenize", body, within=LOOK)
    if reply.status != HTTPStatus.OK:
        raise http.failure(reply, "/tokenize")
    found = as_object(reply, http.address.root).get("tokens")
    if not isinstance(found, list):
        raise BackendError(f"{http.address.root} gives no tokens for a text", "name the model's files with --tokenizer")
    return [number for number in found if isinstance(number, int)]


def is_here(path: str) -> bool:
    """Whether a path that a server names is one of this machine; what can be none, such as 5,000 letters, is not."""
    try:
        return Path(path).is_absolute() and Path(path).exists()
    except (OSError, ValueError):
        return False


def _number(value: object) -> int:
    return count(value) or 0


def _text(value: object) -> str:
    return one_line(value, 200) if isinstance(value, str) else ""
