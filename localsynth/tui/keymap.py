"""Every key of the UI by the id of its binding, and which of the user's own keys can take its place."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import Keys, key_to_character
from textual.screen import ModalScreen, Screen
from textual.widget import Widget

_OURS = "localsynth.tui"
_MODIFIERS = frozenset({"ctrl", "shift", "alt", "meta", "super", "hyper"})
_NAMES = frozenset(key.value for key in Keys)

Kind = type[DOMNode]


@dataclass(frozen=True, slots=True)
class Bound:
    """A binding by its id. `keys` are its own. `typing`: it works in a field too, so it can be no character."""

    id: str
    keys: tuple[str, ...]
    what: str
    kind: Kind
    typing: bool


def bound() -> list[Bound]:
    """All bindings of all screens and widgets, by id. Imports them all."""
    found: dict[str, Bound] = {}
    for kind in _kinds():
        for binding in kind.__dict__.get("BINDINGS", ()):
            if isinstance(binding, Binding) and binding.id:
                keys = tuple(_clean(binding.key))
                what = binding.tooltip or binding.description
                found[binding.id] = Bound(binding.id, keys, what, kind, binding.priority)
    return sorted(found.values(), key=lambda each: each.id)


def usable(wished: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """What can be had of the user's keys by id, and a line on each that cannot: the default stays there."""
    known = {each.id: each for each in bound()}
    taken: dict[str, tuple[str, ...]] = {}
    faults: list[str] = []
    for name, keys in wished.items():
        fault = _fault(name, keys, known)
        if fault is None:
            taken[name] = tuple(_clean(keys))
        else:
            faults.append(f'[keys] {name} = "{keys}": {fault}')
    views = list(_views())
    while clash := _clash(known, taken, views):
        name, key, other = clash
        keys, own = ",".join(taken.pop(name)), " ".join(known[name].keys)
        faults.append(f'[keys] {name} = "{keys}": {key} is {other} already, so {own} stays')
    return {name: ",".join(keys) for name, keys in taken.items()}, faults


def _clean(keys: str) -> list[str]:
    return [key.strip() for key in keys.split(",") if key.strip()]


def _fault(name: str, keys: str, known: Mapping[str, Bound]) -> str | None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        return f"there is no such id; {meant}`localsynth ui --keys` lists them"
    for key in _clean(keys):
        if not _exists(key):
            return f"there is no key {key!r}; keys are such as j, G, ctrl+d, f5, escape, slash"
        if known[name].typing and _character(key):
            return f"{key} is a character, and this works while one types; take one such as ctrl+o or f5"
    return None


def _exists(key: str) -> bool:
    *modifiers, name = key.split("+") if len(key) > 1 else [key]
    return set(modifiers) <= _MODIFIERS and (len(name) == 1 or name in _NAMES or key_to_character(name) is not None)


def _character(key: str) -> bool:
    return len(key) == 1 or key == "space" or key_to_character(key) is not None


def _long(keys: tuple[str, ...]) -> set[str]:
    """One name for each key: "?" and "question_mark" are the same."""
    return {key_to_character(key) or key for key in keys}


def _clash(
    known: Mapping[str, Bound], taken: Mapping[str, tuple[str, ...]], views: list[frozenset[Kind]]
) -> tuple[str, str, str] | None:
    """The first wish whose key means something else where both are at work, unless that is so by default."""
    for name, keys in taken.items():
        here = known[name]
        for other in known.values():
            if other.id == name:
                continue
            same = _long(keys) & _long(taken.get(other.id, other.keys))
            same -= _long(here.keys) & _long(other.keys)
            if same and any(here.kind in view and other.kind in view for view in views):
                return name, min(same), other.id
    return None


def _views() -> Iterator[frozenset[Kind]]:
    """Classes whose keys are at work together: a screen, one widget of it, the application unless that is covered."""
    kinds = list(_kinds())
    apps = frozenset(kind for kind in kinds if issubclass(kind, App))
    for screen in kinds:
        if _is_screen(screen):
            base = frozenset(screen.__mro__) | (frozenset() if issubclass(screen, ModalScreen) else apps)
            yield base
            for widget in _widgets(screen):
                yield base | frozenset(widget.__mro__)


def _widgets(screen: Kind) -> set[Kind]:
    """The widgets of ours that a screen's modules name, and those that the widgets' own modules name."""
    found: set[Kind] = set()
    waiting = [kind for kind in screen.__mro__ if kind.__module__.startswith(_OURS)]
    while waiting:
        for named in vars(sys.modules[waiting.pop().__module__]).values():
            ours = isinstance(named, type) and issubclass(named, Widget) and named.__module__.startswith(_OURS)
            if ours and not issubclass(named, Screen) and named not in found:
                found.add(named)
                waiting.append(named)
    return found


def _is_screen(kind: Kind) -> TypeGuard[type[Screen[object]]]:
    return issubclass(kind, Screen)


def _kinds() -> Iterator[Kind]:
    """Our own classes with keys, after importing them all."""
    package = importlib.import_module(_OURS)
    for module in pkgutil.walk_packages(package.__path__, f"{_OURS}."):
        importlib.import_module(module.name)
    waiting: list[Kind] = [DOMNode]
    seen: set[Kind] = set()
    while waiting:
        for kind in waiting.pop().__subclasses__():
            if kind not in seen:
                seen.add(kind)
                waiting.append(kind)
    yield from sorted((kind for kind in seen if kind.__module__.startswith(_OURS)), key=lambda kind: kind.__qualname__)
