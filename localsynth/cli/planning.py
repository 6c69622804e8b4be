"""The options of `generate` that make a plan, for the commands that try a plan out without running it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

_NOT_OF_THE_PLAN = frozenset(
    {"plan_file", "name", "force", "detach", "list_topics", "print_plan", "store", "as_json"}
    | {"max_minutes", "max_tokens", "max_attempts", "similarity"}
)


def plan_parameters(*names: str) -> list[click.Parameter]:
    """Those options as they are; only the ones in `names` where any are given."""
    from localsynth.cli.generate import generate

    own = [parameter for parameter in generate.params if parameter.name not in _NOT_OF_THE_PLAN]
    return [parameter for parameter in own if not names or parameter.name in names]


def seconds_option(default: int) -> Callable[..., Any]:
    """--seconds, how long to measure."""
    return click.option(
        "--seconds", type=click.FloatRange(1, 3600), default=default, show_default=True, help="How long to measure."
    )
