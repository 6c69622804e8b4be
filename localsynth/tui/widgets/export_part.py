"""Export: what is chosen on the left; on the right one row as it will be written, the card, and earlier exports."""

from __future__ import annotations

import time
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from localsynth.errors import LocalsynthError
from localsynth.tui import export_view, export_words
from localsynth.tui.export_choices import Choices
from localsynth.tui.export_view import Past, Preview
from localsynth.tui.jobs import JobView
from localsynth.tui.screens.confirm import Confirm
from localsynth.tui.widgets.export_choosing import ChoosingPart
from localsynth.tui.widgets.form_list import FormList
from localsynth.tui.widgets.reading import Reading
from localsynth.tui.wording import beginning

EXPORT = "export"
_AGAIN = 5.0  # seconds after which rows that a run has written meanwhile are counted too
_SHOWN = 20_000  # characters of one row, and of a card


class ExportPart(ChoosingPart):
    """Counts and previews what is chosen; writes it by a child process. `begun_with`: the rows that it is to write."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "write", "Export", id="export.write", tooltip="Write the rows, with a card beside them"),
        Binding("n", "next", "Next row", id="export.next", tooltip="Show the next row as it will be written"),
        Binding("N", "back", "Row before", show=False, id="export.back", tooltip="Show the row before"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.begun_with: int | None = None
        self._count: int | None = None
        self._begun = self.choices
        self._written = ""
        self._preview = Preview()
        self._card = ""
        self._afters: list[int | None] = [None]
        self._counted = self._cost = 0.0

    def compose(self) -> ComposeResult:
        with Horizontal(id="export-top"):
            yield FormList(id="export-form")
            with Vertical(classes="beside"):
                with Reading("Row", id="export-row"):
                    yield Static("", id="export-line", markup=False)
                with Reading("Card", id="export-card"):
                    yield Static("", id="export-text", markup=False)
                with Reading("Exports so far", id="export-past"):
                    yield Static("", id="export-list", markup=False)
        with Reading("Result", id="export-result"):
            yield Static("", id="export-outcome", markup=False)

    def on_mount(self) -> None:
        self.query_one("#export-result").display = False
        self._draw()

    def copy_text(self) -> str:
        """The row or the card where the focus is on it, else the command."""
        where = self.screen.focused.id if self.screen.focused is not None else ""
        return {"export-row": self._preview.line, "export-card": self._card}.get(
            where or "", self.choices.command(self.host.ui.store)
        )

    def look(self) -> None:
        """Count again when it is time to: a run may be writing."""
        if self.past is not None and time.monotonic() - self._counted > max(_AGAIN, 20 * self._cost):
            self._ask_count(patient=True)
            if self._preview.sample is None:
                self._ask_row()

    def show_past(self, past: Past) -> None:
        """Show what there was, and ask for the rest again."""
        self.past = past
        self.query_one("#export-list", Static).update(export_words.exports(past.exports))
        self._ask_all()

    def job_moved(self, job: JobView | None) -> None:
        """Show how the export ended; `job` is None before there is one."""
        if job is not None and job.state == "done":
            self._written = str(job.result["card"])
        result = export_words.result(job)
        self.query_one("#export-result").display = bool(result)
        self.query_one("#export-outcome", Static).update(result)

    def refused(self, error: LocalsynthError) -> None:
        """The store could not be read."""
        self._preview = Preview(0, "", "", error.message, error.hint)
        self.query_one("#export-line", Static).update(export_words.row(self._preview, _SHOWN))

    def action_next(self) -> None:
        last = self._preview.sample
        if last is None or (self._count is not None and len(self._afters) >= self._count):
            self.host.ui.say("That was the last row.")
        else:
            self._afters.append(last)
            self._ask_row()

    def action_back(self) -> None:
        if len(self._afters) > 1:
            self._afters.pop()
            self._ask_row()

    def action_write(self) -> None:
        job, choices = self.host.jobs.get(EXPORT), self.choices
        if job is not None and job.state == "running":
            self.host.ui.say("An export is at work: X cancels it.")
        elif choices.fault:
            self.host.ui.say(choices.fault)
        elif self._count == 0:
            self.host.ui.say("There are no rows to export: widen what is chosen, or wait for a run to keep some.")
        elif choices.overwrites:
            question = f"{choices.target} is there already. Write over it?"
            self.app.push_screen(Confirm(question, "Write"), lambda sure: self._write(force=True) if sure else None)
        else:
            self._write(force=False)

    def _write(self, *, force: bool) -> None:
        self.begun_with, self._begun, self._written = self._count, self.choices, ""
        arguments = self.choices.arguments(self.host.ui.store, force=force)
        self.host.start_job(EXPORT, f"Exporting to {self.choices.target.name}", arguments, outlives=True)
        self.host.ui.say("It goes on when you leave the UI; X cancels it.")

    def change(self, choices: Choices) -> None:
        same = choices.selection == self.choices.selection and self._count is not None
        self.choices = choices
        self._count = self._count if same else None
        self._draw()
        self._ask_all()

    def _ask_all(self) -> None:
        self._afters = [None]
        self._ask_row()
        self._ask_count()

    def _ask_row(self) -> None:
        job = partial(export_view.preview, self.host.ui.store, self.choices, self._afters[-1])
        self.host.ask("row", job, self._take_row)

    def _ask_count(self, *, patient: bool = False) -> None:
        began = self._counted = time.monotonic()

        def then(count: int) -> None:
            self._cost = time.monotonic() - began
            other = count != self._count
            self._count = count
            self._draw()
            if other or not patient:
                self._ask_card(count)

        self.host.ask("count", partial(export_view.count, self.host.ui.store, self.choices), then, patient=patient)

    def _ask_card(self, count: int) -> None:
        """The card that was written with what is chosen, else a draft."""
        job = partial(export_view.draft_card, self.host.ui.store, self.choices, count)
        if self._written and self._begun == self.choices:
            job = partial(export_view.written_card, self._written)
        self.host.ask("card", job, self._take_card)

    def _take_row(self, preview: Preview) -> None:
        if preview.sample is None and len(self._afters) > 1:
            self._afters.pop()
            self.host.ui.say("That was the last row.")
            return
        self._preview = preview
        box = self.query_one("#export-row", Reading)
        box.border_title = f"Row {len(self._afters)} as it is written: {preview.where}" if preview.where else "Row"
        box.scroll_home(animate=False)
        self.query_one("#export-line", Static).update(export_words.row(preview, _SHOWN))

    def _take_card(self, text: str) -> None:
        self._card = text
        self.query_one("#export-text", Static).update(Content(beginning(text, _SHOWN)))

    def _draw(self) -> None:
        self.query_one("#export-form", FormList).show(self.choices.lines(self._count))
