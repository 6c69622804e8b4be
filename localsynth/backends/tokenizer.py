"""A model's own tokenizer, read from its folder with the tokenizers library: no torch, no code of the repository."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from localsynth.backends.gguf import looks_like_control
from localsynth.errors import BackendError, MissingPackage, ModelError
from localsynth.records import SpecialTokens

_AGAIN = "pull the model again: `localsynth models pull`"


class LocalTokenizer:
    """Text to ids and back. `template` is None for a base model; `tokens` are what the folder declares special."""

    def __init__(self, definition: str, template: str | None, config: Mapping[str, Any]) -> None:
        """`definition` is the text of a tokenizer.json; `config` holds bos_token, eos_token, add_bos_token, end_ids."""
        self._tokenizer = _load(definition)
        data = json.loads(definition)
        self._bytes = _byte_reader(data.get("decoder"))
        self._added = {entry["id"]: entry["content"] for entry in data.get("added_tokens", [])}
        self._pieces: dict[int, bytes] = {}
        self.size = int(self._tokenizer.get_vocab_size(with_added_tokens=True))
        self.template = template
        self.tokens = self._special_tokens(data.get("added_tokens", []), config)
        self.avoided = lru_cache(maxsize=16)(self._avoided)

    def encode(self, prompt: str) -> list[int]:
        """The ids of a text as it stands: control strings become their tokens, nothing is added."""
        clean = prompt.encode("utf-8", "replace").decode()
        try:
            return list(self._tokenizer.encode(clean, add_special_tokens=False).ids)
        except Exception as error:
            raise BackendError(f"the prompt could not be turned into tokens: {error}", "change the prompt") from None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, control tokens included; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(map(self.piece, ids)).decode("utf-8", "replace")

    def piece(self, token: int) -> bytes:
        """The bytes of a token, control tokens included; empty for an id that the vocabulary does not have."""
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._piece(token)
        return known

    def _piece(self, token: int) -> bytes:
        if token in self._added:
            return str(self._added[token]).encode("utf-8", "replace")
        text = self._tokenizer.id_to_token(token) if 0 <= token < 1 << 32 else None
        return b"" if text is None else self._bytes.read(text)

    def _avoided(self, starts: tuple[str, ...]) -> tuple[int, ...]:
        """The ids whose text, without leading blanks, starts with one of these (`Sampling.avoid_first`)."""
        wanted = tuple(start.encode() for start in starts if start)
        return tuple(token for token in range(self.size) if self.piece(token).lstrip().startswith(wanted))

    def _special_tokens(self, added: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> SpecialTokens:
        control = {
            str(entry["content"]): int(entry["id"])
            for entry in added
            if entry.get("special") or looks_like_control(str(entry["content"]))
        }
        bos, eos = _text_of(config.get("bos_token")), _text_of(config.get("eos_token"))
        adds = config.get("add_bos_token")
        if adds is None:
            first = self._tokenizer.encode("", add_special_tokens=True).ids[:1]
            adds = bool(bos) and first == [self._tokenizer.token_to_id(bos)]
        ends = [*config.get("end_ids", ()), self._tokenizer.token_to_id(eos) if eos else None]
        return SpecialTokens(
            bos=bos,
            eos=eos,
            add_bos=bool(adds) and bool(bos),
            control=control,
            end_ids=tuple(dict.fromkeys(number for number in ends if number is not None)),
        )


def read_tokenizer(path: Path) -> LocalTokenizer:
    """The tokenizer of a model folder. ModelError when the folder has none that can be used."""
    if not (path / "tokenizer.json").is_file():
        where = f"{path} has no tokenizer.json" if path.is_dir() else f"{path} is not a model folder"
        raise ModelError(where, "choose a model folder that has one, or " + _AGAIN)
    config = _json(path / "tokenizer_config.json")
    special = _json(path / "special_tokens_map.json")
    for key in ("bos_token", "eos_token"):
        config.setdefault(key, special.get(key))
    ends: list[int] = []
    for name in ("generation_config.json", "config.json"):
        found = _json(path / name).get("eos_token_id")
        ends += [number for number in (found if isinstance(found, list) else [found]) if isinstance(number, int)]
    try:
        definition = (path / "tokenizer.json").read_text(encoding="utf-8")
        return LocalTokenizer(definition, _template(path, config), config | {"end_ids": ends})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"the tokenizer of {path} cannot be read: {error or type(error).__name__}", _AGAIN) from None


class _ByteReader:
    """What a vocabulary's entries are in bytes."""

    def __init__(self, *, byte_level: bool, byte_fallback: bool, replaced: tuple[tuple[str, str], ...]) -> None:
        self._byte_level, self._byte_fallback, self._replaced = byte_level, byte_fallback, replaced

    def read(self, text: str) -> bytes:
        if self._byte_level:
            table = byte_of_character()
            return b"".join(bytes((table[c],)) if c in table else c.encode("utf-8", "replace") for c in text)
        if self._byte_fallback and len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            return bytes.fromhex(text[3:5])
        for old, new in self._replaced:
            text = text.replace(old, new)
        return text.encode("utf-8", "replace")


def _byte_reader(decoder: Any) -> _ByteReader:
    steps = list(_steps(decoder))
    kinds = {step.get("type") for step in steps}
    if "WordPiece" in kinds:
        raise ValueError("its words cannot be told apart from its pieces")
    replaced = [
        (str(step["pattern"]["String"]), str(step["content"]))
        for step in steps
        if step.get("type") == "Replace" and "String" in step.get("pattern", {})
    ]
    replaced += [(str(step.get("replacement", "▁")), " ") for step in steps if step.get("type") == "Metaspace"]
    return _ByteReader(byte_level="ByteLevel" in kinds, byte_fallback="ByteFallback" in kinds, replaced=tuple(replaced))


def _steps(decoder: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(decoder, dict):
        yield decoder
        for inner in decoder.get("decoders", ()):
            yield from _steps(inner)


@cache
def byte_of_character() -> dict[str, int]:
    """The printable character that byte-level BPE (GPT-2) writes for each byte, the other way round."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


def _load(definition: str) -> Any:
    try:
        import tokenizers
    except ImportError:
        raise MissingPackage("tokenizers is not installed", "pip install tokenizers") from None
    try:
        return tokenizers.Tokenizer.from_str(definition)
    except Exception as error:
        # The library raises plain Exception for everything that it cannot read.
        raise ValueError(str(error)) from None


def _template(path: Path, config: Mapping[str, Any]) -> str | None:
    file = path / "chat_template.jinja"
    found = file.read_text(encoding="utf-8") if file.is_file() else config.get("chat_template")
    found = found or _json(path / "chat_template.json").get("chat_template")
    if isinstance(found, list):
        named = {entry.get("name"): entry.get("template") for entry in found if isinstance(entry, dict)}
        found = named.get("default")
    return found if isinstance(found, str) and found.strip() else None


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}", _AGAIN) from None
    if not isinstance(data, dict):
        raise ModelError(f"{path} is not a JSON object", _AGAIN)
    return data


def _text_of(token: Any) -> str:
    """A special token is a text, or a table with its `content`."""
    return str(token.get("content") or "") if isinstance(token, dict) else str(token or "")
