"""What every screen may ask of its application: the store, the run in hand, a word to the user, the clipboard."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from textual.app import App
from textual.notifications import SeverityLevel

from localsynth.errors import LocalsynthError
from localsynth.printable import printable
from localsynth.tui import clipboard
from localsynth.tui.launcher import Launcher
from localsynth.tui.writes import Writes


class StoreApp(App[None]):
    """`run_id` is the run in hand, which all screens share. `farewell`: what to tell when the screen is gone.

    `writes`: what is being written.
    """

    def __init__(self, store: Path) -> None:
        super().__init__()
        self.store = store
        self.launcher = Launcher(store)
        self.run_id: str | None = None
        self.farewell: list[str] = []
        self.writes = Writes()

    def say(self, message: str) -> None:
        """A short word in the corner."""
        self.notify(printable(message, 400), markup=False)

    def complain(self, error: LocalsynthError) -> None:
        """An error with what to do next."""
        text = "\n".join(filter(None, (error.message, error.hint)))
        self.notify(printable(text, 600), severity="error", timeout=10, markup=False)

    def copy_to_clipboard(self, text: str) -> None:
        """Copy, and say how it went: no copy is silent, whichever key asked for it."""
        if not text.strip():
            self.say("There is nothing to copy here.")
            return
        super().copy_to_clipboard(text)
        self.run_worker(
            partial(self._copy, text),
            group="copy",
            description="copying",
            thread=True,
            exclusive=True,
            exit_on_error=False,
        )

    def _copy(self, text: str) -> None:
        sure, said = clipboard.copied(text)
        severity: SeverityLevel = "information" if sure else "warning"
        self.call_from_thread(self.notify, printable(said, 400), severity=severity, markup=False)
