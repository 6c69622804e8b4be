"""The scripts behind `make test-vllm`: what is installed where, and when nothing is."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/vllm_env.py with pip and the programs it runs in the environment written down instead."""
    spec = importlib.util.spec_from_file_location("localsynth_vllm_env", ROOT / "scripts" / "vllm_env.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.installed = []
    module.found = ""
    monkeypatch.setattr(module, "pip", lambda _python, *words: module.installed.append(words))
    monkeypatch.setattr(module, "output", lambda _python, code: module.found if "find_spec" in code else "some==1")
    monkeypatch.setattr(module.subprocess, "run", lambda *_words, **_how: None)
    return module


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The interpreter of an environment that is there already."""
    made = tmp_path / "env" / "bin" / "python"
    made.parent.mkdir(parents=True)
    made.symlink_to(sys.executable)
    return made


@pytest.mark.parametrize(("gpu", "first"), [("/usr/bin/nvidia-smi", "vllm>=0.32.0"), (None, "torch==2.13.0")])
def test_vllm_is_chosen_by_the_machine(script: ModuleType, python: Path, monkeypatch, gpu: str | None, first: str):
    monkeypatch.setattr(script.shutil, "which", lambda _name: gpu)
    assert script.main(python) == 0
    assert script.installed[0][0] == first
    own = next(words for words in script.installed if any(word.startswith("textual") for word in words))
    assert not any(word.startswith(("llama-cpp-python", "mlx")) for word in own)
    assert "--constraint" in own


def test_vllm_that_is_there_stays_and_a_second_set_up_does_nothing(script: ModuleType, python: Path):
    script.found = "ModuleSpec(vllm)"
    assert script.main(python) == 0
    assert script.installed
    assert not any(word.startswith("vllm") for words in script.installed for word in words)
    script.installed.clear()
    assert script.main(python) == 0
    assert script.installed == []


def test_the_floor_is_the_version_that_is_tested(script: ModuleType):
    from localsynth.backends.vllm.library import FLOOR

    assert tuple(map(int, script.CPU_VLLM.split(".")[:2])) == FLOOR
