"""Which backend runs a plan's model, and what it is told."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from localsynth import catalog
from localsynth.backends.llamacpp import LlamaCppBackend
from localsynth.backends.mlx import MlxBackend
from localsynth.backends.ollama import OllamaBackend
from localsynth.backends.openai import OpenAIBackend
from localsynth.backends.pool import PoolBackend
from localsynth.backends.scripted import ScriptedBackend
from localsynth.backends.vllm import VllmBackend
from localsynth.catalog import ResolvedModel
from localsynth.config import Plan, RolePlan, plan_from
from localsynth.engine import building
from localsynth.engine.building import build_backend, chosen_backend, local_model
from localsynth.errors import ModelError

SERVER = "http://127.0.0.1:9/v1"


def found(kind: str, card: str | None = None) -> ResolvedModel:
    return ResolvedModel(kind, Path("m"), catalog.load().find(card) if card else None)


@pytest.mark.parametrize(
    ("model", "apple", "installed", "backend"),
    [
        (found("gguf"), False, set(), "llamacpp"),
        (found("gguf"), True, {"llama_cpp"}, "llamacpp"),
        (found("gguf"), True, set(), "mlx"),
        (found("gguf", "smollm2-135m"), True, {"llama_cpp"}, "mlx"),
        (found("gguf", "smollm2-135m"), False, {"llama_cpp", "mlx_lm"}, "llamacpp"),
        (found("mlx"), False, {"vllm"}, "mlx"),
        (found("folder"), False, {"vllm"}, "vllm"),
        (found("folder"), False, set(), "vllm"),
        (found("folder"), False, {"mlx_lm"}, "mlx"),
        (found("mlx"), False, set(), "mlx"),
        (found("folder"), True, {"vllm"}, "mlx"),
    ],
)
def test_the_model_and_the_machine_choose(
    monkeypatch: pytest.MonkeyPatch, model: ResolvedModel, apple: bool, installed: set[str], backend: str
) -> None:
    here = replace(catalog.machine(), apple_silicon=apple)
    monkeypatch.setattr(catalog, "machine", lambda: here)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in installed else None)
    assert chosen_backend(RolePlan(), model) == backend
    assert chosen_backend(RolePlan(backend="vllm"), model) == "vllm"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_every_backend_is_built_unopened(folder: Path, tmp_path: Path) -> None:
    gguf = tmp_path / "m.gguf"
    gguf.write_bytes(b"GGUF")
    plan = Plan()
    kinds = {
        ScriptedBackend: RolePlan(backend="scripted"),
        LlamaCppBackend: RolePlan(model=str(gguf)),
        MlxBackend: RolePlan(model=str(folder), backend="mlx"),
        VllmBackend: RolePlan(model=str(folder), backend="vllm"),
        OpenAIBackend: RolePlan(backend="openai", servers=(SERVER,)),
        OllamaBackend: RolePlan("m:8b", backend="ollama", servers=(SERVER,), tokenizer=str(gguf)),
        PoolBackend: RolePlan(backend="openai", servers=(SERVER, "http://127.0.0.1:10")),
    }
    for kind, role in kinds.items():
        assert type(build_backend(role, plan)) is kind
    assert local_model(kinds[ScriptedBackend]) is local_model(kinds[OllamaBackend]) is None
    assert local_model(kinds[LlamaCppBackend]).path == gguf


def test_llama_cpp_does_not_take_a_folder(folder: Path) -> None:
    with pytest.raises(ModelError, match="is not what llamacpp runs: it wants a GGUF file"):
        build_backend(RolePlan(model=str(folder), backend="llamacpp"), Plan())


def test_vllm_does_not_take_a_gguf_file(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="it wants a folder of safetensors"):
        build_backend(RolePlan(model=str(tmp_path / "m.gguf"), backend="vllm"), Plan())


def test_the_plans_machine_reaches_the_backend(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    told = []
    monkeypatch.setattr("localsynth.backends.vllm.VllmBackend", lambda path, settings, name: told.append(settings))
    machine = {"tensor_parallel": 4, "memory_share": 0.8, "quantisation": "fp8", "slots": 64}
    plan = plan_from({"ask": {"model": str(folder), "backend": "vllm"}, "machine": machine})
    build_backend(plan.ask, plan)
    settings = told[0]
    assert (settings.tensor_parallel, settings.memory_share, settings.quantisation, settings.slots) == (
        4,
        0.8,
        "fp8",
        64,
    )
    # A slot holds a whole conversation of this plan.
    assert settings.context >= 512 + 1024


@pytest.mark.starter
def test_a_mac_gets_the_starter_by_mlx(monkeypatch: pytest.MonkeyPatch) -> None:
    here = replace(catalog.machine(), apple_silicon=True)
    monkeypatch.setattr(catalog, "machine", lambda: here)
    paths = []
    monkeypatch.setattr("localsynth.backends.mlx.convert.converted", lambda path: paths.append(path) or path)
    built = build_backend(RolePlan(model=str(catalog.starter_path())), Plan())
    assert type(built) is MlxBackend
    assert paths == [catalog.starter_path()]
    assert building.local_model(RolePlan()).starter
