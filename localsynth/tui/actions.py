"""What can be done now, read from the active bindings: help and palette are made from it, so nothing is told twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from textual.actions import parse
from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import Screen

Part = Literal["focus", "screen", "app"]


@dataclass(frozen=True, slots=True)
class Action:
    """One action of `node`. `keys`: as they are shown, without those that a nearer part has taken.

    `shown`: it is important enough for the footer. `usable`: it does something now.
    """

    id: str
    name: str
    what: str
    keys: tuple[str, ...]
    action: str
    node: DOMNode
    part: Part
    shown: bool
    usable: bool


def actions(screen: Screen[object]) -> list[Action]:
    """The actions of the focused widget and what it lies in, then of the screen, then of the application.

    What a modal screen covers is left out. A field that takes letters hides no action, only the key.
    """
    found: list[Action] = []
    taken: set[str] = set()
    for node in _chain(screen):
        bindings = _bindings(screen.app, node)
        for same in bindings.values():
            free = [binding for binding in same if binding.key not in taken]
            found.append(_action(screen.app, node, same[0], free))
        taken.update(binding.key for same in bindings.values() for binding in same)
    return found


def _chain(screen: Screen[object]) -> Iterator[DOMNode]:
    nodes = [screen, screen.app] if screen.focused is None else screen.focused.ancestors_with_self
    for node in nodes:
        yield node
        if node.is_modal:
            return


def _bindings(app: App[object], node: DOMNode) -> dict[str, list[Binding]]:
    """The bindings of one node by id, with the keys that the user gave them. The toolkit's own have no id."""
    keymap = node._bindings.copy()  # noqa: SLF001 - `active_bindings` lacks those whose key a field would take
    keymap.apply_keymap(app._keymap)  # noqa: SLF001 - it has no public reader
    found: dict[str, list[Binding]] = {}
    for _, binding in keymap:
        if binding.id and (binding.tooltip or binding.description):
            same = found.setdefault(binding.id, [])
            if all(binding.key != other.key for other in same):
                same.append(binding)
    return found


def _action(app: App[object], node: DOMNode, binding: Binding, free: list[Binding]) -> Action:
    part: Part = "screen" if isinstance(node, Screen) else "app" if isinstance(node, App) else "focus"
    _, name, parameters = parse(binding.action)
    keys = tuple(dict.fromkeys(app.get_key_display(each) for each in free))
    what = binding.tooltip or binding.description
    usable = node.check_action(name, parameters) is True
    assert binding.id is not None
    return Action(binding.id, binding.description or what, what, keys, binding.action, node, part, binding.show, usable)
