"""What this machine has, and which models of the catalogue fit it."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from localsynth.catalog.cards import Backend, Catalogue, ModelCard, Role, load

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_NVIDIA = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts about the computer. `ram_gb` is 10**9 bytes, 0 where the platform does not tell; `cuda` is a guess."""

    ram_gb: float
    cores: int
    apple_silicon: bool
    cuda: bool

    @property
    def usable_gb(self) -> float:
        """What a model may take: 70 %, which is about what macOS lets a GPU use and leaves the rest room to work."""
        return round(self.ram_gb * 0.7, 1)

    @property
    def quick_gb(self) -> float:
        """What a model may take to write at a bearable speed.

        Each token reads every weight once: without a GPU that is a few tokens a second at 4 GB.
        """
        return self.usable_gb if self.apple_silicon or self.cuda else min(self.usable_gb, 4.0)

    @property
    def backend(self) -> Backend:
        """The backend that runs generators here where nobody chooses: MLX on a Mac's own chip, else llama.cpp."""
        return "mlx" if self.apple_silicon else "llamacpp"


def machine() -> Machine:
    """Look at this machine; takes well under a millisecond and starts no process."""
    return Machine(
        ram_gb=round(_memory() / 1e9, 1),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        apple_silicon=sys.platform == "darwin" and platform.machine() == "arm64",
        cuda=_NVIDIA.exists(),
    )


def recommend(
    memory_gb: float, backend: Backend, role: Role = "generator", catalogue: Catalogue | None = None
) -> list[ModelCard]:
    """The models good for `role` that this backend can load in `memory_gb`, best first.

    Our picks come before the rest, models that need no care before those that do, larger before smaller, newer before
    older. `memory_gb` is what a model may take (`Machine.usable_gb`), not what the machine has.
    """

    def order(card: ModelCard) -> tuple[bool, bool, float, str]:
        return card.pick, card.magpie != "care", card.parameters, card.released

    fitting = [
        card
        for card in catalogue or load()
        if role in card.roles
        and card.source(backend)
        and "remote-code" not in card.quirks
        and card.memory_gb(backend) <= memory_gb
    ]
    return sorted(fitting, key=order, reverse=True)


def _memory() -> int:
    """Bytes of memory: what the machine has, or less where a container is held to less."""
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0
    try:
        limit = int(_CGROUP_LIMIT.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return physical
    return min(physical, limit)
