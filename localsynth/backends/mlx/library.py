"""MLX and mlx-lm: loaded when they are needed, refused when they are too old, and what they tell of the device."""

from __future__ import annotations

import importlib.metadata
import os
import re
from functools import cache
from typing import Any

from localsynth.errors import MissingPackage

# Before it, a batch lost track of which row has which processors once a row had left.
OLDEST = (0, 32, 0)
_INSTALL = "pip install -U 'localsynth[mlx]'"
_WORKING_SET = 0.9  # of what Metal recommends: beyond it macOS ends processes, or itself


@cache
def core() -> Any:
    """The module mlx.core. MissingPackage when MLX or mlx-lm is absent, broken or too old."""
    try:
        import mlx.core
        import mlx_lm
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError)
        why = "is not installed" if missing else f"cannot be loaded: {error}"
        raise MissingPackage(f"mlx-lm {why}", _INSTALL) from None
    found = str(getattr(mlx_lm, "__version__", "0"))
    if _numbers(found) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise MissingPackage(
            f"mlx-lm {found} is too old: its batches need {oldest} or newer, which wants macOS 14", _INSTALL
        )
    return mlx.core


def version() -> str:
    """Both versions, as a row's history keeps them."""
    core()
    return f"mlx-lm {importlib.metadata.version('mlx-lm')}, mlx {importlib.metadata.version('mlx')}"


def on_cpu() -> bool:
    """Whether this build computes on the CPU, as it does on Linux without CUDA."""
    mx = core()
    return bool(mx.default_device().type == mx.DeviceType.cpu)


def usable_memory(share: float) -> int:
    """Bytes that a run may take: a share of the device's memory, and never more than its working set."""
    mx = core()
    found = {} if on_cpu() else dict(mx.device_info())
    whole = int(found.get("memory_size") or found.get("total_memory") or _system_memory())
    working_set = found.get("max_recommended_working_set_size")
    return min(int(whole * share), int(working_set * _WORKING_SET)) if working_set else int(whole * share)


def _system_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)[:3]))
