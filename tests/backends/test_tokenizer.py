"""A model folder's tokenizer: raw prompts to ids and back, every token's bytes, what is special."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import SPECIAL, write_tokenizer

from localsynth.backends.tokenizer import LocalTokenizer, byte_of_character, read_tokenizer
from localsynth.errors import ModelError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> LocalTokenizer:
    return read_tokenizer(folder)


def test_control_strings_become_their_tokens_and_nothing_is_added(tokenizer: LocalTokenizer) -> None:
    ids = tokenizer.encode("<|im_start|>user\n")
    assert ids[0] == tokenizer.tokens.control["<|im_start|>"]
    assert tokenizer.encode("<|im_start|>") == ids[:1]
    assert tokenizer.encode("") == []
    assert tokenizer.decode(ids) == "<|im_start|>user\n"


def test_the_folder_says_what_is_special(folder: Path, tokenizer: LocalTokenizer) -> None:
    tokens = tokenizer.tokens
    assert set(tokens.control) == set(SPECIAL)
    assert (tokens.bos, tokens.eos, tokens.add_bos) == ("<|endoftext|>", "<|im_end|>", False)
    assert tokens.end_ids == (tokens.control["<|im_end|>"],)
    assert "im_start" in (tokenizer.template or "")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 2]}), encoding="utf-8")
    assert set(read_tokenizer(folder).tokens.end_ids) == {0, 2}


@given(st.text())
def test_any_text_comes_back_from_its_pieces(tokenizer: LocalTokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert b"".join(map(tokenizer.piece, ids)).decode() == text
    assert all(tokenizer.piece(token) for token in ids)


def test_half_a_character_is_its_bytes(tokenizer: LocalTokenizer) -> None:
    ids = tokenizer.encode("鱼")
    assert len(ids) == 3
    assert [tokenizer.piece(token) for token in ids] == [bytes([byte]) for byte in "鱼".encode()]
    assert tokenizer.decode(ids[:2]) == "\ufffd"
    assert tokenizer.piece(10**6) == b""


def test_avoided_are_all_tokens_that_start_so(tokenizer: LocalTokenizer) -> None:
    found = {tokenizer.piece(token) for token in tokenizer.avoided(("h", "#"))}
    assert {b"h", b"#", b" harbour"} <= found
    assert all(piece.lstrip().startswith((b"h", b"#")) for piece in found)


def test_every_byte_has_one_character() -> None:
    table = byte_of_character()
    assert sorted(table.values()) == list(range(256))
    assert table["Ġ"] == 0x20
    assert table["Ċ"] == 0x0A


def test_sentence_pieces_with_bytes(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, normalizers

    entries = {"<unk>": 0, "▁": 1, "a": 2, "▁a": 3, "b": 4} | {f"<0x{n:02X}>": 5 + n for n in range(256)}
    made = Tokenizer(models.BPE(entries, [("▁", "a")], unk_token="<unk>", byte_fallback=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.save(str(tmp_path / "tokenizer.json"))
    tokenizer = read_tokenizer(tmp_path)
    ids = tokenizer.encode("b a\n鱼")
    assert [tokenizer.piece(token) for token in ids] == [b"b", b" a", b"\n", b"\xe9", b"\xb1", b"\xbc"]
    assert tokenizer.decode(ids[1:]) == " a\n鱼"


def test_a_tokenizer_that_adds_a_bos_says_so(folder: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, processors

    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.post_processor = processors.TemplateProcessing("<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)])
    made.save(str(tmp_path / "tokenizer.json"))
    config = {"bos_token": {"content": "<|endoftext|>"}, "chat_template": [{"name": "default", "template": "x"}]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    read = read_tokenizer(tmp_path)
    assert read.tokens.add_bos
    assert read.template == "x"
    assert read.encode("<|endoftext|>a")[:1] == [0]
    assert read.encode("<|endoftext|>a").count(0) == 1
    (tmp_path / "chat_template.jinja").write_text("from its own file", encoding="utf-8")
    assert read_tokenizer(tmp_path).template == "from its own file"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model": {"type": "BPE"}}', '{"model": 3, "decoder": 4}'])
def test_a_broken_file_is_one_clear_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"cannot be read|is not a JSON object") as caught:
        read_tokenizer(tmp_path)
    assert "\n" not in caught.value.message
    assert "pull" in caught.value.hint


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        read_tokenizer(tmp_path)
    with pytest.raises(ModelError, match="not a model folder"):
        read_tokenizer(tmp_path / "absent")
