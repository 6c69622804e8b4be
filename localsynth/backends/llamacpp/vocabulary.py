"""A model's vocabulary: text to ids and back, and which ids are special."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

from localsynth.backends.gguf import looks_like_control
from localsynth.backends.llamacpp.library import library
from localsynth.errors import BackendError
from localsynth.records import SpecialTokens


class Vocabulary:
    """Belongs to one loaded model."""

    def __init__(self, model: int) -> None:
        self._llama: Any = library()
        self._vocab = self._llama.llama_model_get_vocab(model)
        self.size = int(self._llama.llama_vocab_n_tokens(self._vocab))
        self._pieces: dict[int, bytes] = {}
        self.end_ids = tuple(token for token in range(self.size) if self._llama.llama_vocab_is_eog(self._vocab, token))
        self.avoided = lru_cache(maxsize=16)(self._avoided)

    def tokenize(self, text: str) -> list[int]:
        """The ids of a text as it stands: control strings become their tokens, nothing is added."""
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        ids = (ctypes.c_int32 * room)()
        count = self._llama.llama_tokenize(self._vocab, raw, len(raw), ids, room, False, True)
        if count < 0:
            raise BackendError("the prompt could not be turned into tokens", "shorten the prompt")
        return list(ids[:count])

    def piece(self, token: int) -> bytes:
        """The bytes of a token, control tokens included."""
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._piece(token)
        return known

    def special_tokens(self) -> SpecialTokens:
        """What the vocabulary declares special."""
        llama, control = self._llama, {}
        for token in range(self.size):
            attributes = llama.llama_vocab_get_attr(self._vocab, token)
            if attributes & (llama.LLAMA_TOKEN_ATTR_CONTROL | llama.LLAMA_TOKEN_ATTR_USER_DEFINED):
                text = self._text(token)
                if attributes & llama.LLAMA_TOKEN_ATTR_CONTROL or looks_like_control(text):
                    control[text] = token
        return SpecialTokens(
            bos=self._text(llama.llama_vocab_bos(self._vocab)),
            eos=self._text(llama.llama_vocab_eos(self._vocab)),
            add_bos=bool(llama.llama_vocab_get_add_bos(self._vocab)),
            control=control,
            end_ids=self.end_ids,
        )

    def _avoided(self, starts: tuple[str, ...]) -> tuple[int, ...]:
        wanted = tuple(start.encode() for start in starts if start)
        return tuple(token for token in range(self.size) if self.piece(token).lstrip().startswith(wanted))

    def _text(self, token: int) -> str:
        if token < 0:
            return ""
        text = self._llama.llama_vocab_get_text(self._vocab, token)
        return text.decode("utf-8", "replace") if text else ""

    def _piece(self, token: int) -> bytes:
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            length = self._llama.llama_token_to_piece(self._vocab, token, buffer, room, 0, True)
            if length >= 0:
                return buffer.raw[:length]
            room = -length
