"""Tiny model folders that tests make: a trained byte-level BPE, a chat template, random Llama weights."""

from __future__ import annotations

import functools
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
        return dice.normal(0, shape[-1] ** -0.5, shape)

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
    # Half the precision, so that a copy in 16 bits is the same model.
    arrays = {name: mx.array(array.astype(np.float16)).astype(mx.float32) for name, array in weights.items()}
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


def write_gguf(folder: Path, target: Path, **changes: object) -> Path:
    """A GGUF file of a folder from `write_llama`, its coordinates turned as llama.cpp wants them."""
    import mlx.core as mx

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    words = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].__getitem__)
    number = {name: mx.array(config[key], mx.uint32) for name, key in _GGUF_NUMBERS.items()}
    metadata = {
        "general.architecture": "llama",
        "llama.attention.layer_norm_rms_epsilon": mx.array(config["rms_norm_eps"], mx.float32),
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.token_type": mx.array([3 if word in SPECIAL else 1 for word in words], mx.int32),
        "tokenizer.ggml.merges": [" ".join(pair) for pair in tokenizer["model"]["merges"]],
        "tokenizer.ggml.bos_token_id": mx.array(0, mx.uint32),
        "tokenizer.ggml.eos_token_id": mx.array(2, mx.uint32),
        "tokenizer.chat_template": settings["chat_template"],
    }
    arrays = {}
    for name, array in mx.load(str(folder / "model.safetensors")).items():
        renamed = functools.reduce(lambda text, pair: text.replace(pair[1], pair[0]), _GGUF_NAMES.items(), name)
        heads = config.get(
            {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}.get(renamed.split(".")[-2])
        )
        rows = array.shape[0]
        turned = array.reshape(heads, 2, rows // heads // 2, -1).swapaxes(1, 2) if heads else array
        # GGUF files are written from memory as it lies.
        plain = mx.contiguous(turned.reshape(array.shape))
        arrays[renamed] = plain.astype(mx.float16) if array.ndim == 2 else plain
    arrays |= {name: mx.zeros((4,)) for name in changes.pop("extra", ())}
    mx.save_gguf(str(target), arrays, metadata | number | changes)
    return target


_GGUF_NUMBERS = {
    "llama.embedding_length": "hidden_size",
    "llama.block_count": "num_hidden_layers",
    "llama.feed_forward_length": "intermediate_size",
    "llama.attention.head_count": "num_attention_heads",
    "llama.attention.head_count_kv": "num_key_value_heads",
    "llama.context_length": "max_position_embeddings",
}
_GGUF_NAMES = {
    "blk.": "model.layers.",
    "attn_q.": "self_attn.q_proj.",
    "attn_k.": "self_attn.k_proj.",
    "attn_v.": "self_attn.v_proj.",
    "attn_output.": "self_attn.o_proj.",
    "ffn_gate.": "mlp.gate_proj.",
    "ffn_up.": "mlp.up_proj.",
    "ffn_down.": "mlp.down_proj.",
    "attn_norm.": "input_layernorm.",
    "ffn_norm.": "post_attention_layernorm.",
    "token_embd.": "model.embed_tokens.",
    "output_norm.": "model.norm.",
    "output.": "lm_head.",
}
