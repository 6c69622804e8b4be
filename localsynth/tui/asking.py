"""The base of the screens: jobs on worker threads, answers on the screen's own, errors as notifications."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, TypeVar, cast

from textual.screen import Screen
from textual.timer import Timer

from localsynth.errors import LocalsynthError
from localsynth.store.abandoning import Errand
from localsynth.tui.messages import Answered, Refused
from localsynth.tui.store_app import StoreApp

Result = TypeVar("Result")


class AskingScreen(Screen[None]):
    """A screen that looks at the store without ever waiting for it.

    `look` is called at once whenever the screen is shown, and every PERIOD seconds while it is. Textual calls the
    `on_...` methods of every class, that of the subclass first: none of them calls its super.
    """

    PERIOD: ClassVar[float] = 1.0

    def __init__(self) -> None:
        super().__init__()
        self._serials: dict[str, int] = {}
        self._busy: set[str] = set()
        self._errands: dict[str, Errand] = {}
        self._faults: dict[str, str] = {}
        self._trusted: set[str] = set()
        self._timer: Timer | None = None

    @property
    def ui(self) -> StoreApp:
        """The application."""
        return cast("StoreApp", self.app)

    def look(self) -> None:
        """Ask for what the screen shows."""
        raise NotImplementedError

    def ask(
        self,
        group: str,
        job: Callable[[], Result],
        then: Callable[[Result], None],
        *,
        patient: bool = False,
        writes: str = "",
    ) -> None:
        """Do `job` on a worker thread, then `then` with its result on the screen's own thread.

        A later job of the same group makes an earlier answer void and breaks off what it reads; a `patient` one is
        left out while one is at work.
        `writes` names what the job changes: its answer is never void, its failure is always told, leaving waits for it.
        """
        if patient and group in self._busy:
            return
        if not patient:
            self._faults.pop(group, None)
            self._trusted.discard(group)
        serial = self._serials[group] = self._serials.get(group, 0) + 1
        self._busy.add(group)
        if (before := self._errands.pop(group, None)) is not None:
            before.abandoned = True
        errand = Errand()
        if not writes:
            self._errands[group] = errand
        self.ui.writes.begin(writes)
        self.run_worker(
            partial(self._work, group, serial, partial(_read, errand, job), then, writes),
            group=group,
            description=writes or f"reading for {group}",
            thread=True,
            exclusive=not writes,
            exit_on_error=False,
        )

    def _work(
        self, group: str, serial: int, job: Callable[[], Result], then: Callable[[Result], None], writes: str
    ) -> None:
        try:
            result = _done(job)
        except LocalsynthError as error:
            self.ui.writes.end(writes, error)
            self.post_message(Refused(group, serial, error, wrote=bool(writes)))
        else:
            self.ui.writes.end(writes)
            self.post_message(Answered(group, serial, partial(then, result), wrote=bool(writes)))

    def on_answered(self, message: Answered) -> None:
        latest = message.serial == self._serials[message.group]
        if latest:
            self._busy.discard(message.group)
            self._faults.pop(message.group, None)
            self._trusted.add(message.group)
        if latest or message.wrote:
            message.apply()

    def on_refused(self, message: Refused) -> None:
        if message.wrote:
            self._trusted.discard(message.group)
            self._faults.pop(message.group, None)
        if message.serial == self._serials[message.group]:
            self._busy.discard(message.group)
            # What worked a second ago may have met a store that is just being made: it is asked once more.
            if message.group in self._trusted:
                self._trusted.discard(message.group)
                self.refused(message.group, message.error)
                return
            # What is asked every second would otherwise complain every second.
            if self._faults.get(message.group) != message.error.message:
                self._faults[message.group] = message.error.message
                self.ui.complain(message.error)
            self.refused(message.group, message.error)
        elif message.wrote:
            self.ui.complain(message.error)

    def refused(self, group: str, error: LocalsynthError) -> None:
        """Called when a job could not be done, after the notification where there is one."""

    def on_screen_resume(self) -> None:
        if self._timer is None:
            self._timer = self.set_interval(self.PERIOD, self.look)
        self._timer.resume()
        self.look()

    def on_screen_suspend(self) -> None:
        if self._timer is not None:
            self._timer.pause()


def _read(errand: Errand, job: Callable[[], Result]) -> Result:
    with errand.at_work():
        return job()


def _done(job: Callable[[], Result]) -> Result:
    try:
        return job()
    except LocalsynthError:
        raise
    except Exception as error:  # a fault of our own: said on the screen, where a worker's error would be lost
        said = f"{type(error).__name__}: {error}"
        raise LocalsynthError(said, "this is a fault of localsynth: please report") from error
