"""The application: its screens over one store. What it starts outlives it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen

from localsynth.errors import LocalsynthError
from localsynth.tui.asking import AskingScreen
from localsynth.tui.places import PLACES
from localsynth.tui.screens.help import Help
from localsynth.tui.store_app import StoreApp
from localsynth.tui.watching import Watcher


def _screen(name: str) -> Callable[[], Screen[Any]]:
    """Makes a screen from "module:Class" in `tui.screens`: what is not shown is not imported."""

    def make() -> Screen[Any]:
        module, _, kind = name.partition(":")
        made: Screen[Any] = getattr(importlib.import_module(f"localsynth.tui.screens.{module}"), kind)()
        return made

    return make


class LocalsynthApp(StoreApp):
    """Which screens there are, and the keys that reach them."""

    TITLE = "localsynth"
    CSS_PATH = "app.tcss"
    DEFAULT_MODE = "runs"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "runs": _screen("runs:RunsScreen"),
        "monitor": _screen("monitor:MonitorScreen"),
        "review": _screen("review:ReviewScreen"),
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(
                place.key,
                f"switch_mode('{place.mode}')",
                place.label,
                show=False,
                id=f"app.{place.mode}",
                tooltip=f"Go to {place.label}",
            )
            for place in PLACES
        ),
        Binding("question_mark,f1", "help", "Help", id="app.help", key_display="?", tooltip="Show the keys"),
        Binding("tab", "app.focus_next", "Other pane", show=False, id="app.focus", tooltip="Go to the other pane"),
        Binding("q", "quit", "Quit", id="app.quit", tooltip="Leave; a run goes on without this screen"),
    ]

    def action_help(self) -> None:
        screen = self.screen
        note = screen.HELP or ""
        self.push_screen(Help(screen.title or "", note, screen.active_bindings.values()))

    async def action_quit(self) -> None:
        base = self.screen_stack[0]
        assert isinstance(base, AskingScreen)
        base.ask("quit", partial(_at_work, self.store, self.launcher.starting()), self._leave)

    def _leave(self, at_work: list[int]) -> None:
        for number in at_work:
            self.farewell.append(
                f"run {number} goes on: `localsynth status --watch` shows it, `localsynth stop` ends it"
            )
        self.exit()


def run_app(store: Path) -> tuple[int, list[str]]:
    """Show the UI until it is left; its exit code and what is to be said on the terminal afterwards."""
    app = LocalsynthApp(store)
    app.run()
    return app.return_code or 0, app.farewell


def _at_work(store: Path, starting: Mapping[str, str]) -> list[int]:
    try:
        return [view.row.number for view in Watcher(store).runs(starting) if view.live]
    except LocalsynthError:
        return []  # a store that cannot be read must not keep anyone here
