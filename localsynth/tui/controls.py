"""The keys that steer a run, the same on every screen that shows one."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType

from localsynth.engine import launch
from localsynth.store.rows import Verb
from localsynth.tui.asking import AskingScreen
from localsynth.tui.screens.confirm import Confirm
from localsynth.tui.watching import RunView

Result = TypeVar("Result")
SLOW = 3.0  # seconds after which a person wonders


class ControlScreen(AskingScreen):
    """A screen with one run in hand that can be paused, resumed and stopped."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new_run", "New", id="run.new", tooltip="Make a new run"),
        Binding("p", "pause", "Pause", id="run.pause", tooltip="Start nothing new until the run is resumed"),
        Binding("s", "resume", "Resume", id="run.resume", tooltip="Go on with a paused, stopped or died run"),
        Binding("x", "stop", "Stop", id="run.stop", tooltip="Finish what is being written, then stop"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._asked: float | None = None

    @property
    def run_in_hand(self) -> RunView | None:
        """The run that the keys mean."""
        raise NotImplementedError

    def action_pause(self) -> None:
        view = self.run_in_hand
        if view is None:
            self.ui.say("There is no run to pause.")
        elif view.state == "paused":
            self.ui.say(f"Run {view.row.number} is paused already: s resumes it.")
        elif not view.live:
            self.ui.say(f"Run {view.row.number} is not at work ({view.state}).")
        else:
            self._tell(view, "pause", "pausing: what is being written is finished first")

    def action_resume(self) -> None:
        view = self.run_in_hand
        if view is None:
            self.ui.say("There is no run to resume.")
        elif view.state == "paused":
            self._tell(view, "resume", "goes on")
        elif view.live:
            self.ui.say(f"Run {view.row.number} is at work already ({view.state}).")
        elif view.state == "finished":
            self.ui.say(f"Run {view.row.number} has its {view.progress.target} pairs: n makes a new run.")
        else:
            self._start(view.row.id, f"Run {view.row.number} goes on.")

    def action_stop(self) -> None:
        view = self.run_in_hand
        if view is None or not view.live:
            self.ui.say(
                "There is no run at work to stop." if view is None else f"Run {view.row.number} is not at work."
            )
            return
        number, in_work = view.row.number, view.progress.answering
        if view.state == "draining":
            question = f"Run {number} is finishing {in_work} answers. Give these up and stop at once?"
            self.app.push_screen(Confirm(question, "Stop at once"), partial(self._stop, view, "cancel"))
        else:
            question = f"Stop run {number}? It finishes what is being written; s resumes it later."
            self.app.push_screen(Confirm(question, "Stop"), partial(self._stop, view, "drain"))

    def action_new_run(self) -> None:
        self.ui.new_run()

    def ask_often(
        self, group: str, job: Callable[[], Result], then: Callable[[Result], None], *, patient: bool = True
    ) -> None:
        """Ask for what is shown, again and again; a store that lets nobody read it for seconds is told of, once."""
        if patient and group in self._busy:
            if self._asked is not None and time.monotonic() - self._asked > SLOW:
                self._asked = None
                self.ui.say("The store does not answer: another program holds it. What is shown is as it was before.")
            return
        self._asked = time.monotonic()
        self.ask(group, job, then, patient=patient)

    def _say_if_slow(self) -> None:
        """Say so when what was told to a run is not in the store after a while."""
        serial = self._serials["control"]

        def told() -> None:
            if "control" in self._busy and self._serials["control"] == serial:
                self.ui.say("Still waiting for the store: another program is writing to it.")

        self.set_timer(SLOW, told)

    def _stop(self, view: RunView, verb: Verb, sure: bool | None) -> None:
        if sure:
            self._tell(
                view, verb, "stops at once" if verb == "cancel" else "finishes what is being written, then stops"
            )

    def _tell(self, view: RunView, verb: Verb, what: str) -> None:
        def then(_: None) -> None:
            self.ui.say(f"Run {view.row.number} {what}.")
            self.look()

        self.ask(
            "control",
            partial(launch.tell, self.ui.store, view.row.id, verb),
            then,
            writes=f"the word to run {view.row.number} ({verb})",
        )
        self._say_if_slow()

    def _start(self, run: str, what: str) -> None:
        def then(_: None) -> None:
            self.ui.run_id = run
            self.ui.say(what)
            self.look()

        self.ask("control", partial(self.ui.launcher.start, run), then, writes="the start of the run")
        self._say_if_slow()
