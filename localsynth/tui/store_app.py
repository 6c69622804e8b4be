"""What every screen may ask of its application: the store, the run in hand, a word to the user."""

from __future__ import annotations

from pathlib import Path

from textual.app import App

from localsynth.errors import LocalsynthError
from localsynth.printable import printable
from localsynth.tui.launcher import Launcher


class StoreApp(App[None]):
    """`run_id` is the run in hand, which all screens share. `farewell`: what to tell when the screen is gone."""

    def __init__(self, store: Path) -> None:
        super().__init__()
        self.store = store
        self.launcher = Launcher(store)
        self.run_id: str | None = None
        self.farewell: list[str] = []

    def say(self, message: str) -> None:
        """A short word in the corner."""
        self.notify(printable(message, 400), markup=False)

    def complain(self, error: LocalsynthError) -> None:
        """An error with what to do next."""
        text = "\n".join(filter(None, (error.message, error.hint)))
        self.notify(printable(text, 600), severity="error", timeout=10, markup=False)
