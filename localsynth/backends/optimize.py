"""Copies of a model file in a quantisation that llama.cpp repacks for this CPU, which then writes faster."""

from __future__ import annotations

import os
import platform
import tempfile
from pathlib import Path

from localsynth.backends.gguf import GgufFacts, read_facts
from localsynth.errors import ModelError

# llama.cpp rearranges Q4_0 weights while loading, so that eight rows are multiplied at once with AVX2, AVX-512 or NEON;
# these have about the size and the quality of Q4_0 and stay as they are.
_SLOW = frozenset({"Q4_1", "Q5_0", "Q5_1"})
_TARGET, _FILE_TYPE = "Q4_0", 2


def repack_target(facts: GgufFacts) -> str | None:
    """The quantisation to make of this file for this CPU; None when it is as fast as it can be."""
    return _TARGET if facts.quantisation in _SLOW and _repacks() else None


def optimize(path: Path, out_dir: Path) -> Path:
    """Requantise a file into `out_dir`, whole or not at all; returns the copy, which is made anew when it is stale.

    ModelError when there is nothing to gain or it cannot be done.
    """
    from localsynth.backends.llamacpp.library import quantise
    from localsynth.backends.llamacpp.settings import physical_cores

    facts = read_facts(path)
    target = repack_target(facts)
    if target is None:
        raise ModelError(f"{path.name} is {facts.quantisation}: this CPU gains nothing from a copy", "use it as it is")
    stem = path.stem.removesuffix(facts.quantisation).rstrip(".-_")
    copy = out_dir / f"{stem}.{target}.gguf"
    if copy.exists() and copy.stat().st_mtime_ns >= path.stat().st_mtime_ns:
        return copy
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(suffix=".part", prefix=copy.name, dir=out_dir)
    except OSError as error:
        raise ModelError(f"{out_dir} cannot be written: {error.strerror}", "make room or set LOCALSYNTH_HOME") from None
    os.close(handle)
    part = Path(name)
    try:
        quantise(path, part, _FILE_TYPE, physical_cores())
        # A full disk does not always reach llama.cpp's return value.
        read_facts(part)
        part.replace(copy)
    finally:
        part.unlink(missing_ok=True)
    return copy


def _repacks() -> bool:
    machine = platform.machine().lower()
    if machine in ("arm64", "aarch64"):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        # No 64-bit Intel Mac or Windows machine of the last ten years lacks AVX2.
        return machine in ("x86_64", "amd64")
    return " avx2 " in flags
