"""The export screen's texts: a row, how an export stands and how it ended, what was exported before."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from localsynth.printable import one_line, printable
from localsynth.store import RunRow
from localsynth.store.rows import ExportRow
from localsynth.tui.export_view import Preview
from localsynth.tui.jobs import JobView
from localsynth.tui.wording import duration, moment, number, progress_bar


def row(preview: Preview, most: int) -> Content:
    """One row as it will be written; what is beyond `most` characters is only counted."""
    if preview.sample is None:
        return Content("No row is chosen: there is no run yet, or nothing is kept, or the choice is too narrow.")
    if preview.fault:
        return Content.assemble((f"✗ {printable(preview.fault, most)}\n", "$text-error"), printable(preview.hint, most))
    cut = len(preview.line) - most
    more = [(f"\n... and {number(cut)} more characters of this row", "$text-muted")] if cut > 0 else []
    return Content.assemble(printable(preview.line[:most]), *more)


def at_work(job: JobView, total: int | None) -> Content:
    """How far an export is. `total`: the rows that there were when it began, where that is known."""
    done = job.progress.get("rows", 0)
    if not total or not isinstance(done, int) or not done:
        said = f"{number(done)} rows" if isinstance(done, int) and done else "starting"
        return Content.assemble((one_line(job.title, 60), "bold"), f" {said} ({duration(job.seconds)}, X cancels)")
    full, empty = progress_bar(min(done, total), total, 16)
    left = max(0, total - done) * job.seconds / done
    return Content.assemble(
        (one_line(job.title, 60), "bold"), " ", (full, "$text-success"), (empty, "$text-muted"),
        f" {number(done)} of {number(total)} rows, {duration(left)} left (X cancels)",
    )  # fmt: skip


def result(job: JobView | None) -> Content:
    """How an export ended; "" while there is none that has."""
    if job is None or job.state == "running":
        return Content("")
    if job.state == "failed":
        return Content.assemble((f"✗ {one_line(job.error, 400)}\n", "$text-error"), one_line(job.hint, 400))
    if job.state == "cancelled":
        return Content("The export was cancelled; nothing of it is left.")
    found = job.result
    files = found.get("files") or [found.get("path")]
    parts = f" in {len(files)} files" if len(files) > 1 else ""
    lines = [
        f"{number(found['count'])} rows{parts} in {duration(max(1, job.seconds))}",
        f"file   {found['path']}",
        f"card   {found['card']}",
        f"sha256 {found['sha256']}",
    ]
    return Content.assemble((f"✓ {lines[0]}\n", "bold"), printable("\n".join(lines[1:])))


def exports(rows: Sequence[ExportRow]) -> Content:
    """What was exported before, newest first."""
    lines = [f"{moment(each.created)}  {number(each.count)}  {each.format}  {each.path}" for each in rows]
    return Content(printable("\n".join(lines) or "None from this store yet."))


def run_name(run: RunRow) -> str:
    """A run as one line of a choice."""
    name = f" {run.name}" if run.name else ""
    return one_line(f"run {run.number}{name}: {run.method}, {run.model or 'starter'}", 60)
