"""The part of the review screen that says one thing of many rows, or replaces in many texts, and takes it back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType

from localsynth.engine.bulk_review import Outcome, Work, carry_out, last_batch, replace_in, standing, take_back, told
from localsynth.errors import LocalsynthError
from localsynth.filters.substitution import derive
from localsynth.printable import one_line
from localsynth.store import Query, Reader
from localsynth.store.bulk import Reach, new_batch
from localsynth.tui.browsing import BrowsingScreen
from localsynth.tui.screens.bulk import BulkChoice, BulkDialog
from localsynth.tui.screens.confirm import Confirm
from localsynth.tui.screens.replace import ReplaceChoice, ReplaceDialog
from localsynth.tui.screens.working import Working
from localsynth.tui.wording import number

_DONE = {
    "accept": "accepted",
    "reject": "rejected",
    "clear": "without your verdict",
    "tag": "tagged",
    "note": "noted",
    "replace": "edited",
}
_NAME = 40  # characters of a batch that somebody else named
_AT_ONCE = 2000  # rows that are done before anyone could read how far they are


class BulkScreen(BrowsingScreen):
    """Acts on the rows that are selected, else on all rows that the list shows."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "B",
            "bulk",
            "All of these",
            show=False,
            id="review.bulk",
            tooltip="Accept, reject, tag, note all rows shown or selected",
        ),
        Binding(
            "R",
            "replace",
            "Replace in all",
            show=False,
            id="review.replace",
            tooltip="Find and replace in all rows shown or selected; begins with the edit of this row",
        ),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._sizes: dict[str, int] = {}  # rows of the batches of this session
        self._writing = False

    def selection(self) -> Sequence[int]:
        """The samples that are selected."""
        return ()

    def batch_written(self, batch: str) -> None:
        """Called when a batch that can be taken back is in the store."""
        raise NotImplementedError

    def rows_known(self) -> bool:
        """Whether the list shows what the store has; it is told where a job over many rows says otherwise.

        A review holds all that is said of a row: one made from an old row would undo what the job wrote.
        """
        if self._writing or self.outdated:
            self.ui.say("Many rows are being written: press it again when that is done.")
        return not (self._writing or self.outdated)

    def action_bulk(self) -> None:
        scope = self._scope() if self.rows_known() else None
        if scope is not None:
            self.app.push_screen(BulkDialog(self, *scope), self._chosen)

    def action_replace(self) -> None:
        row = self.list.row
        if row is not None and self.rows_known():
            self.ask("bulk", partial(_edit_of, self.ui.store, row.id), self._open_replace)

    def undo_batch(self, batch: str) -> None:
        """Take a batch back."""
        job = partial(take_back, self.ui.store, batch)
        total = self._sizes.get(batch, 0)
        self._run(
            "Taking back", batch, job, total, lambda outcome: f"{number(outcome.reach.changed)} rows are as they were"
        )

    def undo_earlier(self, otherwise: Callable[[], None]) -> None:
        """Offer to take back the newest batch that an earlier session left; `otherwise` where there is none."""
        query = self.query_in_hand
        if query is None:
            otherwise()
            return

        def offer(found: tuple[str, int] | None) -> None:
            if found is None:
                otherwise()
                return
            batch, rows = found
            self._sizes[batch] = rows
            question = f"Take back what was done to {number(rows)} rows at once ({_described(batch)})?"
            self.app.push_screen(Confirm(question, "Take back"), lambda sure: self.undo_batch(batch) if sure else None)

        self.ask("bulk", partial(_newest_batch, self.ui.store, query.run), offer)

    def _scope(self) -> tuple[Query, str] | None:
        """The rows that are meant, and how to call them."""
        query, chosen = self.query_in_hand, tuple(self.selection())
        if query is None or self.list.row is None:
            self.ui.say("There is no row here.")
            return None
        if chosen:
            return Query(query.run, chosen=chosen), "those that you selected"
        if not query.narrowed:
            return query, "the whole run"
        return replace(query, order=""), "all that the list shows"

    def _chosen(self, choice: BulkChoice | None) -> None:
        if choice is None:
            return
        batch, action = new_batch(choice.action.verb), choice.action
        job = partial(carry_out, self.ui.store, choice.ids, action, batch)
        self._write(f"{number(choice.count)} rows: {action.verb}", batch, job, len(choice.ids))

    def _open_replace(self, start: tuple[str, str]) -> None:
        scope = self._scope()
        if scope is not None:
            self.app.push_screen(ReplaceDialog(self, *scope, start), self._replace)

    def _replace(self, choice: ReplaceChoice | None) -> None:
        if choice is None:
            return
        batch = new_batch("replace")

        def job(work: Work) -> Outcome:
            return replace_in(self.ui.store, choice.ids, choice.wanted, choice.roles, batch=batch, work=work)

        self._write(f"Replacing in {number(len(choice.ids))} rows", batch, job, len(choice.ids))

    def _write(self, title: str, batch: str, job: Callable[[Work], Outcome], total: int) -> None:
        done = _DONE[batch.partition(" ")[0]]

        def words(outcome: Outcome) -> str:
            if outcome.reach.changed:
                self._sizes[batch] = outcome.reach.changed
                self.batch_written(batch)
            held = outcome.reach.held
            stay = f", {number(held)} stay: you said otherwise" if held else ""
            undo = ". z takes it back" if outcome.reach.changed else ""
            return f"{number(outcome.reach.changed)} rows {done}{stay}{undo}"

        self._run(title, batch, job, total, words)

    def _run(
        self, title: str, batch: str, job: Callable[[Work], Outcome], total: int, words: Callable[[Outcome], str]
    ) -> None:
        self._writing = True
        work = Work(total=total)
        undoing = title == "Taking back"
        stopped = "z goes on with it." if undoing else "what is written stays, z takes it back."
        screen = Working(title, work, stopped) if total > _AT_ONCE else None
        if screen is not None:
            self.app.push_screen(screen)

        def ended(outcome: Outcome) -> None:
            self._writing, self.outdated = False, True
            if screen is not None:
                screen.finish()
            said = words(outcome)
            if not outcome.whole and undoing:
                self.batch_written(batch)
            if outcome.fault is not None:
                fault = f"{outcome.fault.message}; {said} ({number(outcome.done)} of {number(outcome.total)} rows seen)"
                self.ui.complain(LocalsynthError(fault, outcome.fault.hint))
            else:
                self.ui.say(f"{said}." if outcome.whole else f"Stopped: {said}.")
            self.written()
            self.reread()

        def guarded() -> Outcome:
            try:
                return job(work)
            except Exception as error:  # whatever it is: the list must be told that the job is over
                return Outcome(reach=Reach(), done=0, total=total, fault=told(error))

        self.ask("bulk-write", guarded, ended, writes=title)


def _newest_batch(store: Path, run: str) -> tuple[str, int] | None:
    batch = last_batch(store, run)
    return None if batch is None else (batch, standing(store, batch))


def _described(batch: str) -> str:
    """What was done and when; a merge may bring batches of other programs, named otherwise."""
    verb, _, at = batch.rpartition(" ")[0].partition(" ")
    if verb not in _DONE or not at:
        return one_line(batch, _NAME)
    return f"{verb}, {one_line(at[:16].replace('T', ' '), _NAME)} UTC"


def _edit_of(store: Path, sample: int) -> tuple[str, str]:
    """The smallest find and replace that makes the edit of a row; empty where it has none."""
    with Reader.open(store) as reader:
        row = reader.sample(sample)
    edits = row.review.edits if row.review else {}
    for turn in row.turns:
        if turn.position in edits and (found := derive(turn.content, edits[turn.position])):
            return found
    return "", ""
