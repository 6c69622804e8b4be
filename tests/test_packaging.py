"""The wheel as a user gets it: what it carries, and that it runs with its declared dependencies and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built with what is installed: no network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("localsynth-*.whl"))


def test_the_wheel_carries_everything_that_is_read_at_run_time(wheel: Path):
    carried = set(zipfile.ZipFile(wheel).namelist())
    sources = [file for file in (ROOT / "localsynth").rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert {f.relative_to(ROOT).as_posix() for f in sources} <= carried
    cards = {f"localsynth/models/{card.name}" for card in (ROOT / "models").glob("*.toml")}
    assert cards
    assert cards <= carried
    assert "localsynth/store/migrations.py" in carried
    assert any(name.endswith(".tcss") for name in carried)
    assert any(name.endswith("topics.toml") for name in carried)
    assert not any(name.startswith(("tests/", "bench/", "scripts/")) for name in carried)


def test_the_wheel_names_its_licence_and_command(wheel: Path):
    described = zipfile.ZipFile(wheel)
    folder = next(name for name in described.namelist() if name.endswith(".dist-info/METADATA")).rpartition("/")[0]
    assert "License-Expression: Apache-2.0" in described.read(f"{folder}/METADATA").decode()
    assert f"{folder}/licenses/LICENSE" in described.namelist()
    assert "localsynth = localsynth.cli.main:main" in described.read(f"{folder}/entry_points.txt").decode()


def declared(wheel: Path) -> list[metadata.Distribution]:
    """The distributions that pip would install with the wheel and no extra, found in the environment of the tests."""
    text = zipfile.ZipFile(wheel).read(f"{wheel.name.rsplit('-', 3)[0]}.dist-info/METADATA").decode()
    pending = [(line.partition(": ")[2], "") for line in text.splitlines() if line.startswith("Requires-Dist: ")]
    found: dict[str, metadata.Distribution] = {}
    seen = set()
    while pending:
        text, extra = pending.pop()
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        found.setdefault(name, metadata.distribution(name))
        for wanted in {"", *requirement.extras} - {e for n, e in seen if n == name}:
            seen.add((name, wanted))
            pending += [(needed, wanted) for needed in found[name].requires or ()]
    return list(found.values())


def link(distribution: metadata.Distribution, packages: Path) -> None:
    """Put one installed distribution into another environment without copying or fetching it."""
    for top in {Path(file).parts[0] for file in distribution.files or () if Path(file).parts[0] not in ("..", "bin")}:
        source, target = Path(str(distribution.locate_file(top))), packages / top
        if top == "__pycache__" or not source.exists() or target.is_symlink():
            continue
        target.symlink_to(source)


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel and its declared dependencies: what is undeclared is not there to import."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    packages = next((folder / "lib").glob("python*/site-packages"))
    for distribution in declared(wheel):
        link(distribution, packages)
    return folder


def run(clean: Path, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LOCALSYNTH_HOME": str(home / "localsynth"),
        "HF_HUB_OFFLINE": "1",
    }
    command = [str(clean / "bin" / "localsynth"), *arguments]
    done = subprocess.run(
        command, cwd=home, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_clean_environment_is_clean(clean: Path):
    command = [str(clean / "bin" / "python"), "-c", "import pytest"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=clean)
    assert "No module named 'pytest'" in done.stderr


def test_help_answers_in_a_clean_environment(clean: Path, tmp_path: Path):
    assert run(clean, "--help", home=tmp_path).stdout.startswith("Usage: localsynth")


def test_a_scripted_run_and_its_export_work_in_a_clean_environment(clean: Path, tmp_path: Path):
    # No starter either: without its encoder, character n-grams look for near duplicates.
    run(clean, "generate", "-n", "5", "--backend", "scripted", "--store", "x.db", home=tmp_path)
    run(clean, "export", "--store", "x.db", "pairs.jsonl", home=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 5
    assert {tuple(turn["role"] for turn in row["messages"])[-2:] for row in rows} == {("user", "assistant")}


def test_the_catalogue_is_found_in_the_installed_wheel(clean: Path, tmp_path: Path):
    listed = json.loads(run(clean, "models", "list", "--json", home=tmp_path).stdout)
    assert len(listed["catalogue"]) >= 34
