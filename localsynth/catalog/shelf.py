"""Every model that can be used or had here: what is on disk, whose it is, and what of it is ours to remove."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from localsynth import paths
from localsynth.catalog.cards import Backend, Catalogue, ModelCard, load
from localsynth.catalog.local import gguf_files, local_models
from localsynth.catalog.partial import Partial, partial
from localsynth.catalog.resolving import STARTER, STARTER_ENCODER, copy_note, encoder_path, pulled_dir, resolve
from localsynth.errors import LocalsynthError, ModelError, NotFound

EMBEDDED, PULLED, OPTIMISED, CONVERTED = "built in", "localsynth", "optimised copy", "MLX copy"


@dataclass(frozen=True, slots=True)
class Shelved:
    """One model. `name` is what --model takes; `path` is what is loaded, None where it is not here.

    `origin`: which tool put it here, "" for what is in the catalogue alone. `size`: bytes on disk. `ours`: the files
    and folders that localsynth made for it, which may be removed.
    """

    name: str
    origin: str = ""
    card: ModelCard | None = None
    path: Path | None = None
    size: int = 0
    ours: tuple[Path, ...] = ()
    partial: Partial | None = None

    def memory_gb(self, backend: Backend) -> float:
        """GB it takes when loaded, an estimate; see models/README.md."""
        if self.path is not None and self.path.is_file():
            return round(self.size / 1e9 * 1.2 + 0.3, 1)
        if self.card is not None:
            return self.card.memory_gb(backend)
        return round(self.size / 1e9 * 1.2 + 0.3, 1)


def shelved(catalogue: Catalogue | None = None) -> list[Shelved]:
    """All of them: the catalogue in its order, then what else was pulled or made here, then files of other tools."""
    cards = [_of_card(card) for card in catalogue or load()]
    known = {path for entry in cards for path in entry.ours}
    others = [
        Shelved(model.name, model.origin, path=model.path, size=model.size)
        for model in local_models()
        if model.origin != PULLED
    ]
    return [*cards, *_pulled(known), *_copies(), *others]


def find(name: str) -> Shelved:
    """The one of this name, repository or path. NotFound otherwise."""
    wanted, path = name.strip().lower(), Path(name).expanduser().absolute()
    for entry in shelved():
        names = [entry.name, *(_repositories(entry.card) if entry.card else ())]
        if wanted in map(str.lower, names) or path == entry.path or path in entry.ours:
            return entry
    raise NotFound(f"there is no model {name!r} here or in the catalogue", "see: localsynth models list")


def remove(entry: Shelved) -> int:
    """Delete what localsynth has of a model; the bytes that are free then.

    ModelError: it is of another tool or of a package, nothing of it is here, it is being fetched, or it cannot be
    deleted.
    """
    refuse_removal(entry)
    freed = 0
    for path in entry.ours:
        if path.is_symlink() or paths.models_dir() not in path.parents:
            raise ModelError(f"{path} is not a file of localsynth", "remove it by hand")
        freed += disk_size(path)
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        except OSError as error:
            raise ModelError(f"{path} cannot be removed: {error.strerror}", "check the folder's rights") from None
    return freed


def refuse_removal(entry: Shelved) -> None:
    """ModelError for what `remove` would not remove."""
    if entry.partial is not None and entry.partial.busy:
        raise ModelError(f"{entry.name} is being fetched", "wait until it is there, or end that process first")
    if entry.ours:
        return
    if entry.origin == EMBEDDED:
        raise ModelError(f"{entry.name} came with a package", "pip uninstall what brought it")
    if entry.origin:
        raise ModelError(f"{entry.name} belongs to {entry.origin}", f"remove it there; its file is {entry.path}")
    raise ModelError(f"{entry.name} is not on this machine", "there is nothing to remove")


def disk_size(path: Path) -> int:
    """Bytes that a file, or a folder with all in it, takes; links are not followed."""
    if not path.is_dir():
        with contextlib.suppress(OSError):
            return path.lstat().st_size
        return 0
    inside = (Path(folder) / file for folder, _, files in os.walk(path) for file in files)
    return sum(disk_size(file) for file in inside)


def _of_card(card: ModelCard) -> Shelved:
    ours = tuple(folder for folder in map(pulled_dir, _repositories(card)) if folder.is_dir())
    path, origin, half = _path_of(card, pulled=bool(ours)), "", None
    if path is not None:
        origin = PULLED if paths.models_dir() in path.parents else EMBEDDED
    for folder in ours:
        half = half or partial(folder)
    size = sum(map(disk_size, ours)) - (half.size if half else 0)
    return Shelved(card.id, origin, card, path, size or (disk_size(path) if path else 0), ours, half)


def _repositories(card: ModelCard) -> list[str]:
    own = (card.gguf.repo if card.gguf else None, card.mlx, card.hf)
    return list(dict.fromkeys(repo for repo in own if repo))


def _path_of(card: ModelCard, *, pulled: bool) -> Path | None:
    """What is loaded for a card. Most are not here, and asking for each costs more than looking whether it can be."""
    if not pulled and card.id not in (STARTER, STARTER_ENCODER):
        return None
    with contextlib.suppress(LocalsynthError):
        return encoder_path(card.id) if "encoder" in card.roles else resolve(card.id).path
    return None


def _pulled(known: set[Path]) -> Iterator[Shelved]:
    """Repositories that are in no card."""
    home = paths.models_dir()
    for folder in sorted(home.glob("*--*")) if home.is_dir() else ():
        if folder in known or not folder.is_dir():
            continue
        name, half, files = folder.name.replace("--", "/", 1), partial(folder), gguf_files(folder)
        if len(files) > 1:
            for file in files:
                yield Shelved(str(file), PULLED, path=file, size=disk_size(file), ours=(file,))
            continue
        path = files[0] if files else folder if (folder / "config.json").is_file() else None
        size = disk_size(folder) - (half.size if half else 0)
        yield Shelved(name, PULLED if path else "", path=path, size=size, ours=(folder,), partial=half)


def _copies() -> Iterator[Shelved]:
    for file in gguf_files(paths.optimised_dir()):
        ours = tuple(path for path in (file, copy_note(file)) if path.exists())
        yield Shelved(str(file), OPTIMISED, path=file, size=disk_size(file), ours=ours)
    made = paths.converted_dir()
    for folder in sorted(made.iterdir()) if made.is_dir() else ():
        if (folder / "config.json").is_file():
            yield Shelved(str(folder), CONVERTED, path=folder, size=disk_size(folder), ours=(folder,))
