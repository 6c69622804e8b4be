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


def write_llama(folder: Path, *, layers: int = 2, bits: int = 0) -> Path:
    """A whole Llama folder with random weights, about 300 KB; it writes printable text and ends now and then.

    `bits`: quantise the matrices as MLX does.
    """
    import mlx.core as mx
    import numpy as np

    width, hidden, heads, shared = 64, 128, 4, 2
    write_tokenizer(folder)
    words = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    count = len(words)
    dice = np.random.default_rng(7)

    def random(*shape: int) -> np.ndarray:
        # Half the precision, so that a copy in 16 bits is the same model.
        return dice.normal(0, shape[-1] ** -0.5, shape).astype(np.float16).astype(np.float32)

    weights = {"model.norm.weight": np.ones(width, np.float32)}
    embedding, head = random(count, width) * 8, random(count, width) * 3
    # The first coordinate is the same large number for every token, so that a column of the head is a bias.
    embedding[:, 0] = 24.0
    head[:, 0] = [_bias(word) for word in sorted(words, key=words.__getitem__)]
    weights |= {"model.embed_tokens.weight": embedding, "lm_head.weight": head}
    for layer in range(layers):
        at = f"model.layers.{layer}."
        for name, shape in {
            "self_attn.q_proj": (width, width),
            "self_attn.k_proj": (width * shared // heads, width),
            "self_attn.v_proj": (width * shared // heads, width),
            "self_attn.o_proj": (width, width),
            "mlp.gate_proj": (hidden, width),
            "mlp.up_proj": (hidden, width),
            "mlp.down_proj": (width, hidden),
        }.items():
            weights[f"{at}{name}.weight"] = random(*shape)
        for name in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{at}{name}.weight"] = np.ones(width, np.float32)
    config = {
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": shared,
        "rms_norm_eps": 1e-5,
        "vocab_size": count,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": False,
        "eos_token_id": [0, 1, 2],
    }
    arrays = {name: mx.array(array) for name, array in weights.items()}
    if bits:
        config["quantization"] = {"group_size": 32, "bits": bits}
        for name in [name for name, array in weights.items() if array.ndim == 2]:
            stem = name.removesuffix(".weight")
            arrays[name], arrays[f"{stem}.scales"], arrays[f"{stem}.biases"] = mx.quantize(arrays[name], 32, bits)
    mx.save_safetensors(str(folder / "model.safetensors"), arrays)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def _bias(word: str) -> float:
    """Words are likely, ends of text now and then, halves of characters never."""
    if word in SPECIAL:
        return -0.2
    text = word.replace("Ġ", " ").replace("Ċ", "\n")
    return 0.0 if text.isascii() and text.strip() and (text.isprintable() or "\n" in text) else -4.0
