"""Options that many commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from localsynth import paths


def _absolute(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> Path:
    del ctx, parameter
    return value.expanduser().absolute() if value else paths.default_store()


def store_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--store FILE, as an absolute path."""
    return click.option(
        "--store",
        type=click.Path(path_type=Path),
        callback=_absolute,
        help="The SQLite file.  [env: LOCALSYNTH_STORE; default: localsynth.db]",
    )(command)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--json, passed as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")(command)
