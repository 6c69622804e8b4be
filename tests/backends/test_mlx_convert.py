"""GGUF files as folders of MLX: the same model, the same tokens; whole or not at all; what cannot be turned is refused."""

from __future__ import annotations

import asyncio
import json
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from contract import opened, same
from tiny_models import write_gguf, write_llama

pytest.importorskip("mlx_lm", reason="mlx-lm is not installed: it is for Apple silicon and for Linux on x86-64")

import mlx.core as mx

from localsynth import catalog, paths
from localsynth.backends.gguf import read_facts
from localsynth.backends.gguf_tokenizer import end_ids, tokenizer_config, tokenizer_definition
from localsynth.backends.mlx import MlxBackend, MlxSettings
from localsynth.backends.mlx.convert import _quantisation, _refuse_unknown, convert, converted
from localsynth.backends.tokenizer import LocalTokenizer, read_tokenizer
from localsynth.cli.main import cli
from localsynth.errors import ModelError
from localsynth.records import Request, Sampling

ASK = "<|im_start|>user\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def gguf(folder: Path) -> Path:
    return write_gguf(folder, folder / "tiny.F16.gguf")


async def test_the_turned_file_is_the_same_model(folder: Path, gguf: Path, tmp_path: Path):
    made = convert(gguf, tmp_path / "made")
    requests = [
        Request(ASK + text, Sampling(temperature=temperature, max_tokens=16), 4, (1,), logprobs=True)
        for text in ("", "What is the sum?<|im_end|>\n<|im_start|>assistant\n", "naïve café 🌊 " * 4)
        for temperature in (0.0, 1.0)
    ]
    done = []
    for path in (folder, made):
        async with opened(MlxBackend(path, MlxSettings(slots=4, context=512))) as backend:
            done.append(await asyncio.gather(*map(backend.generate, requests)))
            info = backend.info
    assert all(map(same, *done))
    assert info.template == read_tokenizer(folder).template
    assert (info.tokens.bos, info.tokens.eos) == ("<|endoftext|>", "<|im_end|>")
    assert set(info.tokens.end_ids) == {0, 2}


def test_mlx_lm_and_transformers_read_the_folder_too(gguf: Path, tmp_path: Path):
    from mlx_lm import load

    model, tokenizer = load(str(convert(gguf, tmp_path / "made")))
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "What?"}], add_generation_prompt=True)
    assert ids == read_tokenizer(tmp_path / "made").encode(f"{ASK}What?<|im_end|>\n<|im_start|>assistant\n")
    assert model(mx.array([ids])).shape == (1, len(ids), read_tokenizer(tmp_path / "made").size)


def tokenizer_of(path: Path) -> LocalTokenizer:
    facts = read_facts(path)
    settings = tokenizer_config(path) | {"end_ids": end_ids(facts.tokens)}
    return LocalTokenizer(json.dumps(tokenizer_definition(path)), facts.template, settings)


def assert_same_tokens(path: Path) -> None:
    from localsynth.backends.llamacpp.library import library
    from localsynth.backends.llamacpp.vocabulary import Vocabulary

    llama = library()
    params = llama.llama_model_default_params()
    params.vocab_only = True
    model = llama.llama_model_load_from_file(str(path).encode(), params)
    dice = random.Random(1)
    common = "abc  \n\n\t12349 .,!?'éü机器学习🌊½²  's't THE\r\n" + "".join(map(chr, range(0x20, 0x7F)))
    anywhere = [*range(0x80, 0x3000), *range(0x4E00, 0x9FFF), *range(0x1F300, 0x1F700)]
    try:
        theirs, ours = Vocabulary(model), tokenizer_of(path)
        special = theirs.special_tokens()
        assert (ours.tokens.bos, ours.tokens.eos, ours.tokens.add_bos) == (special.bos, special.eos, special.add_bos)
        assert ours.tokens.control == special.control
        assert ours.tokens.end_ids == special.end_ids
        assert all(theirs.piece(token) == ours.piece(token) for token in range(0, theirs.size, 7))
        for number in range(1500):
            letters = dice.choices(common, k=30) if number % 3 else map(chr, dice.choices(anywhere, k=20))
            text = "".join(letters) + dice.choice(["", special.eos, special.bos + "user\n"])
            assert theirs.tokenize(text) == ours.encode(text), text
    finally:
        llama.llama_model_free(model)


@pytest.mark.starter
def test_the_starters_tokens_are_llama_cpps(starter: Path):
    assert_same_tokens(starter)


def test_llama_3s_tokens_are_llama_cpps(shared_data: Path):
    assert_same_tokens(shared_data / "vocabs" / "ggml-vocab-llama-bpe.gguf")


@pytest.mark.parametrize("name", ["llama-spm", "phi-3", "qwen2"])
def test_other_vocabularies_are_refused(shared_data: Path, name: str):
    with pytest.raises(ModelError, match="cannot be turned into a tokenizer") as caught:
        tokenizer_definition(shared_data / "vocabs" / f"ggml-vocab-{name}.gguf")
    assert "--backend llamacpp" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"general.architecture": "qwen2"}, "architecture qwen2"),
        ({"extra": ["rope_freqs.weight"]}, r"a tensor rope_freqs\.weight"),
        ({"extra": ["blk.0.ffn_gate_exps.weight"]}, r"a tensor blk\.0\.ffn_gate_exps\.weight"),
        ({"tokenizer.ggml.pre": "deepseek-llm"}, "gpt2/deepseek-llm"),
    ],
)
def test_what_is_no_plain_llama_is_refused(folder: Path, tmp_path: Path, changes: dict, says: str):
    source = write_gguf(folder, tmp_path / "other.gguf", **changes)
    with pytest.raises(ModelError, match=says) as caught:
        convert(source, tmp_path / "made")
    assert caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["other.gguf"]


def test_weights_that_mlx_cannot_take_as_they_are_are_refused(gguf: Path):
    with pytest.raises(ModelError, match="weights in Q4_K, Q6_K; MLX takes"):
        _refuse_unknown(replace(read_facts(gguf), tensor_types={"Q4_K": 9, "Q6_K": 1, "F32": 3}))


def test_each_matrix_keeps_its_own_bits():
    kinds = {"token_embd.weight": "Q8_0", "blk.0.attn_q.weight": "Q4_1", "blk.0.ffn_up.weight": "Q4_0", "x": "F32"}
    assert _quantisation(kinds) == {
        "quantization": {"group_size": 32, "bits": 4, "model.embed_tokens": {"group_size": 32, "bits": 8}}
    }
    assert _quantisation({"token_embd.weight": "F16"}) == {}


def test_a_folder_that_is_not_ours_is_left_alone_and_ours_is_replaced(gguf: Path, tmp_path: Path):
    target = tmp_path / "made"
    target.mkdir()
    (target / "thesis.txt").write_text("two years of work")
    with pytest.raises(ModelError, match="there already"):
        convert(gguf, target)
    assert (target / "thesis.txt").read_text() == "two years of work"
    ours = convert(gguf, tmp_path / "ours")
    (ours / "left over").touch()
    convert(gguf, ours)
    assert not (ours / "left over").exists()


def test_a_full_disk_leaves_nothing(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("[safetensors] No space left on device")

    monkeypatch.setattr(mx, "save_safetensors", full)
    with pytest.raises(ModelError, match="No space left") as caught:
        convert(gguf, tmp_path / "made")
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="cannot be written"):
        convert(gguf, tmp_path / "file" / "made")


def test_it_is_turned_once_and_anew_when_the_file_changes(folder: Path, tmp_path: Path):
    source = write_gguf(folder, tmp_path / "mine.gguf")
    made = converted(source)
    assert made == paths.converted_dir() / "mine"
    stamp = (made / "model.safetensors").stat().st_ino
    assert (converted(source) / "model.safetensors").stat().st_ino == stamp
    os.utime(source, ns=(1, 1))
    assert (converted(source) / "model.safetensors").stat().st_ino != stamp
    assert [path.name for path in paths.converted_dir().iterdir()] == ["mine"]
    assert catalog.resolve(str(made)).card is None


def test_the_command_turns_a_file_and_names_the_folder(gguf: Path, tmp_path: Path):
    done = CliRunner().invoke(cli, ["models", "convert", str(gguf), str(tmp_path / "made"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["path"] == str(tmp_path / "made")
    assert catalog.resolve(str(tmp_path / "made")).kind == "folder"  # 16 bits: nothing was quantised
