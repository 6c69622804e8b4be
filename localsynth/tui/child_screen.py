"""The base of the screens that start jobs: they show how far these are, cancel them, and tell their end once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from textual.content import Content
from textual.widgets import Static

from localsynth.errors import LocalsynthError
from localsynth.tui.asking import AskingScreen
from localsynth.tui.jobs import JobView
from localsynth.tui.model_words import job_words
from localsynth.tui.screens.confirm import Confirm

_SHOWN = 2  # jobs that have room on the screen


class ChildScreen(AskingScreen):
    """Shows the jobs in its `#jobs`."""

    PERIOD = 0.5

    def __init__(self) -> None:
        super().__init__()
        self.jobs: Mapping[str, JobView] = {}

    def look(self) -> None:
        self.ask("jobs", self.ui.jobs.views, self._show_jobs, patient=True)

    def jobs_moved(self) -> None:
        """Called when the jobs were looked at and something has changed."""

    def job_ended(self) -> None:
        """Called once for each job that has ended."""

    def shows(self, job: JobView) -> bool:  # noqa: ARG002 - a screen may show how its own jobs ended in another place
        """Whether a job has a line."""
        return True

    def job_line(self, job: JobView) -> Content:
        """A job in one or two lines."""
        return job_words(job)

    def loss(self, job: JobView) -> str:
        """What becomes of what a job has done when it is cancelled now."""
        return "What was fetched stays." if job.key.startswith("pull ") else "Nothing is kept of it."

    def start_job(
        self, key: str, title: str, arguments: Sequence[str], *, text: str = "", outlives: bool = False
    ) -> None:
        """Start one, and show it."""
        start = partial(self.ui.jobs.start, key, title, arguments, text=text, outlives=outlives)
        self.ask("job", start, lambda _: self.ask("jobs", self.ui.jobs.views, self._show_jobs), writes=title)

    def action_cancel_job(self) -> None:
        running = [job for job in self.jobs.values() if job.state == "running"]
        if not running:
            self.ui.say("No job is at work.")
            return
        job = running[-1]
        question = f"Cancel: {job.title}? {self.loss(job)}"
        self.app.push_screen(Confirm(question, "Cancel it"), partial(self._cancel, job.key))

    def _cancel(self, key: str, sure: bool | None) -> None:
        if sure:
            self.ui.jobs.cancel(key)
            self.look()

    def _show_jobs(self, views: dict[str, JobView]) -> None:
        changed = views != self.jobs
        self.jobs = views
        if changed:
            recent = sorted(filter(self.shows, views.values()), key=lambda job: job.state == "running")[-_SHOWN:]
            box = self.query_one("#jobs", Static)
            box.update(Content("\n").join(map(self.job_line, recent)))
            box.display = bool(recent)
            self.jobs_moved()
        for job in views.values():
            if job.state != "running" and self.ui.jobs.tell(job.key):
                self._tell(job)

    def _tell(self, job: JobView) -> None:
        if job.state == "failed":
            self.ui.complain(LocalsynthError(f"{job.title}: {job.error}", job.hint))
        elif job.state == "done":
            self.ui.say(f"{job.title}: done.")
        self.job_ended()
