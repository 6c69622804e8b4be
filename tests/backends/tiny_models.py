"""Tiny model folders that tests make: a trained byte-level BPE, a chat template, random Llama weights."""

from __future__ import annotations

import json
from pathlib import Path

from chat_templates import CHATML

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEXTS = (
    "Name three red lanterns by the harbour. The lantern is blue, and the harbour is old.",
    "user assistant system question answer 问题 答案 机器 学习 naïve café über 🌊🌊",
    "What is the sum of 12 and 30? It is 42. Why? Because 12 + 30 = 42.\n\n- one\n- two\n",
)


def write_tokenizer(folder: Path, template: str | None = CHATML) -> Path:
    """tokenizer.json and tokenizer_config.json of a byte-level BPE of about 400 entries."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=alphabet,
        show_progress=False,
        special_tokens=[AddedToken(text, special=True, normalized=False) for text in SPECIAL],
    )
    tokenizer.train_from_iterator(_TEXTS * 4, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>", "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
