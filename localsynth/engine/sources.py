"""The prompt method that a plan names."""

from __future__ import annotations

from pathlib import Path

from localsynth.config import Plan
from localsynth.errors import DataError
from localsynth.importing.reader import instructions, locate
from localsynth.methods.base import PromptMethod
from localsynth.methods.imported import Imported
from localsynth.methods.magpie import Magpie


def prompt_method(plan: Plan) -> PromptMethod:
    """Build it. DataError when the file of imported instructions is gone, changed or cannot be read."""
    if plan.method != "imported":
        return Magpie()
    located = locate(Path(plan.instructions))
    if plan.instructions_sha256 and located.digest() != plan.instructions_sha256:
        raise DataError(
            f"{plan.instructions} has changed since this run began",
            "bring the file back, or start a new run: localsynth generate --instructions FILE",
        )
    return Imported(list(instructions(located)))
