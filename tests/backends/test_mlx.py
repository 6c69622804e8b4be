"""The MLX backend on a tiny Llama: the contract, memory, deaths, and folders that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from contract import Absent, Contract, Installed, Prompts
from tiny_models import write_llama

pytest.importorskip("mlx_lm", reason="mlx-lm is not installed: it is for Apple silicon and for Linux on x86-64")

from localsynth.backends.mlx import MlxBackend, MlxSettings, library

ASK = "<|im_start|>user\n"


def answering(question: str) -> str:
    return f"{ASK}{question}<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("tiny"))


def small(folder: Path, slots: int, context: int = 512) -> MlxBackend:
    return MlxBackend(folder, MlxSettings(slots=slots, context=context))


class TestMlx(Contract, Absent, Installed):
    package, loaded = "mlx_lm", library.core

    @pytest.fixture
    def absent(self, tmp_path: Path) -> MlxBackend:
        return MlxBackend(tmp_path / "absent", name="qwen3-4b")

    @pytest.fixture
    def backend(self, folder: Path):
        return lambda slots: small(folder, slots)

    @pytest.fixture
    def prompts(self) -> Prompts:
        return Prompts(ASK, (answering("What is the sum?"), answering("Name three lanterns.")), 3)
