"""The models that a person can choose from, a line each: where it is, whether it fits, what the doctor said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from localsynth.catalog import LocalServer, Machine, ModelCard, Shelved, local_servers, machine, recommend, shelved
from localsynth.engine.fitness import Verdict, recall

Show = Literal["all", "here", "fits"]
SHOWS: tuple[Show, ...] = ("all", "here", "fits")


@dataclass(frozen=True, slots=True)
class Line:
    """One model, or a server that answers. `memory`: GB it takes when loaded, an estimate; 0 for a server.

    `suggested`: the catalogue's pick among what this machine writes with at a bearable speed.
    """

    name: str
    entry: Shelved | None = None
    server: LocalServer | None = None
    memory: float = 0.0
    fits: bool = True
    verdict: Verdict | None = None
    suggested: bool = False

    @property
    def here(self) -> bool:
        """Whether it can be used without fetching anything."""
        return self.server is not None or (self.entry is not None and self.entry.path is not None)

    @property
    def card(self) -> ModelCard | None:
        """Its card, where the catalogue has one."""
        return self.entry.card if self.entry else None

    @property
    def names(self) -> frozenset[str]:
        """What it may be called, in small letters."""
        card = self.card
        repositories = (card.hf, card.mlx, card.gguf.repo if card.gguf else None) if card else ()
        return frozenset(name.lower() for name in (self.name, *repositories) if name)

    @property
    def pullable(self) -> bool:
        """Whether it can be fetched, or the rest of it."""
        half = self.entry is not None and self.entry.partial is not None
        return not self.here and (half or self.card is not None)

    @property
    def generates(self) -> bool:
        """Whether it writes text: encoders and judges of rewards do not."""
        return self.card is None or "generator" in self.card.roles


@dataclass(frozen=True, slots=True)
class Stock:
    """All lines, what is here first, and the machine that they are for."""

    lines: tuple[Line, ...]
    machine: Machine

    def line(self, name: str) -> Line | None:
        """The line of this name, or of the model that comes from this repository."""
        wanted = name.lower()
        return next((line for line in self.lines if wanted in line.names), None)

    def chosen(self, show: Show, search: str = "", *, generators: bool = False) -> list[Line]:
        """What is to be shown. `search`: a part of the name, the maker, the family or the origin."""
        wanted = search.strip().lower()
        return [
            line
            for line in self.lines
            if (show == "all" or line.here or (show == "fits" and line.fits))
            and (not generators or line.generates)
            and (not wanted or wanted in _about(line))
        ]


def take_stock() -> Stock:
    """Look at the catalogue, the disk and the usual ports; some milliseconds, and more where a disk is slow."""
    here = machine()
    quick = {card.id for card in recommend(here.quick_gb, here.backend) if card.pick}
    lines = [_line(entry, here, quick) for entry in shelved()]
    lines += [Line(server.url, server=server) for server in local_servers()]
    return Stock(tuple(sorted(lines, key=_order)), here)


def _line(entry: Shelved, here: Machine, quick: set[str]) -> Line:
    memory = entry.memory_gb(here.backend)
    verdict = recall(entry.path) if entry.path is not None and entry.path.is_file() else None
    suggested = entry.card is not None and entry.card.id in quick
    return Line(entry.name, entry, None, memory, memory <= here.usable_gb, verdict, suggested)


def _order(line: Line) -> tuple[bool, bool, bool, bool, bool]:
    half = line.entry is not None and line.entry.partial is not None
    return not line.here, not line.generates, not half, not line.fits, not line.suggested


def _about(line: Line) -> str:
    card, origin = line.card, line.entry.origin if line.entry else line.server.name if line.server else ""
    return " ".join([line.name, origin, *((card.family, card.maker, card.licence) if card else ())]).lower()
