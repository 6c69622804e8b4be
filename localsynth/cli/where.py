"""`localsynth where`: where things live."""

from __future__ import annotations

from pathlib import Path

import click

from localsynth.cli.options import json_option, store_option


@click.command(short_help="Show where stores, settings, models and logs live.")
@store_option
@json_option
def where(store: Path, *, as_json: bool) -> int:
    """Show where the store, its logs, the settings, pulled models, caches and model cards are."""
    from localsynth import paths
    from localsynth.cli.narration import data, data_json

    places = {
        "store": store,
        "logs": paths.runs_dir(store),
        "config": paths.config_file(),
        "models": paths.models_dir(),
        "cache": paths.cache_dir(),
        "catalogue": paths.catalogue_dir(),
    }
    if as_json:
        data_json({name: str(path) for name, path in places.items()})
        return 0
    for name, path in places.items():
        data(f"{name:<10} {path}{'' if path.exists() else '  (not there yet)'}")
    return 0
