"""The part of the review screen that says things about rows: verdicts, notes, tags, edits, and takes them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from localsynth.errors import DataError, LocalsynthError
from localsynth.records import Review
from localsynth.store import Facets, Reader, SampleRow
from localsynth.tui import turns_file
from localsynth.tui.editor import EmptyText, edit_text
from localsynth.tui.messages import VerdictSaved
from localsynth.tui.ranking_screen import RankingScreen
from localsynth.tui.screens.edit_turns import LONGEST, EditTurns
from localsynth.tui.screens.field import AskValue
from localsynth.tui.screens.tags import Tags
from localsynth.tui.undoing import Given, GivenMany, Undoing
from localsynth.tui.verdicts import Verdicts, changed, judged, restoring


class ReviewingScreen(RankingScreen):
    """Whatever is said shows at once and is saved on a thread of its own; `undoing` takes it back."""

    def __init__(self) -> None:
        super().__init__()
        self.undoing = Undoing()
        self._verdicts: Verdicts | None = None
        self._left: dict[int, str] = {}  # what an editor left that could not be taken over, by sample

    def on_mount(self) -> None:
        self._verdicts = Verdicts(self.ui.store, self.ui.writes, self._saved)

    def on_unmount(self) -> None:
        if self._verdicts is not None:
            self._verdicts.close()

    def selection(self) -> Sequence[int]:
        return sorted(self.list.marked)

    def batch_written(self, batch: str) -> None:
        self.undoing.push(GivenMany(batch))

    def action_judge(self, verdict: Literal["accept", "reject"]) -> None:
        row = self.list.row
        if row is None or not self.rows_known():
            return
        if row.state != "done":
            self.ui.say("This row failed." if row.state == "failed" else "This row waits for its answer.")
            return
        self.say_of(row, "verdict", verdict=verdict)
        self.decided()
        self.list.action_move(1)

    def action_undo(self) -> None:
        if not self.rows_known():
            return
        last = self.undoing.pop()
        if last is None:
            self.undo_earlier(lambda: self.ui.say("There is nothing to take back."))
        elif isinstance(last, GivenMany):
            self.undo_batch(last.batch)
        else:
            self._give(last.before)
            self._go_to(last)
            self._tell(last)

    def action_note(self) -> None:
        row = self.row_to_change()
        if row is None:
            return

        def then(text: str | None) -> None:
            note = (text or "").strip() or None
            if text is not None and note != (row.review.note if row.review else None):
                self.say_of(row, "note", note=note)

        note = (row.review.note if row.review else None) or ""
        ask = AskValue(f"Note on row {row.index}", "Nothing typed takes the note away.", note, lambda _: "")
        self.app.push_screen(ask, then)

    def action_tag(self) -> None:
        row = self.row_to_change()
        if row is not None:
            self.ask("facets", partial(facets, self.ui.store, row.run), partial(self._ask_tags, row))

    def action_edit(self) -> None:
        row = self.row_to_change()
        if row is None:
            return
        if sum(len(message.content) for message in row.messages) > LONGEST:
            self.ui.say("This row is too long to be edited here: E opens it in your editor.")
        else:
            self.app.push_screen(EditTurns(row), partial(self.edit_row, row))

    def action_edit_outside(self) -> None:
        row = self.row_to_change()
        if row is None:
            return
        text = ""
        try:
            text = edit_text(self.app, self._left.get(row.id) or turns_file.write(row), ".md")
            self.edit_row(row, turns_file.read(row, text))
            self._left.pop(row.id, None)
        except EmptyText as error:
            self._left.pop(row.id, None)
            self.ui.complain(error)
        except DataError as error:
            self._left[row.id] = text
            self.ui.complain(error)
        except LocalsynthError as error:
            self.ui.complain(error)

    def say_of(self, row: SampleRow, what: str, **changes: Any) -> None:
        """Say something about a row; what else was said about it stays."""
        self.undoing.push(Given(row.run, row.index, what, restoring(row)))
        self._give(changed(row, **changes))

    def on_verdict_saved(self, message: VerdictSaved) -> None:
        sample = message.review.sample
        if self.pending.get(sample) is message.review:
            del self.pending[sample]
        if message.error is not None:
            self.undoing.forget(sample)
            self.ui.complain(LocalsynthError(f"not saved: {message.error.message}", message.error.hint))
            self.reread()
        else:
            self.written()

    def row_to_change(self) -> SampleRow | None:
        """The row under the cursor, None where nothing can be said about its text; that is told."""
        row = self.list.row if self.rows_known() else None
        if row is not None and (row.state != "done" or not row.turns):
            self.ui.say("This row is not finished: there is nothing to change yet.")
            return None
        if row is not None and row.fault:
            self.ui.say("This row is damaged in the store: reject it, or go on to the next.")
            return None
        return row

    def _ask_tags(self, row: SampleRow, known: Facets) -> None:
        def then(tags: tuple[str, ...] | None) -> None:
            if tags is not None and tags != before:
                self.say_of(row, "tags", tags=tags)

        before = row.review.tags if row.review else ()
        self.app.push_screen(Tags(f"Tags of row {row.index}", before, known.tags), then)

    def edit_row(self, row: SampleRow, edits: Mapping[int, str] | None) -> None:
        """Save the edits of a row, None for none; it is told what came of it."""
        before = row.review.edits if row.review else {}
        if edits is None:
            return
        if dict(edits) == dict(before):
            self.ui.say("Nothing was changed.")
            return
        self.say_of(row, "edit", edits=edits)
        self.ui.say(f"Row {row.index} is edited. D shows it, R does it in all rows like it, z takes it back.")

    def _give(self, review: Review) -> None:
        assert self._verdicts is not None
        self.pending[review.sample] = review
        self._verdicts.give(review)
        index = self.window.index(review.sample) if self.window else None
        if self.window is not None and index is not None:
            self.put(judged(self.window.rows[index], review))

    def _saved(self, review: Review, error: LocalsynthError | None) -> None:
        self.post_message(VerdictSaved(review, error))

    def _tell(self, given: Given) -> None:
        words = f"row {given.index} {'are' if given.what == 'tags' else 'is'} taken back."
        if self.query_in_hand is None or given.run == self.query_in_hand.run:
            self.ui.say(f"The {given.what} of {words}")
            return

        def named(run: str) -> None:
            self.ui.say(f"In {run}, which is not shown here: the {given.what} of {words}")

        self.ask("run-name", partial(_name_of, self.ui.store, given.run), named)

    def _go_to(self, given: Given) -> None:
        if self.window is None or self.query_in_hand is None or given.run != self.query_in_hand.run:
            return
        index = self.window.index(given.before.sample)
        if index is None:
            self.open(self.query_in_hand, at=given.before.sample)
        else:
            self.list.go(index)


def _name_of(store: Path, run: str) -> str:
    with Reader.open(store) as reader:
        return f"run {reader.run(run).number}"


def facets(store: Path, run: str) -> Facets:
    """What the rows of a run can be asked for."""
    with Reader.open(store) as reader:
        return reader.facets(run)
