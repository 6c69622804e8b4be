"""The user's config.toml as far as the UI reads it: the keys, the theme. What is wrong in it is told, never fatal."""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localsynth.errors import DataError

_TABLES = {"keys", "ui"}


@dataclass(frozen=True, slots=True)
class Settings:
    """`keys`: keys by binding id, as typed. `faults`: what cannot be used, with the reason, a line each."""

    keys: Mapping[str, str] = field(default_factory=dict)
    theme: str | None = None
    faults: tuple[str, ...] = ()


def read(path: Path) -> Settings:
    """The settings in `path`; the defaults where the file is absent, and where it cannot be read."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Settings(faults=(f"not read, the defaults are used: {reason}",))
    faults = [f"[{name}] is no part of it: [keys] and [ui] are" for name in data if name not in _TABLES]
    keys, ui = (_table(data, name, faults) for name in ("keys", "ui"))
    faults += [f"[ui] {name} is unknown: theme is all there is" for name in ui if name != "theme"]
    theme = ui.get("theme")
    if theme is not None and not isinstance(theme, str):
        faults.append("[ui] theme must be a name in quotes")
        theme = None
    return Settings(_keys(keys, faults), theme, tuple(faults))


def keep_theme(path: Path, theme: str) -> None:
    """Write the theme into the file, which is made where it is absent; every comment in it stays.

    DataError where it cannot be read or written.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError
    from tomlkit.items import Table

    hint = "mend the file, or choose the theme again each time"
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.exists() else tomlkit.document()
        if not isinstance(document.get("ui"), Table):
            document["ui"] = tomlkit.table()
        document["ui"]["theme"] = theme
        _replace(path, tomlkit.dumps(document))
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise DataError(f"the theme is not kept in {path}: {error}", hint) from None


def _replace(path: Path, text: str) -> None:
    """Whole or not at all: a full disk must not eat the keys. A link stays a link."""
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".config-", suffix=".toml")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        if target.exists():
            Path(name).chmod(target.stat().st_mode & 0o777)
        Path(name).replace(target)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _table(data: Mapping[str, Any], name: str, faults: list[str]) -> Mapping[str, Any]:
    found = data.get(name, {})
    if isinstance(found, dict):
        return found
    faults.append(f"{name} must be a table: [{name}]")
    return {}


def _keys(table: Mapping[str, Any], faults: list[str]) -> dict[str, str]:
    keys: dict[str, str] = {}
    for name, value in _flat(table):
        if isinstance(value, str) and value.replace(",", "").strip():
            keys[name] = value
        else:
            faults.append(f'[keys] {name} needs its keys in quotes, such as "j,down"')
    return keys


def _flat(table: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    """TOML reads review.accept = "a" as a table in a table: ids have dots."""
    found: list[tuple[str, Any]] = []
    for name, value in table.items():
        whole = f"{before}{name}"
        found += _flat(value, f"{whole}.") if isinstance(value, dict) else [(whole, value)]
    return found
