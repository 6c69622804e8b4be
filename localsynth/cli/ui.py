"""`localsynth ui`: the terminal UI."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from localsynth import paths
from localsynth.cli.narration import data, data_json, say
from localsynth.cli.options import json_option, store_option


@click.command("ui")
@store_option
@click.option("--demo", is_flag=True, help="Show a recorded run instead, in a store that is gone afterwards.")
@click.option("--keys", is_flag=True, help="List every key with the id that config.toml calls it by, and leave.")
@json_option
def ui(store: Path | None, *, demo: bool = False, keys: bool = False, as_json: bool = False) -> int:
    """Open the terminal UI: make, watch, review, filter, export. `localsynth` alone on a terminal does the same."""
    if keys:
        return _keys(as_json=as_json)
    if as_json:
        raise click.UsageError("--json goes with --keys; a script reads `localsynth status --json`")
    # `serve` gives it a browser instead, and says so in this variable of Textual's.
    if not (sys.stdin.isatty() and sys.stdout.isatty()) and "TEXTUAL_DRIVER" not in os.environ:
        raise click.UsageError("the UI needs a terminal; a script reads `localsynth status --json`")
    if demo:
        from localsynth.tui.demo import run_demo

        code = run_demo()
        say("The demo is over and its store is gone. Your own pairs: localsynth, or localsynth generate -n 20")
        return code
    from localsynth.tui.app import run_app

    # Invoked for `localsynth` alone, click calls no callback of an option: the default is then still to be found.
    code, farewell = run_app(store or paths.default_store())
    for line in farewell:
        say(line)
    return code


def _keys(*, as_json: bool) -> int:
    """Every id with its keys as they are now; what is wrong in config.toml goes to stderr."""
    from localsynth.tui import keymap, settings

    wished = settings.read(paths.config_file())
    own, faults = keymap.usable(wished.keys)
    rows = [(each, own[each.id].split(",") if each.id in own else list(each.keys)) for each in keymap.bound()]
    if as_json:
        data_json([{"id": each.id, "keys": keys, "default": list(each.keys), "what": each.what} for each, keys in rows])
    else:
        for each, keys in rows:
            changed = f"  (default: {' '.join(each.keys)})" if each.id in own else ""
            data(f"{each.id:<24} {' '.join(keys):<24} {each.what}{changed}")
    for fault in [*wished.faults, *faults]:
        say(f"{paths.config_file()}: {fault}")
    return 0
