"""Where things live: models, caches and settings of this user, a store and what lies beside it.

LOCALSYNTH_HOME moves everything that belongs to the user into one folder; LOCALSYNTH_STORE names the default store.
Nothing here makes a folder: whoever writes into one does.
"""

from __future__ import annotations

import os
from pathlib import Path

_APP = "localsynth"


def home() -> Path:
    """The user's folder: LOCALSYNTH_HOME, else what the platform has for application data."""
    own = os.environ.get("LOCALSYNTH_HOME")
    if own:
        return Path(own).expanduser().absolute()
    from platformdirs import user_data_dir

    return Path(user_data_dir(_APP, appauthor=False))


def config_file() -> Path:
    """The user's settings of the terminal UI: keys and theme. It need not exist."""
    return home() / "config.toml"


def models_dir() -> Path:
    """Models that were pulled: <owner>--<name>/ holds what came from one repository."""
    return home() / "models"


def optimised_dir() -> Path:
    """Copies of model files, repacked for this CPU."""
    return models_dir() / "optimised"


def converted_dir() -> Path:
    """Folders of MLX that were made from GGUF files."""
    return models_dir() / "mlx"


def cache_dir() -> Path:
    """What may be deleted at any time and is made again."""
    if os.environ.get("LOCALSYNTH_HOME"):
        return home() / "cache"
    from platformdirs import user_cache_dir

    return Path(user_cache_dir(_APP, appauthor=False))


def default_store() -> Path:
    """LOCALSYNTH_STORE, else localsynth.db in the current folder; always absolute."""
    return Path(os.environ.get("LOCALSYNTH_STORE") or "localsynth.db").expanduser().absolute()


def runs_dir(store: Path) -> Path:
    """The folder beside a store where each of its runs keeps what is no row: its log, its lock."""
    return store.with_name(store.name + ".runs")


def run_log(store: Path, run: str) -> Path:
    """The log of one run's process."""
    return runs_dir(store) / f"{run}.log"


def catalogue_dir() -> Path:
    """The model cards: inside the installed package, beside it in a source checkout."""
    package = Path(__file__).resolve().parent
    packaged = package / "models"
    return packaged if packaged.is_dir() else package.parent / "models"
