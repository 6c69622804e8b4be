"""The application: its screens over one store. What it starts outlives it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.screen import Screen
from textual.theme import Theme

from localsynth import paths
from localsynth.errors import LocalsynthError
from localsynth.printable import printable
from localsynth.tui import settings
from localsynth.tui.asking import AskingScreen
from localsynth.tui.focused import focused_text
from localsynth.tui.hangup import end_with_terminal
from localsynth.tui.palette import ActionProvider
from localsynth.tui.places import PLACES
from localsynth.tui.screens.help import Help
from localsynth.tui.screens.too_small import TooSmall, fits
from localsynth.tui.store_app import StoreApp
from localsynth.tui.watching import Watcher

_PATIENCE = 15.0  # seconds that leaving waits for what is being written; longer than a store stays locked


def _screen(name: str) -> Callable[[], Screen[Any]]:
    """Makes a screen from "module:Class" in `tui.screens`: what is not shown is not imported."""

    def make() -> Screen[Any]:
        module, _, kind = name.partition(":")
        made: Screen[Any] = getattr(importlib.import_module(f"localsynth.tui.screens.{module}"), kind)()
        return made

    return make


class LocalsynthApp(StoreApp):
    """Which screens there are, the keys that reach them, and what is the same on all of them."""

    TITLE = "localsynth"
    CSS_PATH = "app.tcss"
    DEFAULT_MODE = "runs"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {ActionProvider}
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "runs": _screen("runs:RunsScreen"),
        "new": _screen("new_run:NewRunScreen"),
        "monitor": _screen("monitor:MonitorScreen"),
        "review": _screen("review:ReviewScreen"),
        "filters": _screen("filters:FiltersScreen"),
        "map": _screen("map:MapScreen"),
        "models": _screen("models:ModelsScreen"),
        "export": _screen("export:ExportScreen"),
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
        Binding("question_mark", "help", "Help", id="app.help", key_display="?", tooltip="Show the keys"),
        Binding(
            "f1", "help", "Help", show=False, priority=True, id="app.help-anywhere", tooltip="Show the keys, also here"
        ),
        Binding(
            "ctrl+p",
            "command_palette",
            "palette",
            show=False,
            priority=True,
            id="app.palette",
            tooltip="Find an action by its name",
        ),
        Binding("y", "copy", "Copy", show=False, id="app.copy", tooltip="Copy what is selected or has the focus"),
        Binding("tab", "app.focus_next", "Next pane", show=False, id="app.focus", tooltip="Go to the next pane"),
        Binding(
            "shift+tab",
            "app.focus_previous",
            "Pane before",
            show=False,
            id="app.focus-back",
            tooltip="Go to the pane before",
        ),
        Binding("q", "quit", "Quit", id="app.quit", tooltip="Leave; a run goes on without this screen"),
        Binding(
            "ctrl+q",
            "quit",
            "Quit",
            show=False,
            priority=True,
            id="app.quit-anywhere",
            tooltip="Leave, also while you type",
        ),
    ]

    def on_mount(self) -> None:
        wished = settings.read(paths.config_file())
        faults = [*wished.faults, *self._take_keys(wished.keys), *self._take_theme(wished.theme)]
        if faults:
            more = f" ({len(faults) - 1} more: `localsynth ui --keys` tells them)" if faults[1:] else ""
            text = printable(f"{paths.config_file()}: {faults[0]}{more}", 600)
            self.notify(text, severity="warning", timeout=15, markup=False)
        self.theme_changed_signal.subscribe(self, self._keep_theme)

    def on_resize(self) -> None:
        self.call_next(self._fit)  # by then the application knows its new size

    def _fit(self) -> None:
        small = next((screen for screen in self.screen_stack if isinstance(screen, TooSmall)), None)
        if small is not None:
            small.measure()
        elif not fits(self.size):
            self.push_screen(TooSmall())

    def action_help(self) -> None:
        if isinstance(self.screen, Help):
            self.screen.dismiss()
        else:
            self.push_screen(Help(self.screen))

    def action_copy(self) -> None:
        self.copy_to_clipboard(focused_text(self.screen))

    async def action_quit(self) -> None:
        base = self.screen_stack[0]
        assert isinstance(base, AskingScreen)
        waiting = self.writes.leave()
        if waiting:
            self.say(f"Leaving as soon as this is written: {', '.join(waiting)}.")
        base.ask("quit", partial(self._settle, self.launcher.starting()), self._leave)

    def _settle(self, starting: Mapping[str, str]) -> list[int]:
        """Wait for what is being written; the runs that go on."""
        self.writes.wait(_PATIENCE)
        return _at_work(self.store, starting)

    def _leave(self, at_work: list[int]) -> None:
        for number in at_work:
            self.farewell.append(
                f"run {number} goes on: `localsynth status --watch` shows it, `localsynth stop` ends it"
            )
        self.farewell += self.jobs.leave()
        self.exit()

    def _take_keys(self, wished: Mapping[str, str]) -> list[str]:
        """Use the user's keys; what is wrong with them."""
        if not wished:
            return []
        from localsynth.tui import keymap  # it imports every screen

        keys, faults = keymap.usable(wished)
        if "app.palette" in keys:
            # The footer looks for the palette's key here.
            self.COMMAND_PALETTE_BINDING = keys["app.palette"].split(",")[0]  # type: ignore[misc]
        self.set_keymap(keys)
        return faults

    def _take_theme(self, name: str | None) -> list[str]:
        if name is None:
            return []
        if name not in self.available_themes:
            return [f'[ui] there is no theme "{name}"; ctrl+p, then Theme, lists them']
        self.theme = name
        return []

    def _keep_theme(self, theme: Theme) -> None:
        base = self.screen_stack[0]
        assert isinstance(base, AskingScreen)
        path = paths.config_file()
        if settings.read(path).theme != theme.name:
            base.ask("theme", partial(settings.keep_theme, path, theme.name), lambda _: None, writes="the theme")


def run_app(store: Path) -> tuple[int, list[str]]:
    """Show the UI until it is left; its exit code and what is to be said on the terminal afterwards."""
    app = LocalsynthApp(store)
    if sys.stdin.isatty():
        end_with_terminal(sys.stdin.fileno())
    app.run()
    return app.return_code or 0, [*app.farewell, *app.writes.lost]


def _at_work(store: Path, starting: Mapping[str, str]) -> list[int]:
    try:
        return [view.row.number for view in Watcher(store).runs(starting) if view.live]
    except LocalsynthError:
        return []  # a store that cannot be read must not keep anyone here
