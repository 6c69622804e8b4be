"""`localsynth ui`: the terminal UI."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from localsynth import paths
from localsynth.cli.narration import say
from localsynth.cli.options import store_option


@click.command("ui")
@store_option
def ui(store: Path | None) -> int:
    """Open the terminal UI: runs, monitor, review. `localsynth` alone on a terminal does the same."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("the UI needs a terminal; a script reads `localsynth status --json`")
    from localsynth.tui.app import run_app

    # Invoked for `localsynth` alone, click calls no callback of an option: the default is then still to be found.
    code, farewell = run_app(store or paths.default_store())
    for line in farewell:
        say(line)
    return code
