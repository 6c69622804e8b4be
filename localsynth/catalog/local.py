"""Models and servers that are already on this machine, put there by other tools. Nothing is started or changed."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from localsynth import paths

_MAGIC = b"GGUF"
# Later parts of a split model and vision projectors are no models of their own.
_NO_MODEL = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$|mmproj", re.IGNORECASE)
_SERVERS = (("Ollama", 11434), ("LM Studio", 1234), ("llama-server", 8080), ("vLLM", 8000))


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A GGUF file found on this machine. `origin` is the tool that put it there; `size` is in bytes."""

    name: str
    path: Path
    origin: str
    size: int


@dataclass(frozen=True, slots=True)
class LocalServer:
    """Something that answers on a port where a model server usually does; what it is remains a guess."""

    name: str
    url: str


def local_models() -> list[LocalModel]:
    """GGUF files already here: pulled ones first, then those of LM Studio, Ollama, Hugging Face and llama.cpp.

    A file counts when it begins with GGUF's magic number; a file reached by two ways is listed once.
    """
    found: dict[Path, LocalModel] = {}
    for name, path, origin in _candidates():
        real = path.resolve()
        if real not in found and is_gguf(real):
            found[real] = LocalModel(name, path, origin, real.stat().st_size)
    return list(found.values())


def local_servers(timeout: float = 0.05) -> list[LocalServer]:
    """Servers that accept a connection on the loopback, tried on their usual ports; `timeout` in seconds each."""
    found = []
    for name, port in _SERVERS:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=timeout):
                found.append(LocalServer(name, f"http://127.0.0.1:{port}"))
        except OSError:
            continue
    return found


def is_gguf(path: Path) -> bool:
    """Whether a readable file begins as GGUF files do."""
    try:
        with path.open("rb") as file:
            return file.read(4) == _MAGIC
    except OSError:
        return False


def gguf_files(folder: Path) -> list[Path]:
    """The models among the .gguf files below a folder, sorted; hidden folders (half-done downloads) are left out."""
    if not folder.is_dir():
        return []
    files = (file for file in folder.rglob("*.gguf") if not _NO_MODEL.search(file.name))
    return sorted(f for f in files if not any(part.startswith(".") for part in f.relative_to(folder).parts))


def _candidates() -> Iterator[tuple[str, Path, str]]:
    user = Path.home()
    folders = [
        ("localsynth", paths.models_dir()),
        ("LM Studio", user / ".lmstudio" / "models"),
        ("LM Studio", user / ".cache" / "lm-studio" / "models"),
        ("Hugging Face", _hub()),
        ("llama.cpp", Path(os.environ.get("LLAMA_CACHE") or user / ".cache" / "llama.cpp")),
        ("llama.cpp", user / "Library" / "Caches" / "llama.cpp"),
    ]
    for origin, folder in folders:
        for file in gguf_files(folder):
            yield file.stem, file, origin
    yield from _ollama(Path(os.environ.get("OLLAMA_MODELS") or user / ".ollama" / "models"))


def _hub() -> Path:
    home = os.environ.get("HF_HOME")
    hub = os.environ.get("HF_HUB_CACHE") or (Path(home) / "hub" if home else None)
    return Path(hub or Path.home() / ".cache" / "huggingface" / "hub")


def _ollama(folder: Path) -> Iterator[tuple[str, Path, str]]:
    """Ollama keeps weights as blobs without a name; its manifests (registry/library/model/tag) name them."""
    root = folder / "manifests"
    for manifest in sorted(root.rglob("*")) if root.is_dir() else ():
        try:
            layers = json.loads(manifest.read_text(encoding="utf-8"))["layers"]
            digests = [layer["digest"] for layer in layers if layer["mediaType"].endswith("image.model")]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        for digest in digests:
            if re.fullmatch(r"sha256:[0-9a-f]{64}", str(digest)):
                blob = folder / "blobs" / digest.replace(":", "-")
                yield f"{manifest.parent.name}:{manifest.name}", blob, "Ollama"
