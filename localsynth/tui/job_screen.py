"""The base of the screens that fetch and check models: they start jobs, show how far they are, and tell their end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from textual.content import Content
from textual.widgets import Static

from localsynth import paths
from localsynth.errors import LocalsynthError
from localsynth.tui.asking import AskingScreen
from localsynth.tui.jobs import JobView
from localsynth.tui.model_words import job_words, size
from localsynth.tui.screens.confirm import Confirm
from localsynth.tui.stock import Line, Stock, take_stock

_SHOWN = 2  # jobs that have room on the screen


class JobScreen(AskingScreen):
    """Shows the jobs in its `#jobs`. `stock` is what there is, None until it was looked at."""

    PERIOD = 0.5

    def __init__(self) -> None:
        super().__init__()
        self.stock: Stock | None = None
        self.jobs: Mapping[str, JobView] = {}

    def look(self) -> None:
        self.ask("jobs", self.ui.jobs.views, self._show_jobs, patient=True)
        if self.stock is None:
            self.take_stock()

    def on_screen_resume(self) -> None:
        if self.stock is not None:
            self.take_stock()
        super().on_screen_resume()

    def take_stock(self) -> None:
        """Look again at what there is."""
        self.ask("stock", take_stock, self._take)

    def jobs_moved(self) -> None:
        """Called when the jobs were looked at and something has changed."""

    def stock_taken(self) -> None:
        """Called when `stock` is fresh."""

    def job_ended(self) -> None:
        """Called once for each job that has ended."""

    def pull(self, line: Line) -> None:
        """Fetch a model, or the rest of it, after asking."""
        if line.here or not line.pullable:
            self.ui.say(f"{line.name} is here already." if line.here else f"Nothing is known to fetch for {line.name}.")
        elif line.entry is not None and line.entry.partial is not None:
            self._pull(line.name, sure=True)
        else:
            weights = size(max(0.0, line.memory - 0.3) / 1.2 * 1e9)
            licence = f", licence {line.card.licence}" if line.card else ""
            room = "" if line.fits else " It does not fit this machine's memory."
            question = f"Fetch {line.name}, about {weights}{licence}?{room} It goes on when you leave the UI."
            self.app.push_screen(Confirm(question, "Fetch"), lambda sure: self._pull(line.name, sure=bool(sure)))

    def check(self, name: str, how: Sequence[str] = ()) -> None:
        """Have the doctor look at a model; `how` are its options."""
        self.start_job(f"doctor {name}", f"Doctor of {name}", ["doctor", *([name] if name else []), *how])
        self.ui.say(
            "The doctor asks for 64 questions: a minute with a small model, many with a large one on a laptop. "
            "X cancels it; it ends with the UI."
        )

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
        said = "What was fetched stays." if job.key.startswith("pull ") else "Nothing is kept of it."
        self.app.push_screen(Confirm(f"Cancel: {job.title}? {said}", "Cancel it"), partial(self._cancel, job.key))

    def remove_model(self, line: Line) -> None:
        """Delete what localsynth has of a model, after asking."""
        entry = line.entry
        if entry is None:
            self.ui.say("A server is not removed here.")
            return
        from localsynth.catalog.shelf import disk_size, refuse_removal

        try:
            refuse_removal(entry)
        except LocalsynthError as error:
            self.ui.complain(error)
            return
        places = ", ".join(str(path.relative_to(paths.models_dir())) for path in entry.ours)
        freed = size(sum(map(disk_size, entry.ours)))
        question = f"Remove {line.name} ({places}) and free {freed}? Runs that use it cannot go on without it."
        self.app.push_screen(Confirm(question, "Remove"), partial(self._remove, line))

    def _remove(self, line: Line, sure: bool | None) -> None:
        from localsynth.catalog.shelf import remove

        if sure and line.entry is not None:

            def then(freed: int) -> None:
                self.ui.say(f"{line.name} is removed: {size(freed)} are free again.")
                self.take_stock()

            self.ask("remove", partial(remove, line.entry), then, writes=f"the removal of {line.name}")

    def _pull(self, name: str, *, sure: bool) -> None:
        if sure:
            self.start_job(f"pull {name}", f"Fetching {name}", ["models", "pull", name], outlives=True)

    def _cancel(self, key: str, sure: bool | None) -> None:
        if sure:
            self.ui.jobs.cancel(key)
            self.look()

    def _take(self, stock: Stock) -> None:
        self.stock = stock
        self.stock_taken()

    def _show_jobs(self, views: dict[str, JobView]) -> None:
        changed = views != self.jobs
        self.jobs = views
        if changed:
            recent = sorted(views.values(), key=lambda job: job.state == "running")[-_SHOWN:]
            box = self.query_one("#jobs", Static)
            box.update(Content("\n").join(map(job_words, recent)))
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
        self.take_stock()
