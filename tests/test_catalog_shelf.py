"""What is on disk, whose it is, and that only what localsynth put there is removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localsynth import catalog, paths
from localsynth.catalog.partial import claim, part_of
from localsynth.catalog.shelf import find, remove, shelved
from localsynth.errors import ModelError, NotFound

GGUF = b"GGUF" + bytes(996)


def pulled(repo: str, *files: str) -> Path:
    folder = paths.models_dir() / repo.replace("/", "--")
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).write_bytes(GGUF)
    return folder


@pytest.fixture
def ollama(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of Ollama; the user's own are out of sight."""
    monkeypatch.setenv("HOME", str(tmp_path))
    root, digest = tmp_path / "ollama", "a" * 64
    manifest = root / "manifests" / "registry" / "library" / "llama3" / "8b"
    manifest.parent.mkdir(parents=True)
    layers = [{"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"}]
    manifest.write_text(json.dumps({"layers": layers}))
    blob = root / "blobs" / f"sha256-{digest}"
    blob.parent.mkdir()
    blob.write_bytes(GGUF)
    monkeypatch.setenv("OLLAMA_MODELS", str(root))
    return blob


def test_each_model_is_listed_once_with_what_it_takes(ollama: Path) -> None:
    folder = pulled("Qwen/Qwen2.5-0.5B-Instruct-GGUF", "qwen2.5-0.5b-instruct-q4_k_m.gguf")
    pulled("some/other-GGUF", "other.gguf")
    copy = paths.optimised_dir() / "other.Q4_0.gguf"
    copy.parent.mkdir()
    copy.write_bytes(GGUF)
    catalog.copy_note(copy).write_text("{}")
    here = {entry.name: entry for entry in shelved() if entry.path is not None and entry.origin != "built in"}
    assert {name: entry.origin for name, entry in here.items()} == {
        "qwen2.5-0.5b": "localsynth",
        "some/other-GGUF": "localsynth",
        str(copy): "optimised copy",
        "llama3:8b": "Ollama",
    }
    assert here["qwen2.5-0.5b"].path == folder / "qwen2.5-0.5b-instruct-q4_k_m.gguf"
    assert {entry.size for entry in here.values()} == {1000}
    assert here["some/other-GGUF"].memory_gb("llamacpp") == 0.3
    names = [entry.name for entry in shelved()]
    assert len(names) == len(set(names))
    assert find("QWEN/qwen2.5-0.5b-Instruct") == find("qwen2.5-0.5b") == here["qwen2.5-0.5b"]
    with pytest.raises(NotFound):
        find("nothing-of-the-kind")


def test_only_what_is_ours_is_removed(ollama: Path) -> None:
    folder = pulled("some/other-GGUF", "other.gguf", "pulled.json")
    kept = pulled("some/kept-GGUF", "kept.gguf")
    assert remove(find("some/other-GGUF")) == 2000
    assert not folder.exists()
    assert kept.exists()
    for name, word in (("llama3:8b", "belongs to Ollama"), ("qwen3-8b", "not on this machine")):
        with pytest.raises(ModelError, match=word):
            remove(find(name))
    assert ollama.read_bytes() == GGUF


def test_a_link_in_our_folder_is_left_alone(ollama: Path, tmp_path: Path) -> None:
    outside = tmp_path / "mine"
    outside.mkdir()
    (outside / "m.gguf").write_bytes(GGUF)
    paths.models_dir().mkdir(parents=True)
    (paths.models_dir() / "a--b").symlink_to(outside)
    with pytest.raises(ModelError, match="not a file of localsynth"):
        remove(find("a/b"))
    assert (outside / "m.gguf").exists()


def test_a_half_done_download_is_told_and_removed_when_nobody_fetches_it(ollama: Path) -> None:
    part = part_of(pulled("Qwen/Qwen3-4B-GGUF") / "x.gguf", "etag")
    part.parent.mkdir()
    part.write_bytes(bytes(500))
    entry = find("qwen3-4b")
    assert (entry.path, entry.size, entry.partial.size, entry.partial.busy) == (None, 0, 500, False)
    with claim(part), pytest.raises(ModelError, match="being fetched"):
        remove(find("qwen3-4b"))
    assert remove(entry) == 500
    assert find("qwen3-4b").partial is None


@pytest.mark.starter
def test_the_starter_stays(starter: Path) -> None:
    entry = find("smollm2-135m")
    assert (entry.path, entry.origin, entry.size) == (starter, "built in", starter.stat().st_size)
    with pytest.raises(ModelError, match="came with a package"):
        remove(entry)
