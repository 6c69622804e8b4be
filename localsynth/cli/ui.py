"""`localsynth ui`: the terminal UI."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from localsynth.cli.options import store_option


@click.command("ui")
@store_option
def ui(store: Path) -> None:
    """Open the terminal UI: runs, monitor, review."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("the UI needs a terminal; in a script use `localsynth status --json` and its like")
    from localsynth.tui.app import run_app

    for line in run_app(store):
        click.echo(line, err=True)
