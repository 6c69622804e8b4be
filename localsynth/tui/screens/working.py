"""How far a job over many rows is, and a key that stops it."""

from __future__ import annotations

import time
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from localsynth.engine.bulk_review import Work
from localsynth.tui.wording import duration, number, progress_bar

_PERIOD = 0.25  # seconds


class Working(ModalScreen[None]):
    """Shows a job until `finish` is called. `stopped` says what is then the case."""

    CSS_PATH = ["modal.tcss", "bulk.tcss"]  # noqa: RUF012 - declared so by Textual
    HELP = "What is written by then stays; z takes it back."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", id="working.stop", tooltip="Stop before the next rows"),
    ]

    def __init__(self, title: str, work: Work, stopped: str) -> None:
        super().__init__()
        self._title, self._work, self._stopped = title, work, stopped
        self._began = time.monotonic()
        self._over = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield Static(self._title, classes="heading", markup=False)
            yield Static("", id="bar")
            yield Static(f"escape stops it: {self._stopped}", classes="hint", markup=False)

    def on_mount(self) -> None:
        self.set_interval(_PERIOD, self._show)
        self._show()

    def action_stop(self) -> None:
        self._work.cancel()

    def finish(self) -> None:
        """The job is over: the screen goes as soon as it is on top."""
        self._over = True
        if self.is_current:
            self.dismiss()

    def _show(self) -> None:
        if self._over and self.is_current:
            self.dismiss()
            return
        work, room = self._work, max(10, self.query_one("#bar").size.width)
        full, empty = progress_bar(work.done, work.total, room)
        spent = time.monotonic() - self._began
        left = f", {duration(spent * (work.total - work.done) / work.done)} left" if work.done else ""
        state = ", stopping" if work.cancelled else left
        words = f"\n{number(work.done)} of {number(work.total)} rows{state}"
        self.query_one("#bar", Static).update(Content.assemble((full, "$text-success"), (empty, "dim"), words))
