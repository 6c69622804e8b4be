"""What every screen may ask of its application: the store, the run in hand, a word to the user, the clipboard."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from textual.app import App
from textual.notifications import SeverityLevel

from localsynth.errors import LocalsynthError
from localsynth.printable import printable
from localsynth.tui import clipboard
from localsynth.tui.jobs import Jobs
from localsynth.tui.launcher import Launcher
from localsynth.tui.writes import Writes


class StoreApp(App[None]):
    """`run_id` is the run in hand, which all screens share. `farewell`: what to tell when the screen is gone.

    `writes`: what is being written. `jobs`: the children that fetch and check models, export and hand over. `wish`: the
    model of the run that `new_run` is to make, None when that is made. `plan`: the text of New run's plan, "" before
    there is one. `sample`, `chosen`: the row that `review` is to show, or the rows that it is to show alone; None when
    they are shown.
    """

    def __init__(self, store: Path, launcher: Launcher | None = None) -> None:
        super().__init__()
        self.store = store
        self.launcher = launcher or Launcher(store)
        self.run_id: str | None = None
        self.farewell: list[str] = []
        self.writes = Writes()
        self.jobs = Jobs()
        self.wish: str | None = None
        self.plan = ""
        self.sample: int | None = None
        self.chosen: tuple[int, ...] | None = None

    def new_run(self, model: str = "") -> None:
        """Go to the screen that makes a run, ready for the number of pairs; with this model where one is named."""
        self.wish = model
        self.switch_mode("new")

    def review(self, run: str, sample: int | None = None, *, chosen: tuple[int, ...] | None = None) -> None:
        """Go to this row in Review, or to these rows alone."""
        self.run_id, self.sample, self.chosen = run, sample, chosen
        self.switch_mode("review")

    def delay_update(self, delay: float = 0.01) -> None:
        """Paint another screen after `delay` seconds. Textual waits 0.05, twice as long as everything else takes."""
        super().delay_update(delay)

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
