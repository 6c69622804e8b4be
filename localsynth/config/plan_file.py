"""Thresholds into a plan.toml that a person keeps: comments, order and all other tables stay as they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localsynth.config import plan_from
from localsynth.config.thresholds import Threshold
from localsynth.errors import PlanError

if TYPE_CHECKING:
    from tomlkit import TOMLDocument


def save_thresholds(path: Path, thresholds: Mapping[str, Threshold]) -> None:
    """Make these the thresholds of the plan; an open one is taken out, others that are there stay.

    A file that is not there is made. It is replaced whole or not at all. PlanError: not a plan, or cannot be written.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else _new()
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise PlanError(f"{path} is not a readable TOML file: {error}", "mend it, or name another file") from None
    plan_from(document.unwrap())
    table: Any = document.setdefault("thresholds", tomlkit.table())
    for name, bounds in thresholds.items():
        _take_out(table, name, but=not bounds.open)
        if not bounds.open:
            inline = tomlkit.inline_table()
            inline.update({key: _number(getattr(bounds, key)) for key in ("low", "high")
                           if getattr(bounds, key) is not None})  # fmt: skip
            table[name] = inline
    if not table:
        document.remove("thresholds")
    plan_from(document.unwrap())
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(tomlkit.dumps(document), encoding="utf-8", newline="\n")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise PlanError(f"cannot write {path}: {reason}", "name another file, in a folder that is there") from None


def _new() -> TOMLDocument:
    import tomlkit

    document = tomlkit.document()
    document.add(tomlkit.comment("localsynth generate --plan THIS_FILE"))
    return document


def _take_out(table: Any, name: str, *, but: bool = False) -> None:
    """Remove `"a.b" = {...}`, and the same written as `a.b = {...}` or under `[thresholds.a]`.

    `but`: not the first, which is written over in its place, so that its comment stays.
    """
    if not isinstance(table, dict):
        return
    if not but:
        table.pop(name, None)
    first, _, rest = name.partition(".")
    if rest and first in table:
        _take_out(table[first], rest)
        if not table[first]:
            del table[first]


def _number(value: float) -> float | int:
    """Whole numbers as such: a person reads `low = 3`."""
    return int(value) if value == int(value) and abs(value) < 1e15 else value
