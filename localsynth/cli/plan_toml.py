"""A plan as TOML, to be kept in a file and edited."""

from __future__ import annotations

import tomlkit

from localsynth.config import Plan, plan_data


def plan_toml(plan: Plan) -> str:
    """The whole plan; `generate --plan` reads it back."""
    document = tomlkit.document()
    document.add(tomlkit.comment("localsynth generate --plan THIS_FILE"))
    for key, value in _plain(plan_data(plan)).items():
        document.add(key, value)
    return tomlkit.dumps(document)


def _plain(value: object) -> object:
    """Tuples as lists: TOML knows only those."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
