"""The command palette: everything that can be done now, found by a few letters of its name or of its help."""

from __future__ import annotations

from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.types import IgnoreReturnCallbackType

from localsynth.tui.actions import Action, actions

_HELP_WEIGHT = 0.8  # a match in the help counts less than one in the name
_HIDDEN = frozenset({"app.palette"})  # it is open


class ActionProvider(Provider):
    """The actions of the focused widget, of the screen and of the application, and the choice of a theme."""

    async def discover(self) -> Hits:
        for name, what, command in self._commands():
            yield DiscoveryHit(name, command, text=name, help=what)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for name, what, command in self._commands():
            by_name = matcher.match(name)
            score = max(by_name, _HELP_WEIGHT * matcher.match(what))
            if score > 0:
                yield Hit(score, matcher.highlight(name) if by_name else name, command, text=name, help=what)

    def _commands(self) -> list[tuple[str, str, IgnoreReturnCallbackType]]:
        found: list[tuple[str, str, IgnoreReturnCallbackType]] = [
            (_named(each), each.what, partial(self.app.run_action, each.action, each.node))
            for each in sorted(actions(self.screen), key=lambda each: not each.shown)
            if each.usable and each.id not in _HIDDEN
        ]
        found.append(("Theme", "Choose the colours; the choice is kept", self.app.action_change_theme))
        return found


def _named(action: Action) -> str:
    return f"{action.name} ({' '.join(action.keys)})" if action.keys else action.name
