"""The vocabulary of a served model: from the same model's files on this machine, or from the server itself."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from localsynth.backends.gguf import read_facts
from localsynth.backends.tokenizer import read_tokenizer
from localsynth.errors import BackendError, MissingPackage, ModelError
from localsynth.records import SpecialTokens

_CONTROL = re.compile(r"<[^<>\s]{1,60}>|\[[/A-Z_]{3,40}\]")


class Vocabulary(Protocol):
    """What is known of a served model's tokens. `template` is None for a base model."""

    @property
    def template(self) -> str | None: ...

    @property
    def tokens(self) -> SpecialTokens: ...

    def encode(self, prompt: str) -> list[int] | None:
        """The ids of a text, nothing added; None where this cannot be said here."""
        ...

    def avoided(self, starts: tuple[str, ...]) -> tuple[int, ...]:
        """The ids of `Sampling.avoid_first`. BackendError where they are not known."""
        ...


class NamedVocabulary:
    """The special tokens alone: the server turns text into ids."""

    def __init__(self, template: str | None, tokens: SpecialTokens) -> None:
        self.template, self.tokens = template, tokens

    def encode(self, prompt: str) -> list[int] | None:  # noqa: ARG002 - the answer is the same for every prompt
        """None: only the server can."""
        return None

    def avoided(self, starts: tuple[str, ...]) -> tuple[int, ...]:
        """BackendError, but for nothing to avoid."""
        if not any(starts):
            return ()
        raise BackendError(
            "avoid_first needs the vocabulary of the served model, which is not on this machine",
            "name its folder or GGUF file with --tokenizer, or leave avoid_first out of the plan",
        )


class GgufVocabulary:
    """The vocabulary of a GGUF file; llama.cpp reads it without the weights."""

    def __init__(self, path: Path) -> None:
        from localsynth.backends.llamacpp.library import library
        from localsynth.backends.llamacpp.vocabulary import Vocabulary as Words

        llama = library()
        params = llama.llama_model_default_params()
        params.vocab_only = True
        model = llama.llama_model_load_from_file(str(path).encode(), params)
        if not model:
            raise ModelError(f"the vocabulary of {path} cannot be read", "download the file again")
        self._words = Words(model)  # the model lives as long as the process: it is a vocabulary, a few megabytes
        self.template = read_facts(path).template
        self.tokens = self._words.special_tokens()

    def encode(self, prompt: str) -> list[int]:
        """The ids of a text, nothing added."""
        return self._words.tokenize(prompt)

    def avoided(self, starts: tuple[str, ...]) -> tuple[int, ...]:
        """The ids whose text starts so."""
        return self._words.avoided(starts)


def read_vocabulary(path: Path) -> Vocabulary:
    """The vocabulary of a model folder or a GGUF file. ModelError when it has none that can be used."""
    if path.is_dir():
        return read_tokenizer(path)
    facts = read_facts(path)
    try:
        return GgufVocabulary(path)
    except MissingPackage:
        return NamedVocabulary(facts.template, facts.tokens)


async def ask_vocabulary(
    template: str, bos: str, eos: str, encode: Callable[[str], Awaitable[list[int]]]
) -> NamedVocabulary:
    """What a server with a tokeniser of its own tells: the control strings in its template that are single tokens.

    `encode` gives the ids of a text, nothing added.
    """
    control: dict[str, int] = {}
    for text in dict.fromkeys([bos, eos, *_CONTROL.findall(template)]):
        ids = await encode(text) if text else []
        if len(ids) == 1:
            control[text] = ids[0]
    ends = (control[eos],) if eos in control else ()
    return NamedVocabulary(template, SpecialTokens(bos=bos, eos=eos, control=control, end_ids=ends))
