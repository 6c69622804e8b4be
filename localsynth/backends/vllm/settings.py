"""How vLLM runs a model: what the plan asks for, as arguments of its engine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from localsynth.errors import ModelError

# Tokens that the engine hands over at once: a wake-up of the event loop for every token of hundreds of rows costs more
# than the few tokens that may be written behind a stop text.
TOKENS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """0 and "" choose: vLLM's own number of rows, the tokens that the model was trained for and that fit into memory,
    vLLM's own share of the memory, and the quantisation that the model's files declare."""

    slots: int = 0
    context: int = 0
    tensor_parallel: int = 1
    memory_share: float = 0.0
    quantisation: str = ""


def engine_arguments(path: Path, asked: VllmSettings, *, on_cpu: bool) -> dict[str, object]:
    """The keyword arguments of AsyncEngineArgs. ModelError for a folder that holds no model of this kind."""
    trained = _trained_context(path)
    if not any(path.glob("*.safetensors")):
        raise ModelError(
            f"{path} holds no safetensors weights, and vLLM is given no others",
            "choose the folder of a model in Hugging Face's format: `localsynth models list`",
        )
    arguments: dict[str, object] = {
        "model": str(path),
        "trust_remote_code": False,
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "language_model_only": True,
        "enable_prefix_caching": True,
        "logprobs_mode": "raw_logprobs",
        "stream_interval": TOKENS_AT_ONCE,
        "disable_log_stats": True,
        "tensor_parallel_size": asked.tensor_parallel,
        # -1: as many of the tokens it was trained for as the memory holds.
        "max_model_len": min(asked.context, trained or asked.context) or -1,
        # Compiling for a CPU takes minutes and serves tests only.
        "enforce_eager": on_cpu,
    }
    if asked.slots:
        arguments["max_num_seqs"] = asked.slots
    if asked.memory_share:
        arguments["gpu_memory_utilization"] = asked.memory_share
    if asked.quantisation:
        arguments["quantization"] = asked.quantisation
    return arguments


def revision_of(path: Path) -> str | None:
    """The commit of a folder in the Hugging Face cache, where it is one."""
    return path.name if path.parent.name == "snapshots" else None


def _trained_context(path: Path) -> int:
    """The tokens that the model was trained for, 0 where it does not say."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        where = f"{path} has no config.json" if path.is_dir() else f"{path} is not a model folder"
        hint = "vLLM runs a model's folder in Hugging Face's format, no GGUF file: `localsynth models list`"
        raise ModelError(where, hint) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path / 'config.json'} cannot be read: {error}", "download the model again") from None
    for part in (config, config.get("text_config")) if isinstance(config, dict) else ():
        found = part.get("max_position_embeddings") if isinstance(part, dict) else None
        if isinstance(found, int) and found > 0:
            return found
    return 0
