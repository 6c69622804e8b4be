"""On a Mac's own chip the catalogue pulls, finds and suggests what MLX runs, unless another backend is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from localsynth import catalog, paths
from localsynth.catalog import hardware, pulling, resolving
from localsynth.cli.main import cli

AIR = hardware.Machine(ram_gb=17.2, cores=8, apple_silicon=True, cuda=False)
PC = hardware.Machine(ram_gb=17.2, cores=8, apple_silicon=False, cuda=False)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch):
    def be(machine: hardware.Machine) -> None:
        for module in (pulling, resolving):
            monkeypatch.setattr(module, "machine", lambda: machine)

    return be


@pytest.mark.parametrize(("machine", "backend"), [(AIR, "mlx"), (PC, "llamacpp")])
def test_the_machine_chooses_what_is_pulled_and_suggested(here, machine: hardware.Machine, backend: str) -> None:
    here(machine)
    assert machine.backend == backend
    card = catalog.load().find("qwen3-4b")
    repos = {"mlx": (card.mlx, ""), "llamacpp": (card.gguf.repo, card.gguf.pattern)}
    assert pulling._target("qwen3-4b", None, None) == repos[backend]
    for asked, target in repos.items():
        assert pulling._target("qwen3-4b", asked, None) == target
    best = catalog.recommend(machine.quick_gb, backend)[0]
    assert f"localsynth models pull {best.id}" in catalog.starter_note()
    assert best.source(backend)


def test_what_was_pulled_in_several_kinds_is_found_in_the_kind_that_runs_here(here) -> None:
    card = catalog.load().find("qwen3-4b")
    file = resolving.pulled_dir(card.gguf.repo) / "Qwen3-4B-Q4_K_M.gguf"
    folder, full = resolving.pulled_dir(card.mlx), resolving.pulled_dir(card.hf)
    for path in (file.parent, folder, full):
        path.mkdir(parents=True)
    file.write_bytes(b"GGUF")
    (folder / "config.json").write_text(json.dumps({"quantization": {"group_size": 64, "bits": 4}}))
    (full / "config.json").write_text("{}")
    for machine, mine, other in ((AIR, folder, file), (PC, file, folder)):
        here(machine)
        assert catalog.resolve("qwen3-4b").path == mine
        assert catalog.resolve("qwen3-4b", backend="mlx" if machine is PC else "llamacpp").path == other
        assert catalog.resolve("qwen3-4b", backend="vllm").path == full


def test_a_folder_that_was_made_from_the_starter_is_the_starter(starter: Path) -> None:
    folder = paths.converted_dir() / "any"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"quantization": {"group_size": 32, "bits": 4}}))
    found = catalog.resolve(str(folder))
    assert (found.kind, found.card) == ("mlx", None)
    (folder / "converted.json").write_text(json.dumps({"source": str(starter)}))
    assert catalog.resolve(str(folder)).card == catalog.load().find("smollm2-135m")
    (folder / "converted.json").write_text("[]")
    assert catalog.resolve(str(folder)).card is None


def test_pull_takes_another_backends_files_when_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[object] = []
    monkeypatch.setattr(catalog, "pull", lambda name, report, backend: (asked.append((name, backend)), tmp_path)[1])
    for arguments in ([], ["--backend", "llamacpp"]):
        assert CliRunner().invoke(cli, ["models", "pull", "qwen3-4b", *arguments]).exit_code == 0
    assert asked == [("qwen3-4b", None), ("qwen3-4b", "llamacpp")]
