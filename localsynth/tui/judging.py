"""The half of the filters screen that reads scores and applies thresholds; the other half shows and moves them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from textual.message import Message

from localsynth.config.thresholds import Threshold
from localsynth.engine.tally import Table
from localsynth.errors import LocalsynthError
from localsynth.store.thresholds import Change
from localsynth.tui import filtering
from localsynth.tui.asking import AskingScreen
from localsynth.tui.filtering import Foretold, Shown
from localsynth.tui.screens.confirm import Confirm
from localsynth.tui.wording import number

_SHARE = 20  # of the time at most one part goes into reading again what a run is writing
_TOLD = 0.25  # seconds between two words on how far a job is


@dataclass
class Read(Message, bubble=False):
    """So much is read by now. `serial`: of the job that reads."""

    serial: int
    table: Table
    done: int
    total: int


@dataclass
class Judged(Message, bubble=False):
    """So many pieces of the store are judged by now."""

    done: int
    total: int


class JudgingScreen(AskingScreen):
    """Keeps the scores of the store at hand. `drafts`: thresholds that were moved and not applied.

    `reading` and `judging`: how far such a job is, (0, 0) while there is none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.table = Table()
        self.drafts: dict[str, Threshold] = {}
        self.foretold: Foretold | None = None
        self.read_once = False
        self.reading = self.judging = (0, 0)
        self._began = 0.0
        self._read_after = 0.0
        self._source = "you"
        self._stop = threading.Event()
        self._told = 0.0
        self._asked_to_apply = False

    # What the other half shows

    def show_scores(self) -> None:
        """The table, the drafts or the counts are others now."""
        raise NotImplementedError

    def show_near(self, shown: list[Shown]) -> None:
        """Show rows near the bound."""
        raise NotImplementedError

    def show_reasons(self, reasons: list[tuple[str, int]]) -> None:
        """Show why a rule without a value rejects."""
        raise NotImplementedError

    # Reading

    def look(self) -> None:
        if "judge" not in self._busy and time.monotonic() >= self._read_after:
            self._read(self.table, patient=True)

    def action_again(self) -> None:
        self._read(None, patient=False)

    def _read(self, before: Table | None, *, patient: bool) -> None:
        told = partial(self._tell_read, self._serials.get("scores", 0) + 1)
        self.ask("scores", partial(filtering.read, self.ui.store, before, told), self._got, patient=patient)

    def _tell_read(self, serial: int, table: Table, done: int, total: int) -> bool:
        """Called on a worker thread."""
        if self._due() or not done:
            self.post_message(Read(serial, table, done, total))
        return self._stop.is_set()

    def on_read(self, message: Read) -> None:
        if message.serial != self._serials["scores"]:
            return
        self.reading = message.done, message.total
        if not self.read_once:  # later on what is there is better than what is being read
            self._take(message.table)

    def _got(self, answer: tuple[Table, float]) -> None:
        table, seconds = answer
        self.read_once, self.reading = True, (0, 0)
        self._read_after = time.monotonic() + _SHARE * seconds
        if table is not self.table or self.foretold is None:
            self._take(table)

    def _take(self, table: Table) -> None:
        self.table = table
        self.drafts = {name: bounds for name, bounds in self.drafts.items() if self._moves(name, bounds)}
        self._count()
        self.show_scores()

    # Drafts

    def bounds(self, name: str) -> Threshold:
        """The threshold of a score as it was moved, or as it is in force."""
        return self.drafts.get(name) or self.table.in_force(name)

    def draft(self, name: str, bounds: Threshold, source: str = "you") -> None:
        """Move a threshold; nothing is written."""
        self._source = source
        self.drafts.pop(name, None)
        if self._moves(name, bounds):
            self.drafts[name] = bounds
        self._count()
        self.show_scores()

    def _moves(self, name: str, bounds: Threshold) -> bool:
        return bounds != self.table.in_force(name) or self.table.differs(name)

    def _count(self) -> None:
        if self.table.runs:
            self.ask("counts", partial(filtering.foretell, self.ui.store, self.table, dict(self.drafts)), self._counted)

    def _counted(self, foretold: Foretold) -> None:
        self.foretold = foretold
        self.show_scores()
        if self._asked_to_apply:
            self._asked_to_apply = False
            self.action_apply()

    def ask_near(self, name: str, bounds: Threshold, *, low: bool) -> None:
        """Ask for rows just below and just above a bound."""
        self.ask("near", partial(filtering.near, self.ui.store, self.table, name, bounds, low=low), self.show_near)

    def ask_reasons(self, rule: str) -> None:
        """Ask why a rule rejects."""
        self.ask("near", partial(filtering.reasons, self.ui.store, self.table, rule), self.show_reasons)

    # Applying

    def action_apply(self) -> None:
        if "judge" in self._busy:
            self.ui.say("Thresholds are being applied: escape stops it, enter goes on later.")
            return
        if "counts" in self._busy:
            self._asked_to_apply = True  # the question tells the counts of what was moved last
            return
        told = self.foretold
        if told is None or not (self.drafts or self.table.waiting or told.strays):
            self.ui.say("No threshold was moved: h and l move one.")
            return
        if self.drafts:
            change = told.then.kept - told.now.kept
            what = ", ".join(f"{name} {bounds.words()}" for name, bounds in self.drafts.items())
            question = (
                f"Apply {what}? Then {number(told.then.kept)} of {number(told.now.done)} rows are kept, "
                f"{number(abs(change))} {'more' if change > 0 else 'fewer'} than now."
            )
            if told.unanswered:
                question += f" {number(told.unanswered)} of them have no answer: the gate had stopped before it."
            question += " z takes it back."
        else:
            question = "Judge all rows by the thresholds in force? Some came in by a merge, or applying was cut off."
        self.app.push_screen(Confirm(question, "Apply"), self._apply)

    def _apply(self, sure: bool | None) -> None:
        if not sure or self.foretold is None:
            return
        changes = [Change(name, bounds) for name, bounds in self.drafts.items()]
        again = sorted({*self.table.waiting, *(self.table.governed if self.foretold.strays else ())})
        job = partial(filtering.apply, self.ui.store, changes, self._source, again, self._begin_judging())
        self.ask("judge", job, partial(self._applied, dict(self.drafts)), writes="thresholds")

    def action_undo(self) -> None:
        if "judge" in self._busy:
            self.ui.say("Thresholds are being applied: escape stops it.")
            return
        self.ask(
            "judge", partial(filtering.undo, self.ui.store, self._begin_judging()), self._undone, writes="thresholds"
        )

    def action_leave(self) -> None:
        self._asked_to_apply = False
        if "judge" in self._busy:
            self._stop.set()
        elif self.drafts:
            self.drafts = {}
            self.ui.say("What was moved is dropped; what is in force stays.")
            self._count()
            self.show_scores()

    def _begin_judging(self) -> Callable[[int, int], bool]:
        self._stop.clear()
        self._began, self.judging = time.monotonic(), (0, 1)
        return self._tell_judged

    def _tell_judged(self, done: int, total: int) -> bool:
        """Called on a worker thread."""
        if self._due():
            self.post_message(Judged(done, total))
        return self._stop.is_set()

    def on_judged(self, message: Judged) -> None:
        if "judge" in self._busy:
            self.judging = message.done, message.total
            self.show_scores()

    def _applied(self, applied: dict[str, Threshold], whole: bool) -> None:
        self.drafts = {name: bounds for name, bounds in self.drafts.items() if applied.get(name) != bounds}
        done = "The thresholds are applied; z takes them back." if applied else "All rows are judged."
        self.ui.say(done if whole else "Stopped halfway: enter goes on.")
        self._reread()

    def _undone(self, answer: tuple[list[str], bool]) -> None:
        scores, whole = answer
        self.ui.say(f"Taken back: {', '.join(scores)}." if whole else "Stopped halfway: enter goes on.")
        self._reread()

    def _reread(self) -> None:
        self.judging = (0, 0)
        self._stop.clear()
        self._read(self.table, patient=False)

    def refused(self, group: str, error: LocalsynthError) -> None:
        del error
        if group == "judge":
            self._reread()
        elif group == "scores":
            self.reading = (0, 0)
        elif group == "counts":
            self._asked_to_apply = False

    @property
    def left(self) -> float | None:
        """Seconds that judging still takes, None while that is not known."""
        done, total = self.judging
        return (time.monotonic() - self._began) * (total - done) / done if done else None

    def _due(self) -> bool:
        now = time.monotonic()
        if now < self._told + _TOLD:
            return False
        self._told = now
        return True

    def on_screen_suspend(self) -> None:
        self._asked_to_apply = False

    def on_unmount(self) -> None:
        self._stop.set()
