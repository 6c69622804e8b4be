"""The prompt method that a plan names."""

from __future__ import annotations

from pathlib import Path

from localsynth.config import Plan
from localsynth.methods.base import PromptMethod
from localsynth.methods.imported import Imported
from localsynth.methods.magpie import Magpie


def prompt_method(plan: Plan) -> PromptMethod:
    """Build it. DataError when the file of imported instructions cannot be read."""
    if plan.method == "imported":
        return Imported(read_instructions(Path(plan.instructions)))
    return Magpie()


def read_instructions(path: Path) -> list[str]:
    """One instruction a line: plain text, or JSON with "instruction" or "prompt"."""
    raise NotImplementedError
