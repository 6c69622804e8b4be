"""From a model folder to a decoder: what its files say, whether it fits, and what an earlier death taught."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localsynth import paths
from localsynth.backends.base import BackendInfo
from localsynth.backends.mlx import library
from localsynth.backends.mlx.decoder import MlxDecoder, make_generator
from localsynth.backends.mlx.guard import MemoryGuard
from localsynth.backends.tokenizer import read_tokenizer
from localsynth.backends.weights import digesting
from localsynth.errors import ModelError

_ROWS, _CONTEXT, _SHARE = 32, 2048, 0.6
_BUFFERS = 1 / 16  # of the limit: freed buffers that MLX may keep for the next step


@dataclass(frozen=True, slots=True)
class MlxSettings:
    """0 chooses from the machine. `slots`: the most rows; `context`: tokens of each; `memory_share`: of the device."""

    slots: int = 0
    context: int = 0
    memory_share: float = 0.0


class Loader:
    """Makes decoders of one folder, one after the other; each later one gets half the rows of the one that died."""

    def __init__(self, path: Path, settings: MlxSettings, name: str) -> None:
        self._path, self._settings, self._name = path, settings, name
        self._guard: MemoryGuard | None = None

    def load(self) -> MlxDecoder:
        """Load on this thread. ModelError for a folder that cannot be used; MissingPackage without mlx-lm."""
        path, settings = self._path, self._settings
        config = read_config(path, self._name)
        weights = weight_files(path, self._name)
        mx = library.core()
        tokenizer = read_tokenizer(path)
        context = min(settings.context or _CONTEXT, number(config, "max_position_embeddings") or _CONTEXT)
        rows = settings.slots or _ROWS
        limit = _limit(weights, settings.memory_share or _SHARE)
        with digesting(path) as digest:
            generator = _load(mx, path, rows)
            info = BackendInfo(
                name="mlx",
                version=library.version(),
                model=self._name,
                max_concurrency=rows,
                context=context,
                file=str(path),
                sha256=digest.result(),
                quantisation=quantisation(config),
                template=tokenizer.template,
                tokens=tokenizer.tokens,
                logprobs=True,
            )
        allowed = rows if self._guard is None else max(1, min(rows, self._guard.rows // 2))
        row = cache_values(config) * context * (4 if library.on_cpu() else 2)
        self._guard = MemoryGuard(limit=limit, base=int(mx.get_active_memory()), row=row, most=allowed)
        return MlxDecoder(generator, tokenizer, self._guard, info)


def read_config(path: Path, name: str) -> dict[str, Any]:
    """The folder's config.json. ModelError when it is missing, broken, or wants code of the repository to be run."""
    if not path.is_dir():
        raise ModelError(f"there is no model folder at {path}", _remedy(path, name))
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path / 'config.json'} cannot be read: {error}", _remedy(path, name)) from None
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise ModelError(f"{path / 'config.json'} does not say what kind of model it is", "choose another model folder")
    if "model_file" in config:
        # mlx-lm ran it without asking until lately.
        raise ModelError(f"{path.name} runs code of its own, which is never allowed", "choose another model")
    return config


def weight_files(path: Path, name: str) -> list[Path]:
    """The safetensors that mlx-lm loads. ModelError when there are none, or some are not there yet."""
    files = sorted(path.glob("model*.safetensors"))
    index = path / "model.safetensors.index.json"
    try:
        wanted = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()) if index.is_file() else set()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} cannot be read: {error}", _remedy(path, name)) from None
    missing = wanted - {file.name for file in files}
    if missing or not files:
        what = f"has no {min(missing)}" if missing else "holds no weights in safetensors"
        raise ModelError(f"{path} {what}", _remedy(path, name))
    return files


def _remedy(path: Path, name: str) -> str:
    """What to type to have the folder whole; `name` is the folder's own where it is of no catalogue model."""
    if name != path.name:
        return f"localsynth models pull {name}"
    if path.parent == paths.models_dir():
        return f"localsynth models pull {name.replace('--', '/', 1)}"
    return "fetch the folder again, or choose another model: `localsynth models list`"


def number(config: Mapping[str, Any], key: str) -> int:
    """A figure of a model, which models that also see or hear keep in a table of their own; 0 when it says nothing."""
    inner = config.get("text_config")
    found = config.get(key, inner.get(key) if isinstance(inner, dict) else None)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def cache_values(config: Mapping[str, Any]) -> int:
    """Keys and values that one token of one row takes in the cache; 0 when the config does not say."""
    heads = number(config, "num_attention_heads")
    width = number(config, "head_dim") or number(config, "hidden_size") // max(heads, 1)
    return 2 * number(config, "num_hidden_layers") * (number(config, "num_key_value_heads") or heads) * width


def quantisation(config: Mapping[str, Any]) -> str | None:
    """Such as "4-bit, groups of 64"; None for weights as they were trained."""
    found = config.get("quantization")
    if not isinstance(found, dict) or "bits" not in found:
        return None
    return f"{found['bits']}-bit, groups of {found.get('group_size', 64)}"


def _limit(weights: Sequence[Path], share: float) -> int:
    """Bytes that the weights and all rows may take; MLX may keep some freed buffers beside them."""
    usable = library.usable_memory(share)
    buffers = int(usable * _BUFFERS)
    needed = sum(file.stat().st_size for file in weights)
    if needed > usable - buffers:
        raise ModelError(
            f"its weights take {needed / 1e9:.1f} GB, and {(usable - buffers) / 1e9:.1f} GB may be used",
            "choose a smaller model: `localsynth models list --fits`, or allow more: --memory-share",
        )
    library.core().set_cache_limit(buffers)
    return usable - buffers


def _load(mx: Any, path: Path, rows: int) -> Any:
    from mlx_lm.models.cache import make_prompt_cache
    from mlx_lm.utils import load_model

    try:
        model, _ = load_model(path, lazy=True)
        generator = make_generator(model, rows)
        if library.on_cpu():
            # On x86 a step of the starter takes 0.11 s in 32 bits and 3.7 s in 16, which are emulated.
            model.set_dtype(mx.float32)
        mx.eval(model.parameters())
        mixed = {type(cache).__name__ for cache in make_prompt_cache(model) if not hasattr(cache, "merge")}
    except Exception as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(f"mlx-lm cannot load {path.name}: {why}", "pull it again, or choose another model") from None
    if mixed:
        raise ModelError(
            f"mlx-lm cannot run {path.name} in batches: {', '.join(sorted(mixed))}", "choose another model"
        )
    return generator
