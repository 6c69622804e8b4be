"""Options that many commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from localsynth import paths
from localsynth.config import BackendKind


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


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How a model is run: --backend, --server (passed as `servers`) and --tokenizer."""
    for option in (
        click.option(
            "--tokenizer",
            help="Where a served model's chat template and tokenizer are: a folder, a GGUF file or a catalogue name.",
        ),
        click.option(
            "--server",
            "servers",
            multiple=True,
            metavar="URL",
            help="Generate on this server, such as http://127.0.0.1:8000/v1; repeated, several share the work.",
        ),
        click.option(
            "--backend",
            type=click.Choice(get_args(BackendKind)),
            help="What runs the model; `scripted` needs none.  [default: auto, or openai with --server]",
        ),
    ):
        command = option(command)
    return command
