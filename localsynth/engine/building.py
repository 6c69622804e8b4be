"""From what a plan says of a model to the backend that runs it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from localsynth import catalog
from localsynth.backends.base import Backend
from localsynth.catalog import ResolvedModel
from localsynth.config import SERVED, BackendKind, Plan, RolePlan
from localsynth.errors import ModelError

_TEMPLATE_TOKENS = 256  # headers, a default system turn
_LONGEST_IMPORT = 1024
# MLX runs a GGUF file as the folder that it is turned into once.
_RUNS = {"llamacpp": ("gguf",), "mlx": ("mlx", "folder", "gguf"), "vllm": ("folder",)}
_WANTS = {"llamacpp": "a GGUF file", "mlx": "a folder or a GGUF file", "vllm": "a folder of safetensors"}


def build_backend(role: RolePlan, plan: Plan) -> Backend:
    """The backend that a role asks for, not yet open. ModelError when it cannot run the model."""
    if role.backend == "scripted":
        from localsynth.backends.scripted import ScriptedBackend

        return ScriptedBackend(slots=plan.machine.slots or 8)
    if role.backend in SERVED:
        return _served(role, plan)
    found = _resolved(role)
    kind = chosen_backend(role, found)
    if found.kind not in _RUNS[kind]:
        raise ModelError(
            f"{found.path} is not what {kind} runs: it wants {_WANTS[kind]}",
            "choose another backend or another model: `localsynth models list`",
        )
    name = found.card.id if found.card else found.path.stem if found.kind == "gguf" else found.path.name
    return _local(kind, found.path, name, plan)


def local_model(role: RolePlan) -> ResolvedModel | None:
    """What is loaded on this machine for a role; None for a served model and for the scripted one."""
    return None if role.backend == "scripted" or role.backend in SERVED else _resolved(role)


def chosen_backend(role: RolePlan, found: ResolvedModel) -> BackendKind:
    """The backend itself where the plan leaves the choice to the model."""
    if role.backend != "auto":
        return role.backend
    apple = catalog.machine().apple_silicon
    if found.kind == "gguf":
        # On a Mac llama.cpp is an extra: who installed it wants it for files of his own.
        embedded = found.card is not None and found.card.id == catalog.STARTER
        return "mlx" if apple and (embedded or not importlib.util.find_spec("llama_cpp")) else "llamacpp"
    if found.kind == "mlx" or apple:
        return "mlx"
    # Without either, vLLM is what a machine with a GPU should be told to install.
    return "mlx" if importlib.util.find_spec("mlx_lm") and not importlib.util.find_spec("vllm") else "vllm"


def _resolved(role: RolePlan) -> ResolvedModel:
    local: catalog.Backend | None = role.backend if role.backend in _RUNS else None  # type: ignore[assignment]
    return catalog.resolve(role.model or None, backend=local)


def _local(kind: BackendKind, path: Path, name: str, plan: Plan) -> Backend:
    machine = plan.machine
    context = machine.context or _context(plan)
    if kind == "mlx":
        from localsynth.backends.mlx import MlxBackend, MlxSettings
        from localsynth.backends.mlx.convert import converted

        path = converted(path) if path.is_file() else path
        return MlxBackend(path, MlxSettings(machine.slots, context, machine.memory_share), name=name)
    if kind == "vllm":
        from localsynth.backends.vllm import VllmBackend, VllmSettings

        shares = VllmSettings(
            slots=machine.slots,
            context=context,
            tensor_parallel=machine.tensor_parallel,
            memory_share=machine.memory_share,
            quantisation=machine.quantisation,
        )
        return VllmBackend(path, shares, name=name)
    from localsynth.backends.llamacpp import LlamaCppBackend, LlamaCppSettings

    settings = LlamaCppSettings(
        slots=machine.slots, context=context, threads=machine.threads, gpu_layers=machine.gpu_layers
    )
    return LlamaCppBackend(path, settings, name=name)


def _served(role: RolePlan, plan: Plan) -> Backend:
    machine = plan.machine
    tokenizer = catalog.resolve(role.tokenizer).path if role.tokenizer else None

    def one(url: str) -> Backend:
        if role.backend == "ollama":
            from localsynth.backends.ollama import OllamaBackend

            return OllamaBackend(url, role.model, tokenizer=tokenizer, slots=machine.slots, context=machine.context)
        from localsynth.backends.openai import OpenAIBackend

        return OpenAIBackend(url, role.model, tokenizer=tokenizer, slots=machine.slots, context=machine.context)

    if len(role.servers) == 1:
        return one(role.servers[0])
    from localsynth.backends.pool import PoolBackend

    return PoolBackend([one(url) for url in role.servers])


def _context(plan: Plan) -> int:
    """Tokens that a whole conversation of this plan may take: every slot holds the memory for them."""
    turn = sum(max(entry.max_tokens for entry in role.sampling) for role in (plan.ask, plan.answer))
    prompts = [len(system.text) // 2 for system in plan.systems]
    room = _LONGEST_IMPORT if plan.method == "imported" else 0
    return _TEMPLATE_TOKENS + max(prompts, default=0) + plan.turns * turn + room
