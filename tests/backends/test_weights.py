"""One hash of the weights, whatever loads them; nobody reads on for one that is not wanted."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

import pytest
from contract import opened
from test_vllm import FakeEngine
from tiny_models import write_llama

from localsynth.backends import weights
from localsynth.backends.vllm import VllmBackend, library
from localsynth.backends.vllm import backend as vllm
from localsynth.backends.weights import digest, digesting


def split(folder: Path) -> list[Path]:
    """Cut the weights of a folder into two files with an index; the hash is of both."""
    import mlx.core as mx

    whole = folder / "model.safetensors"
    arrays = mx.load(str(whole))
    names = sorted(arrays)
    index = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = folder / f"model-{number:05}-of-00002.safetensors"
        mx.save_safetensors(str(file), {name: arrays[name] for name in part})
        index |= dict.fromkeys(part, file.name)
    whole.unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return sorted(folder.glob("*.safetensors"))


async def test_a_folder_has_the_same_hash_on_every_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("mlx_lm", reason="mlx-lm is not installed: it is for Apple silicon and for Linux on x86-64")
    from localsynth.backends.mlx import MlxBackend

    monkeypatch.setattr(vllm, "Engine", FakeEngine)
    monkeypatch.setattr(library, "check", lambda: "0.32.0")
    folder = write_llama(tmp_path)
    files = split(folder)
    # A repository may hold the same weights in another shape that only some loaders take.
    (folder / "consolidated.safetensors").write_bytes(files[0].read_bytes())
    found = []
    for backend in (MlxBackend(folder), VllmBackend(folder)):
        async with opened(backend):
            found.append(backend.info.sha256)
    assert found == [digest(folder)] * 2


def test_several_files_of_weights_have_the_hash_of_what_sha256sum_prints(tmp_path: Path):
    (tmp_path / "a.safetensors").write_bytes(b"1")
    assert digest(tmp_path) == digest(tmp_path / "a.safetensors") == hashlib.sha256(b"1").hexdigest()
    (tmp_path / "b.safetensors").write_bytes(b"2")
    (tmp_path / "config.json").write_text("{}")
    both = digest(tmp_path)
    lines = "".join(
        f"{hashlib.sha256(b'%d' % n).hexdigest()}  {name}.safetensors\n" for n, name in ((1, "a"), (2, "b"))
    )
    assert both == hashlib.sha256(lines.encode()).hexdigest()
    (tmp_path / "b.safetensors").write_bytes(b"3")
    assert digest(tmp_path) != both


def test_weights_of_several_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(weights, "_CHUNK", 7)
    (tmp_path / "a.gguf").write_bytes(b"0123456789" * 10)
    assert digest(tmp_path / "a.gguf") == hashlib.sha256(b"0123456789" * 10).hexdigest()


def test_nobody_reads_on_for_a_hash_that_is_not_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stop = threading.Event()

    class Hash:
        updates = 0

        def update(self, _: object) -> None:
            Hash.updates += 1
            stop.set()

        def hexdigest(self) -> str:
            return "half"

    monkeypatch.setattr(weights, "_CHUNK", 7)
    monkeypatch.setattr(weights.hashlib, "sha256", Hash)
    (tmp_path / "a.safetensors").write_bytes(b"0123456789" * 10)
    assert (digest(tmp_path, stop), Hash.updates) == ("", 1)


def test_a_load_that_fails_ends_the_hashing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told: list[bool] = []
    monkeypatch.setattr(weights, "digest", lambda _, stop: told.append(stop.wait(20)))
    with pytest.raises(MemoryError), digesting(tmp_path):
        raise MemoryError
    assert told == [True]
