"""The set-up script behind make: when it does nothing, what it says where something is missing."""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/setup.py over a copy of the declarations and an environment of its own; pip is not reached."""
    spec = importlib.util.spec_from_file_location("localsynth_setup", ROOT / "scripts" / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "PINS", tmp_path / "constraints.txt")
    monkeypatch.setattr(module, "ENVIRONMENT", tmp_path)
    monkeypatch.setattr(module, "STAMP", tmp_path / "stamp.json")
    return module


@pytest.fixture
def installed(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The profiles that were really installed, in order."""
    profiles: list[str] = []
    monkeypatch.setattr(script, "llama_cpp", lambda: True)
    monkeypatch.setattr(script, "packages", lambda profile: not profiles.append(profile))
    return profiles


@pytest.mark.parametrize(
    ("asked", "done"),
    [
        (["starter", "starter"], ["starter"]),
        (["dev", "starter", "dev"], ["dev"]),
        (["starter", "dev", "starter"], ["starter", "dev"]),
    ],
)
def test_set_up_is_skipped_when_nothing_changed(
    script: ModuleType, installed: list[str], asked: list[str], done: list[str]
):
    assert [script.main(profile) for profile in asked] == [0] * len(asked)
    assert installed == done


@pytest.mark.parametrize(
    ("name", "old", "new", "times"),
    [
        ("pyproject.toml", "line-length = 120", "line-length = 100", 1),
        ("pyproject.toml", '"rich>=', '"richer>=', 2),
        ("constraints.txt", "torch==", "torch==9.", 2),
    ],
)
def test_set_up_follows_what_is_installed_not_other_settings(
    script: ModuleType, installed: list[str], tmp_path: Path, name: str, old: str, new: str, times: int
):
    script.main("starter")
    text = (tmp_path / name).read_text(encoding="utf-8")
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new), encoding="utf-8")
    script.main("starter")
    assert len(installed) == times


def test_a_failed_set_up_is_tried_again(script: ModuleType, installed: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(script, "llama_cpp", lambda: False)
    assert script.main("starter") == 1
    assert not script.STAMP.exists()
    monkeypatch.setattr(script, "llama_cpp", lambda: True)
    assert script.main("starter") == 0
    assert installed == ["starter"]


def test_a_stamp_that_cannot_be_read_means_set_up(script: ModuleType, installed: list[str]):
    for broken in ("", "{", json.dumps({"profile": "old", "key": script.fingerprint()})):
        script.STAMP.write_text(broken, encoding="utf-8")
        script.main("starter")
    assert installed == ["starter"] * 3


def test_a_missing_compiler_is_seen(script: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not script.has_compiler()
    monkeypatch.setenv("CXX", "false")
    assert not script.has_compiler()


def test_without_a_compiler_nothing_is_built_and_the_way_out_is_named(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    model = tmp_path / ".lmstudio" / "models" / "somebody" / "some.gguf"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"GGUF")
    ran: list[str] = []
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CC", "false")
    monkeypatch.setattr(script.metadata, "version", lambda name: "0")
    monkeypatch.setattr(script, "has_wheel", lambda requirement, version: False)
    monkeypatch.setattr(script, "pip", lambda name, *arguments: not ran.append(name))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        monkeypatch.setattr("localsynth.catalog.local._SERVERS", (("Some server", listening.getsockname()[1]),))
        assert not script.llama_cpp()
    told = capsys.readouterr().err
    assert "compiler" in told
    assert str(model) in told
    assert "Some server at http://127.0.0.1:" in told
    assert "llama-cpp-python" not in ran


def test_a_compilation_is_announced(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(script.metadata, "version", lambda name: "0")
    monkeypatch.setattr(script, "has_compiler", lambda: True)
    monkeypatch.setattr(script, "pip", lambda name, *arguments: True)
    monkeypatch.setattr(script, "has_wheel", lambda requirement, version: True)
    assert script.llama_cpp()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(script, "has_wheel", lambda requirement, version: False)
    assert script.llama_cpp()
    assert "compiling it now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        ("", ""),
        ("Collecting torch\n  stray", "Collecting torch"),
        ("Building wheel\n  [12/243] Building CXX object a.o\n  warning: x", "12 of 243 files compiled"),
        ("  [ 45%] Building C object b.o", "45 % compiled"),
    ],
)
def test_progress_of_a_compilation_is_shown(script: ModuleType, tmp_path: Path, log: str, shown: str):
    (tmp_path / "pip.log").write_text(log, encoding="utf-8")
    assert script.progress(tmp_path / "pip.log") == shown
