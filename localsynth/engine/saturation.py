"""What to do when a prompt is used up: a model that is asked the same way again and again repeats itself."""

from __future__ import annotations

from localsynth.config import Plan
from localsynth.engine.stats import SATURATED

_FILLING = 0.25
_HOT = 1.2  # above it the questions of most models fall apart


def saturation(share: float | None, plan: Plan) -> str:
    """A sentence on this share of duplicates among the last questions, with what would help; "" where all is well."""
    if share is None or share < _FILLING:
        return ""
    said = f"{100 * share:.0f} % of the last questions were duplicates"
    if plan.method == "imported":
        return f"{said}: the file repeats itself, or this store has its questions already"
    ways = ["other topics" if plan.systems else "topics"]
    if max(entry.temperature for entry in plan.ask.sampling) < _HOT:
        ways.append("a higher temperature")
    ways.append("another model")
    helps = f"with {', '.join(ways[:-1])} or {ways[-1]}"
    if share >= SATURATED:
        return f"{said}: this prompt is used up, and a new run {helps} finds more"
    return f"{said}: before long a new run {helps} will find more"
