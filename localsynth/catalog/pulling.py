"""Fetching a model from a Hugging Face repository (or HF_ENDPOINT). Run it again and it goes on where it stopped."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from localsynth.catalog.cards import Backend, Catalogue, load
from localsynth.catalog.download import AGAIN, RemoteFile, download, gated
from localsynth.catalog.hardware import machine
from localsynth.catalog.resolving import pulled_dir
from localsynth.errors import LocalsynthError, MissingPackage, ModelError, NotFound

# What a folder model needs. Never pickled weights (.bin, .pt): they run code when loaded.
_WANTED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
_UNWANTED = ("onnx/*", "openvino/*", "original/*", "coreml/*")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a file is, in bytes; `total` is None where the server does not say.

    `all_done` and `all_total`: the same over all files that are fetched; 0 where the server does not say.
    """

    file: str
    done: int
    total: int | None
    all_done: int = 0
    all_total: int = 0


Report = Callable[[Progress], None]


def pull(
    name: str,
    progress: Report | None = None,
    *,
    backend: Backend | None = None,
    catalogue: Catalogue | None = None,
    revision: str | None = None,
) -> Path:
    """Fetch a catalogue model, OWNER/NAME or OWNER/NAME:FILE (a pattern may be given) into `paths.models_dir()`.

    `backend` chooses between the kinds a card offers; by default what suits this machine. `revision` is a commit of
    the repository, by default its newest. Returns the GGUF file, or the folder of a model in many files. ModelError:
    offline, not found, gated, no room; NotFound: no such name.
    """
    repo, pattern = _target(name, backend, catalogue)
    hub = _hub()
    try:
        return _fetch(hub, repo, pattern, progress, revision)
    except LocalsynthError:
        raise
    except Exception as error:
        raise _explain(hub, repo, error) from error


def _target(name: str, backend: Backend | None, catalogue: Catalogue | None) -> tuple[str, str]:
    """The repository and the pattern of one file in it, "" for all that a folder model needs."""
    repo, _, pattern = name.strip().partition(":")
    if pattern:
        return repo, pattern
    try:
        card = (catalogue or load()).find(repo)
    except NotFound:
        if repo.count("/") == 1:
            return repo, ""
        raise
    if repo.count("/") == 1 and not (card.gguf and repo.lower() == card.gguf.repo.lower()):
        return repo, ""
    chosen = backend or machine().backend
    if chosen == "mlx" and card.mlx:
        return card.mlx, ""
    if card.gguf and chosen in ("mlx", "llamacpp"):
        return card.gguf.repo, card.gguf.pattern
    if chosen == "llamacpp" and "generator" in card.roles and backend:
        raise ModelError(f"the catalogue knows no GGUF file of {card.id}", "pull OWNER/NAME:FILE.gguf by its own name")
    return card.hf, ""


def _hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ImportError:
        raise MissingPackage("huggingface_hub is not installed", "pip install huggingface_hub") from None
    return huggingface_hub


def _fetch(hub: Any, repo: str, pattern: str, progress: Report | None, revision: str | None) -> Path:
    endpoint = os.environ.get("HF_ENDPOINT")
    info = hub.HfApi(endpoint=endpoint).model_info(repo, revision=revision, files_metadata=True)
    # The names come from outside: none may lead out of the folder.
    there = {s.rfilename: s for s in info.siblings or () if _is_inside(s.rfilename)}
    wanted = _choose(repo, pattern, sorted(there))
    folder = pulled_dir(repo)
    folder.mkdir(parents=True, exist_ok=True)
    missing = sum(there[file].size or 0 for file in wanted if not (folder / file).exists())
    free = shutil.disk_usage(folder).free
    if missing > free:
        message = f"{repo} needs {missing / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB left"
        raise ModelError(message, "make room, or set LOCALSYNTH_HOME to a larger disk")
    headers = hub.utils.build_hf_headers()
    sizes = [there[file].size or 0 for file in wanted]
    for number, file in enumerate(wanted):
        remote = RemoteFile(
            url=hub.hf_hub_url(repo, file, revision=info.sha, endpoint=endpoint),
            size=there[file].size,
            sha256=there[file].lfs.sha256 if there[file].lfs else None,
            etag=there[file].blob_id or info.sha,
        )
        none = Progress(file, 0, remote.size, sum(sizes[:number]), sum(sizes))
        report = functools.partial(_report, progress, none) if progress else None
        download(remote, folder / file, headers, report)
    record = {"repo": repo, "revision": info.sha, "files": wanted}
    (folder / "pulled.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    return folder / wanted[0] if wanted[0].endswith(".gguf") else folder


def _report(progress: Report, none: Progress, done: int) -> None:
    progress(replace(none, done=done, all_done=none.all_done + done))


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _choose(repo: str, pattern: str, files: list[str]) -> list[str]:
    """The files to fetch: one GGUF (all its parts where it is split), or what a folder model needs."""
    models = [f for f in files if f.endswith(".gguf") and "mmproj" not in f.lower()]
    folder = [f for f in files if _matches(f, _WANTED) and not _matches(f, _UNWANTED)]
    weights = any(f.endswith(".safetensors") for f in folder)
    if not pattern and weights:
        return folder
    if not pattern and not models:
        raise ModelError(f"{repo} has no weights in GGUF or safetensors", "choose another repository of this model")
    pattern = pattern or "*Q4_K_M*.gguf"
    found = [f for f in models if _matches(f, (pattern,)) or _matches(f.rsplit("/", 1)[-1], (pattern,))]
    if not found:
        some = ", ".join(models[:6]) or "none"
        raise ModelError(f"{repo} has no file {pattern}", f"GGUF files there: {some}")
    first = min(found, key=len)
    stem, split, rest = first.rpartition("-of-")
    if not split:
        return [first]
    return [f for f in found if f.startswith(stem[:-5]) and f.endswith(f"-of-{rest}")]


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name.lower(), pattern.lower()) for pattern in patterns)


def _explain(hub: Any, repo: str, error: Exception) -> ModelError:
    """The hub's many exceptions in our words."""
    errors = hub.errors
    if isinstance(error, errors.GatedRepoError):
        return gated(repo)
    message, hint, retryable = f"{repo} was not fetched: {type(error).__name__}: {error}"[:300], AGAIN, True
    if isinstance(error, errors.HFValidationError):
        message, hint, retryable = f"{repo!r} is not the name of a repository", "give OWNER/NAME", False
    elif isinstance(error, errors.RepositoryNotFoundError):
        message, retryable = f"there is no repository {repo}, or it is private", False
        hint = "check the name; for a private one set HF_TOKEN"
    elif isinstance(error, errors.OfflineModeIsEnabled):
        message, hint = f"{repo} was not fetched: HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE and try again"
    elif isinstance(error, errors.HfHubHTTPError):
        message = f"{repo}: the server answered {getattr(error.response, 'status_code', 'an error')}"
        hint = "try again later"
    elif isinstance(error, PermissionError):
        message, retryable = f"{error.filename} cannot be written", False
        hint = "set LOCALSYNTH_HOME to a folder of yours"
    return ModelError(message, hint, retryable=retryable)
