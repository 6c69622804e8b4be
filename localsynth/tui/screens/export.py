"""Export and hand-off: rows for a trainer, jobs for other machines and what comes back of them."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from localsynth.errors import LocalsynthError
from localsynth.tui import export_view, export_words
from localsynth.tui.child_screen import ChildScreen
from localsynth.tui.export_view import Past
from localsynth.tui.jobs import JobView
from localsynth.tui.widgets.export_part import EXPORT, ExportPart
from localsynth.tui.widgets.form_list import FormList
from localsynth.tui.widgets.handoff_part import HandoffPart
from localsynth.tui.widgets.key_line import KeyLine
from localsynth.tui.widgets.title import TitleBar
from localsynth.tui.wording import number

_PARTS = ("export", "handoff")
_TABS = {"export": "Export", "handoff": "Hand-off"}


class ExportScreen(ChildScreen):
    """Two parts, of which one is shown; both start jobs."""

    CSS_PATH = "export.tcss"
    TITLE = "Export and hand-off"
    HELP = (
        "enter changes a value or does what the line says; bold values are not the usual ones. y copies the command "
        "that does the same, or the row or the card that has the focus. An export goes to its place only when it is "
        "whole, its card beside it. Exports, packing, copying and merging go on when the UI is left; the estimate ends "
        "with it."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left_square_bracket", "part('export')", "Export", key_display="[", id="parts.export",
                tooltip="Rows for a trainer"),
        Binding("right_square_bracket", "part('handoff')", "Hand-off", key_display="]", id="parts.handoff",
                tooltip="A job for other machines: estimate, pack, send, merge"),
        Binding("left,h", "part('export')", "Export", show=False, id="parts.left", tooltip="The one on the left"),
        Binding("right,l", "part('handoff')", "Hand-off", show=False, id="parts.right", tooltip="The one on the right"),
        Binding("X", "cancel_job", "Cancel", show=False, id="parts.cancel", tooltip="Cancel the job that is at work"),
        Binding("escape", "leave", "Runs", show=False, id="parts.leave", tooltip="Back to the runs"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._part = "export"

    def compose(self) -> ComposeResult:
        yield TitleBar("export", self.ui.store.name)
        with Horizontal(id="parts"):
            yield Static("", id="tabs")
            yield Static("[ and ] change between them", id="tabs-hint", markup=False)
        yield ExportPart()
        yield HandoffPart()
        yield Static("", id="jobs", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        self.query_one("#jobs").display = False
        self.action_part("export")

    def on_screen_resume(self) -> None:
        self._look_back()

    def look(self) -> None:
        super().look()
        if self._part == "export":
            self.query_one(ExportPart).look()

    def jobs_moved(self) -> None:
        self.query_one(ExportPart).job_moved(self.jobs.get(EXPORT))
        self.query_one(HandoffPart).show_step()

    def shows(self, job: JobView) -> bool:
        return job.state == "running"

    def job_line(self, job: JobView) -> Content:
        if job.key == EXPORT and job.state == "running":
            return export_words.at_work(job, self.query_one(ExportPart).begun_with)
        return super().job_line(job)

    def loss(self, job: JobView) -> str:
        return {
            "handoff merge": "What is merged stays; merging again completes it.",
            "handoff submit": "What was copied stays there.",
            "handoff fetch": "What is here stays.",
        }.get(job.key, super().loss(job))

    def _tell(self, job: JobView) -> None:
        super()._tell(job)
        if job.key in {EXPORT, "handoff merge"}:
            self._look_back()

    def refused(self, group: str, error: LocalsynthError) -> None:
        if group in {"past", "row"}:
            self.query_one(ExportPart).refused(error)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        # The footer names the part that is not on the screen.
        return action != "part" or parameters != (self._part,)

    def action_part(self, part: str) -> None:
        """Show one part."""
        self._part = part
        self.refresh_bindings()
        for each in _PARTS:
            self.query_one(f"#{each}-part").display = each == part
        self.query_one(f"#{part}-form", FormList).focus()
        labels = [f"‹{_TABS[each]}›" if each == part else f" {_TABS[each]} " for each in _PARTS]
        marked = [
            Content.from_markup(f"[@click=screen.part('{each}')]{label}[/]")
            for each, label in zip(_PARTS, labels, strict=True)
        ]
        self.query_one("#tabs", Static).update(Content.assemble(" ", *marked))

    def action_leave(self) -> None:
        self.app.switch_mode("runs")

    def _look_back(self) -> None:
        self.ask("past", partial(export_view.past, self.ui.store), self._take_past)

    def _take_past(self, past: Past) -> None:
        self.query_one(ExportPart).show_past(past)
        self.query_one(HandoffPart).show_runs(past.runs)
        self.ask("judged", partial(export_view.not_judged, self.ui.store), self._take_not_judged)

    def _take_not_judged(self, count: int) -> None:
        if count:
            self.ui.say(
                f"Not judged by the thresholds that the card names: {number(count)} rows. 5, then enter, does it."
            )
