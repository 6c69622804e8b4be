"""The package vllm: loaded when an engine is started, old ones refused, and nothing told about its use."""

from __future__ import annotations

import os
import re
from importlib import metadata
from importlib.util import find_spec

from localsynth.errors import MissingPackage

FLOOR = (0, 32)  # the oldest on which the tests ran
_INSTALL = "pip install 'localsynth[vllm]'"


def check() -> str:
    """The version of vLLM, without importing it. MissingPackage when there is none, or one that is too old."""
    if find_spec("vllm") is None:
        raise MissingPackage("vllm is not installed", f"{_INSTALL}, on Linux with a GPU that vLLM supports")
    try:
        version = metadata.version("vllm")
    except metadata.PackageNotFoundError:
        raise MissingPackage(
            "vllm is there, but its package says no version", f"install it with pip: {_INSTALL}"
        ) from None
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None or (int(found[1]), int(found[2])) < FLOOR:
        floor = ".".join(map(str, FLOOR))
        raise MissingPackage(
            f"vllm {version} is too old: {floor} or newer is needed", f"pip install -U 'vllm>={floor}'"
        )
    return version


def prepare(logging_config: str) -> None:
    """Set what vLLM and the processes that it starts read from the environment: before it is imported, and again for
    every engine, since each has a log of its own."""
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    os.environ["VLLM_DO_NOT_TRACK"] = "1"
    # A forked engine would keep this process's pipes open, and a fork of a process with threads may hang.
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    os.environ["VLLM_LOGGING_CONFIG_PATH"] = logging_config


def on_cpu() -> bool:
    """Whether vLLM computes on the CPU. Imports vLLM."""
    try:
        from vllm.platforms import current_platform
    except Exception as error:
        # Whatever its compiled parts raise when they were built for another torch or another driver.
        raise MissingPackage(
            f"vllm cannot be loaded: {error}", "pip install --force-reinstall --no-cache-dir 'localsynth[vllm]'"
        ) from None
    return bool(current_platform.is_cpu())
