"""The tokenizer of a GGUF file as a tokenizer.json, written from the file's own vocabulary and merges."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localsynth.backends.gguf import read_facts, read_values
from localsynth.errors import ModelError
from localsynth.records import SpecialTokens

_CONTROL, _USER_DEFINED = 3, 4
# How a text is cut into words before its bytes are merged; GGUF names the way, and llama.cpp and the models' own files
# hold the same expression.
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_LLAMA_3_NAMES = frozenset({"llama-bpe", "llama3", "llama-v3"})
# What ends a text or a turn in any family, though a file names only one; llama.cpp knows them by these texts too.
_ENDS = frozenset({
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<|eom_id|>",
    "<EOT>", "<|end_of_turn|>", "</s>", "<reponame>",
})  # fmt: skip


def tokenizer_definition(path: Path) -> dict[str, Any]:
    """The content of tokenizer.json. ModelError for a kind of vocabulary that cannot be written so."""
    values = read_values(path)
    kind, way = values.get("tokenizer.ggml.model"), values.get("tokenizer.ggml.pre")
    if kind != "gpt2" or (way != "smollm" and way not in _LLAMA_3_NAMES):
        raise ModelError(
            f"{path.name} has a vocabulary of the kind {kind}/{way}, which cannot be turned into a tokenizer.json",
            "pull the model in its MLX form, or run the GGUF file by llama.cpp: --backend llamacpp",
        )
    texts, kinds = values["tokenizer.ggml.tokens"], values["tokenizer.ggml.token_type"]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": kind == _CONTROL,
            }
            for number, (text, kind) in enumerate(zip(texts, kinds, strict=True))
            if kind in (_CONTROL, _USER_DEFINED)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": _cutting(str(way))},
        "post_processor": None,
        "decoder": _byte_level(use_regex=True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": way in _LLAMA_3_NAMES,
            "vocab": {text: number for number, text in enumerate(texts)},
            "merges": values["tokenizer.ggml.merges"],
        },
    }


def end_ids(tokens: SpecialTokens) -> tuple[int, ...]:
    """Every id that ends a turn or a text: what the file names, and what is known by its text."""
    known = (number for text, number in tokens.control.items() if text in _ENDS)
    return tuple(sorted({*tokens.end_ids, *known}))


def tokenizer_config(path: Path) -> dict[str, Any]:
    """The content of tokenizer_config.json, without the chat template."""
    tokens = read_facts(path).tokens
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens.bos or None,
        "eos_token": tokens.eos or None,
        "add_bos_token": tokens.add_bos,
        "clean_up_tokenization_spaces": False,
    }


def _cutting(way: str) -> list[Mapping[str, Any]]:
    if way == "smollm":
        return [{"type": "Digits", "individual_digits": True}, _byte_level(use_regex=True)]
    split = {"type": "Split", "pattern": {"Regex": _LLAMA_3}, "behavior": "Isolated", "invert": False}
    return [split, _byte_level(use_regex=False)]


def _byte_level(*, use_regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}
