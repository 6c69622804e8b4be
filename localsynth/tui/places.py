"""The screens by name, in the order of their keys."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A screen that a key leads to. `mode` is its name inside the application."""

    key: str
    mode: str
    label: str


PLACES = (
    Place("1", "runs", "Runs"),
    Place("2", "new", "New run"),
    Place("3", "monitor", "Monitor"),
    Place("4", "review", "Review"),
    Place("5", "filters", "Filters"),
    Place("6", "map", "Map"),
    Place("7", "models", "Models"),
    Place("8", "export", "Export"),
)
