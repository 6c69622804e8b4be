"""GGUF files turned into folders that mlx-lm loads: the same weights bit for bit, in MLX's own packing.

A block of Q4_0, Q4_1 or Q8_0 is 32 weights with one scale, and so is a group of MLX's affine quantisation.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localsynth import paths
from localsynth.backends.gguf import GgufFacts, read_facts, read_tensors, read_values
from localsynth.backends.gguf_tokenizer import end_ids, tokenizer_config, tokenizer_definition
from localsynth.backends.mlx import library
from localsynth.errors import ModelError

_GROUP = 32
_BITS = {"Q4_0": 4, "Q4_1": 4, "Q8_0": 8}
_PLAIN = frozenset({"F32", "F16"})
_OTHERWISE = "pull the model in its MLX form, or run the GGUF file by llama.cpp: --backend llamacpp"
_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def converted(source: Path) -> Path:
    """The folder of MLX made from a GGUF file, below `paths.converted_dir()`; made once, and anew when it is stale."""
    target = paths.converted_dir() / source.stem
    if _origin(target) == _stamp(source):
        return target
    try:
        return convert(source, target)
    except ModelError:
        # Another process may have been quicker.
        if _origin(target) == _stamp(source):
            return target
        raise


def convert(source: Path, target: Path) -> Path:
    """Write a folder from a GGUF file of the Llama architecture, whole or not at all; returns `target`.

    A folder that was converted before is replaced, anything else is not. ModelError for a file that cannot be turned,
    MissingPackage without MLX.
    """
    facts = read_facts(source)
    _refuse_unknown(facts)
    mx = library.core()
    tokenizer = tokenizer_definition(source)
    if target.exists() and _origin(target) is None:
        raise ModelError(f"{target} is there already", "choose another name for the folder")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise ModelError(f"{target.parent} cannot be written: {error.strerror}", "choose another folder") from None
    try:
        weights = _weights(mx, source)
        mx.save_safetensors(str(part / "model.safetensors"), weights, metadata={"format": "mlx"})
        ends = list(end_ids(facts.tokens))
        _write(part / "config.json", _config(source, facts) | {"eos_token_id": ends})
        _write(part / "generation_config.json", {"eos_token_id": ends})
        _write(part / "tokenizer.json", tokenizer)
        _write(part / "tokenizer_config.json", tokenizer_config(source))
        if facts.template is not None:
            (part / "chat_template.jinja").write_text(facts.template, encoding="utf-8")
        _write(part / "converted.json", _stamp(source))
        if target.exists():
            shutil.rmtree(target)
        part.replace(target)
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"{source.name} cannot be converted: {error}", "make room, or choose another folder") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def _refuse_unknown(facts: GgufFacts) -> None:
    name = facts.path.name
    if facts.architecture != "llama":
        raise ModelError(f"{name} is of the architecture {facts.architecture}: only llama can be turned", _OTHERWISE)
    kinds = sorted(set(facts.tensor_types) - _PLAIN - set(_BITS))
    if kinds:
        takes = ", ".join(_BITS)
        raise ModelError(f"{name} has weights in {', '.join(kinds)}; MLX takes {takes} and 16 bits", _OTHERWISE)
    for tensor in read_tensors(facts.path):
        if _new_name(tensor.name) is None:
            raise ModelError(f"{name} has a tensor {tensor.name}, which a plain Llama does not have", _OTHERWISE)


def _new_name(name: str) -> str | None:
    """The name in Hugging Face's layout, which mlx-lm reads; None for what a Llama does not have."""
    found = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|scales|biases)", name)
    if not found:
        return None
    layer, part, kind = found.groups()
    if layer is None:
        return f"{_OUTER[part]}.{kind}" if part in _OUTER else None
    return f"model.layers.{layer}.{_INNER[part]}.{kind}" if part in _INNER else None


def _weights(mx: Any, source: Path) -> dict[str, Any]:
    arrays = mx.load(str(source))
    values = read_values(source)
    heads = int(values["llama.attention.head_count"])
    shared = int(values.get("llama.attention.head_count_kv", heads))
    found: dict[str, Any] = {}
    for name, array in arrays.items():
        turned = {"attn_q": heads, "attn_k": shared}.get(name.split(".")[-2])
        put = _unpermuted(array, turned) if turned else array
        # Norms are kept in 32 bits by GGUF; with one such factor MLX would compute all that follows in 32.
        found[_new_name(name) or ""] = put.astype(mx.float16) if put.dtype == mx.float32 else put
    return found


def _unpermuted(array: Any, heads: int) -> Any:
    """GGUF turns neighbouring coordinates of a head, Hugging Face those half a head apart: put the rows back.

    Each row is packed by itself, so this holds for packed weights and for their scales too.
    """
    rows, rest = array.shape[0], array.shape[1:]
    return array.reshape(heads, rows // heads // 2, 2, *rest).swapaxes(1, 2).reshape(rows, *rest)


def _config(source: Path, facts: GgufFacts) -> dict[str, Any]:
    values = read_values(source)
    tensors = {tensor.name: tensor for tensor in read_tensors(source)}

    def number(key: str) -> int:
        return int(values[f"llama.{key}"])

    heads = number("attention.head_count")
    config: dict[str, Any] = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": number("embedding_length"),
        "num_hidden_layers": number("block_count"),
        "intermediate_size": number("feed_forward_length"),
        "num_attention_heads": heads,
        "num_key_value_heads": int(values.get("llama.attention.head_count_kv", heads)),
        "head_dim": int(values.get("llama.attention.key_length", number("embedding_length") // heads)),
        "rms_norm_eps": float(values["llama.attention.layer_norm_rms_epsilon"]),
        "rope_theta": float(values.get("llama.rope.freq_base", 10000.0)),
        "max_position_embeddings": facts.context,
        "vocab_size": tensors["token_embd.weight"].shape[1],
        "tie_word_embeddings": "output.weight" not in tensors,
        "torch_dtype": "float16",
    }
    return config | _quantisation({name: tensor.type for name, tensor in tensors.items()})


def _quantisation(kinds: Mapping[str, str]) -> dict[str, Any]:
    """The bits of most matrices, and of each that has others."""
    bits = {name: _BITS[kind] for name, kind in kinds.items() if kind in _BITS}
    if not bits:
        return {}
    usual = Counter(bits.values()).most_common(1)[0][0]
    others = {
        (_new_name(name) or "").removesuffix(".weight"): {"group_size": _GROUP, "bits": found}
        for name, found in bits.items()
        if found != usual
    }
    return {"quantization": {"group_size": _GROUP, "bits": usual, **others}}


def _stamp(source: Path) -> dict[str, Any]:
    status = source.stat()
    return {"source": str(source.resolve()), "bytes": status.st_size, "modified": status.st_mtime_ns}


def _origin(folder: Path) -> dict[str, Any] | None:
    """What a folder was converted from; None when it was not."""
    try:
        found = json.loads((folder / "converted.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")
