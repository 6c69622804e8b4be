"""Where a served model's vocabulary comes from: a folder, a GGUF file with and without llama.cpp, the server."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path

import pytest
from fake_model import BOS, END, START, TEMPLATE, FakeModel

from localsynth.backends.gguf import read_facts
from localsynth.backends.openai.vocabulary import ask_vocabulary, read_vocabulary
from localsynth.chat import derive
from localsynth.errors import BackendError, ModelError

ASK = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\n"


def test_a_folder(served_model: FakeModel):
    vocabulary = read_vocabulary(served_model.folder)
    assert vocabulary.template == TEMPLATE
    assert vocabulary.encode(f"{BOS}{START}user\nHi") == served_model.encode(f"{BOS}{START}user\nHi")


@pytest.mark.starter
def test_a_gguf_file(starter: Path):
    vocabulary = read_vocabulary(starter)
    facts = read_facts(starter)
    assert (vocabulary.template, vocabulary.tokens.control) == (facts.template, facts.tokens.control)
    assert len(vocabulary.encode(ASK)) == 24
    assert vocabulary.encode("<|im_end|>") == [facts.tokens.control["<|im_end|>"]]
    assert vocabulary.avoided(("#",))
    assert vocabulary.avoided(()) == ()


@pytest.mark.starter
def test_a_gguf_file_without_llama_cpp(starter: Path, monkeypatch: pytest.MonkeyPatch):
    from localsynth.backends.llamacpp import library

    real = builtins.__import__

    def without(name: str, *rest):
        if name.partition(".")[0] == "llama_cpp":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    library.library.cache_clear()
    monkeypatch.delitem(sys.modules, "llama_cpp", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    vocabulary = read_vocabulary(starter)
    facts = read_facts(starter)
    assert (vocabulary.template, vocabulary.tokens) == (facts.template, facts.tokens)
    assert vocabulary.encode("anything") is None
    assert vocabulary.avoided(("", "")) == ()
    with pytest.raises(BackendError, match="avoid_first"):
        vocabulary.avoided(("#",))


def test_what_is_no_model(tmp_path: Path):
    for path in (tmp_path, tmp_path / "none.gguf"):
        with pytest.raises(ModelError) as caught:
            read_vocabulary(path)
        assert caught.value.hint


async def test_from_a_server_that_only_turns_text_into_ids(served_model: FakeModel):
    async def encode(text: str) -> list[int]:
        return served_model.encode(text)

    vocabulary = await ask_vocabulary(TEMPLATE, BOS, END, encode)
    own = read_vocabulary(served_model.folder)
    assert vocabulary.tokens.control == own.tokens.control
    assert vocabulary.tokens.end_ids == own.tokens.end_ids
    asked, known = (derive(one.template, one.tokens) for one in (vocabulary, own))
    assert (asked.pre_query, asked.post_query, asked.stop_ids) == (known.pre_query, known.post_query, known.stop_ids)
    assert asked.control_strings == known.control_strings
