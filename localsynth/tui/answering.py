"""The part of the review screen that has one row answered again by a run of its own, and takes or leaves the answer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType

from localsynth.engine import answer_again
from localsynth.engine.answer_again import Attempt
from localsynth.errors import LocalsynthError, StoreBusy
from localsynth.store import SampleRow
from localsynth.tui.launcher import Launcher
from localsynth.tui.reviewing import ReviewingScreen


class AnsweringScreen(ReviewingScreen):
    """The run is a process like any other; it goes on when the screen is left, and its answer is found again."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "r",
            "again",
            "Again",
            show=False,
            id="review.again",
            tooltip="Have the question answered again by a run of its own",
        ),
        Binding(
            "c", "take", "Take", show=False, id="review.take", tooltip="Take the other answer in place of this one"
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._awaited: dict[str, SampleRow] = {}

    def look(self) -> None:
        super().look()
        if self._awaited:
            job = partial(_look, self.ui.store, self.ui.launcher, tuple(self._awaited))
            self.ask("again", job, self._looked, patient=True)

    def action_again(self) -> None:
        row = self.row_to_change()
        if row is None:
            return

        def then(run: str) -> None:
            self._awaited[run] = row
            self.ui.say(f"Row {row.index} is being answered again. The answer will stand below the old one.")

        job = partial(_start, self.ui.store, self.ui.launcher, row.id)
        self.ask("answer", job, then, patient=True, writes="a run for one row")

    def action_take(self) -> None:
        row, other = self.row_to_change(), self.pane.other_answer()
        if row is None:
            return
        if other is None:
            self.ui.say("There is no other answer here: r has one written.")
            return
        position = max(turn.position for turn in row.turns if turn.role == "assistant")
        self.edit_row(row, {**(row.review.edits if row.review else {}), position: other.text})

    def _looked(self, attempts: list[Attempt]) -> None:
        for attempt in attempts:
            if attempt.over and (row := self._awaited.pop(attempt.run, None)) is not None:
                if attempt.answered:
                    self.ui.say(f"Row {row.index} has another answer: c takes it.")
                else:
                    self.ui.complain(
                        LocalsynthError(f"row {row.index} has no other answer: {attempt.fault}", "edit it: e")
                    )
                if self.list.row is not None and self.list.row.id == row.id:
                    self.read_detail(row.id)


def _start(store: Path, launcher: Launcher, sample: int) -> str:
    if launcher.starting():  # it may not hold the store yet
        raise StoreBusy("a run is being started, and one run at a time works on a store", "wait until it is finished")
    run = answer_again.create(store, sample)
    launcher.start(run)
    return run


def _look(store: Path, launcher: Launcher, runs: tuple[str, ...]) -> list[Attempt]:
    there = launcher.starting()
    return [answer_again.look(store, run, starting=run in there) for run in runs]
