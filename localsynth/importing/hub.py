"""Data sets of the Hugging Face Hub: `hf:OWNER/NAME`, `@REVISION` and `:FILE` (a pattern) optional."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

from localsynth.errors import DataError, MissingPackage
from localsynth.importing.base import shown

_SPEC = re.compile(r"hf:(?P<repo>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[^:]+))?(?::(?P<file>.+))?")
# Where a data set comes in several kinds, they are copies of one another: one kind is taken.
_KINDS = (".parquet", ".jsonl", ".jsonl.gz", ".json", ".json.gz")
_NO_ROWS = frozenset({"dataset_infos.json", "dataset_info.json", "state.json"})


def fetch(spec: str) -> list[tuple[str, Path]]:
    """(name in the repository, local copy) of each data file, downloaded or from the cache. HF_ENDPOINT is honoured."""
    match = _SPEC.fullmatch(spec)
    if not match:
        raise DataError(
            f"{shown(spec)!r} names no data set", "write hf:OWNER/NAME, hf:OWNER/NAME@REVISION or hf:OWNER/NAME:FILE"
        )
    repo, revision, pattern = match["repo"], match["revision"], match["file"]
    try:
        from huggingface_hub import HfApi, hf_hub_download
    except ImportError:
        raise MissingPackage("hf: needs the package huggingface_hub", "pip install huggingface_hub") from None
    try:
        names = choose(HfApi().list_repo_files(repo, revision=revision, repo_type="dataset"), pattern)
        files = [(n, Path(hf_hub_download(repo, n, revision=revision, repo_type="dataset"))) for n in names]
    except Exception as error:  # the library and its HTTP client raise two trees of errors
        raise _explained(repo, error) from error
    if not files:
        raise DataError(
            f"the data set {repo} has no file to import" + (f" like {shown(pattern)!r}" if pattern else ""),
            "name one of its .parquet, .jsonl or .json files: hf:OWNER/NAME:FILE",
        )
    return files


def choose(names: list[str], pattern: str | None) -> list[str]:
    """The files to read: those that match the pattern, else all of the first kind there is."""
    # Names come from the other side, and one of them is joined to a folder here.
    names = [name for name in names if not name.startswith("/") and ".." not in name.split("/")]
    if pattern:
        return sorted(name for name in names if name == pattern or fnmatch.fnmatchcase(name, pattern))
    for kind in _KINDS:
        found = [name for name in names if name.endswith(kind) and name.rpartition("/")[2] not in _NO_ROWS]
        if found:
            return sorted(found)
    return []


def _explained(repo: str, error: Exception) -> DataError:
    match type(error).__name__:
        case "GatedRepoError":
            return DataError(
                f"the data set {repo} asks for its terms to be accepted", "accept them on the Hub, then `hf auth login`"
            )
        case "RepositoryNotFoundError":
            return DataError(f"there is no data set {repo}, or it is private", "check the name, or `hf auth login`")
        case "RevisionNotFoundError":
            return DataError(f"the data set {repo} has no such revision", "leave out @REVISION for the newest")
        case "OfflineModeIsEnabled" | "LocalEntryNotFoundError":
            return DataError(
                f"the data set {repo} is not in the cache and the Hub cannot be reached",
                "unset HF_HUB_OFFLINE, or go online",
            )
        case _:
            return DataError(
                f"cannot fetch the data set {repo}: {shown(str(error), 160)}",
                "try again, or download it and name the file",
            )
