"""A plan as TOML, to be kept in a file and edited."""

from __future__ import annotations

from typing import Any

import tomlkit

from localsynth.config import Plan, plan_data


def plan_toml(plan: Plan) -> str:
    """The whole plan; `generate --plan` reads it back."""
    document = tomlkit.document()
    document.add(tomlkit.comment("localsynth generate --plan THIS_FILE"))
    for key, value in plan_data(plan).items():
        document.add(key, _plain(value))
    return tomlkit.dumps(document)


def _plain(value: Any) -> Any:
    """Tuples as lists, and nothing for None: TOML knows neither."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
