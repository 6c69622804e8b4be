"""How a model is run on this machine: chosen from its cores, its memory and the file, overridable."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from localsynth.backends.gguf import GgufFacts
from localsynth.errors import ModelError

_SLOTS, _CONTEXT, _CHUNK = 32, 2048, 512
_CACHE_SHARE = 0.5  # of the memory that is free once the weights are in
_ROUND = 256  # llama.cpp rounds the context of a sequence up to this
# Weights whose products were measured to have the same bits for any number of rows from two up. K-quants do not: eight
# rows and more take another path than fewer.
_SAME_FOR_ANY_ROWS = frozenset({"F32", "F16", "Q4_0", "Q4_1", "Q8_0"})


@dataclass(frozen=True, slots=True)
class LlamaCppSettings:
    """0, and -1 for `gpu_layers`, choose from the machine. `context` is tokens per slot, `batch` per prefill chunk."""

    slots: int = 0
    context: int = 0
    threads: int = 0
    gpu_layers: int = -1
    batch: int = 0


def resolve(asked: LlamaCppSettings, facts: GgufFacts, *, gpu: bool) -> LlamaCppSettings:
    """Settings with nothing left open. ModelError when not even one slot fits into memory."""
    trained = facts.context or _CONTEXT
    context = min(asked.context or _CONTEXT, trained)
    context = -(-context // _ROUND) * _ROUND
    gpu_layers = asked.gpu_layers if asked.gpu_layers >= 0 else (999 if gpu else 0)
    slots = asked.slots or _fitting_slots(facts, context, on_gpu=gpu_layers > 0)
    return LlamaCppSettings(
        slots=slots,
        context=context,
        threads=asked.threads or physical_cores(),
        gpu_layers=gpu_layers if gpu else 0,
        batch=asked.batch or _CHUNK,
    )


def replays_exactly(chosen: LlamaCppSettings, facts: GgufFacts) -> bool:
    """Whether a row comes out byte for byte the same alone and among any neighbours."""
    return chosen.gpu_layers == 0 and set(facts.tensor_types) <= _SAME_FOR_ANY_ROWS


def _fitting_slots(facts: GgufFacts, context: int, *, on_gpu: bool) -> int:
    free = free_memory()
    if free is None or on_gpu or not facts.cell_bytes:
        return _SLOTS
    slot = facts.cell_bytes * context
    fitting = int((free - facts.size) * _CACHE_SHARE) // slot
    if fitting < 1:
        raise ModelError(
            f"{facts.path.name} needs {(facts.size + slot) / 1e9:.1f} GB for its weights and one slot, "
            f"and {free / 1e9:.1f} GB are free",
            "choose a smaller model: `localsynth models list`, or set less context",
        )
    return min(_SLOTS, fitting)


def physical_cores() -> int:
    """Cores this process may use: its affinity and its cgroup's quota, each core counted once."""
    if not hasattr(os, "sched_getaffinity"):
        return max(1, (os.cpu_count() or 2) // (1 if os.uname().machine == "arm64" else 2))
    allowed = os.sched_getaffinity(0)
    cores = {_siblings(cpu) for cpu in allowed}
    quota = _cgroup_cpus()
    return max(1, min(len(cores), int(quota) if quota else len(cores)))


def _siblings(cpu: int) -> str:
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list").read_text(encoding="ascii").strip()
    except OSError:
        return str(cpu)


def _cgroup_cpus() -> float | None:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def free_memory() -> int | None:
    """Bytes that can be had without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return _total_memory()
    kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    free = kilobytes * 1024 if kilobytes is not None else None
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return free
    return min(free, limit - used) if free is not None else limit - used


def _total_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):
        return None
