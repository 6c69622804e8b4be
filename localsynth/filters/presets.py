"""Ready sets of thresholds, each with where its figures come from."""

from __future__ import annotations

import difflib
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from localsynth.config.thresholds import Threshold
from localsynth.errors import NotFound


@dataclass(frozen=True, slots=True)
class Preset:
    """Thresholds by score; `source` says where the figures come from."""

    id: str
    title: str
    source: str
    thresholds: Mapping[str, Threshold]


@functools.cache
def presets() -> tuple[Preset, ...]:
    """All of them, in the order of the file."""
    text = resources.files("localsynth.filters").joinpath("presets.toml").read_text(encoding="utf-8")
    return tuple(
        Preset(
            each["id"],
            each["title"],
            each["source"],
            {name: Threshold(bounds.get("low"), bounds.get("high")) for name, bounds in each["thresholds"].items()},
        )
        for each in tomllib.loads(text)["preset"]
    )


def find_preset(name: str) -> Preset:
    """The preset with this id; NotFound offers near ones."""
    known = {preset.id: preset for preset in presets()}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"presets: {', '.join(known)}"
    raise NotFound(f"there is no preset {name!r}", hint)
