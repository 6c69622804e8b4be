"""How a run's progress is drawn on a terminal. Model text is shown as plain characters, never as markup."""

from __future__ import annotations

from rich.console import ConsoleDimensions, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from localsynth.events import Progress
from localsynth.printable import fit, one_line, printable
from localsynth.store.rows import RunRow


def panel(row: RunRow, progress: Progress | None, note: str, size: ConsoleDimensions) -> RenderableType:
    """The live panel; it fits a terminal of 80 x 24."""
    title = Text(f"run {row.number}: {one_line(row.model or 'starting', 40)}")
    if progress is None:
        return Panel(Text("loading the model …", style="dim"), title=title, title_align="left")
    width = max(40, size.width - 6)
    parts: list[RenderableType] = [_bar(progress, width), Text(), _figures(progress), Text()]
    rejected = sorted(progress.rejected.items(), key=lambda item: -item[1])[:6]
    if rejected:
        line = ", ".join(f"{rule_name(rule)} {count}" for rule, count in rejected)
        parts += [Text(f"rejected  {fit(line, width - 10).rstrip()}", style="yellow"), Text()]
    if progress.last_instruction:
        parts += [
            Text.assemble(("last kept  ", "bold"), fit(progress.last_instruction, width - 11)),
            Text("           " + fit(progress.last_response, width - 11), style="dim"),
        ]
    if progress.state == "running" and progress.live and size.height >= 22:
        tail = printable(progress.live)[-(2 * width) :].replace("\n", " ")
        parts += [Text(), Text("writing …  " + tail[-(width - 11) :], style="cyan", no_wrap=True)]
    if note or progress.note:
        parts += [Text(), Text(printable(note or progress.note), style="bold yellow")]
    return Panel(Group(*parts), title=title, title_align="left", border_style="blue")


def status_line(row: RunRow, progress: Progress | None) -> str:
    """The same on one line, for logs and pipes."""
    if progress is None:
        return f"run {row.number}: {row.state}, loading the model"
    rejected = sum(progress.rejected.values())
    return (
        f"run {row.number}: {progress.state}, {progress.kept}/{progress.target} kept, {rejected} rejected, "
        f"{progress.tokens_per_second:.0f} tokens/s, {progress.tokens_saved} tokens saved by the gate, {eta(progress)}"
    )


def eta(progress: Progress) -> str:
    """The time left as a range."""
    if progress.kept >= progress.target or progress.state not in {"running", "draining", "paused"}:
        return f"took {duration(progress.elapsed)}"
    if progress.eta_low is None or progress.eta_high is None:
        return "time left not known yet"
    return f"{duration(progress.eta_low)} to {duration(progress.eta_high)} left"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
    return f"{seconds // 3600:.0f} h {seconds % 3600 / 60:.0f} min"


def rule_name(rule: str) -> str:
    """A score's name as a person reads it: `instruction.too_short` is "question too short"."""
    part, _, name = rule.rpartition(".")
    side = {"instruction": "question", "": ""}.get(part, part.replace("_", " "))
    # A store that was made elsewhere may name its scores as it likes.
    return one_line(f"{side} {name.replace('_', ' ')}".strip(), 60)


def _bar(progress: Progress, width: int) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    done = f"{progress.kept} of {progress.target} kept"
    grid.add_row(ProgressBar(progress.target, progress.kept, width=max(10, width - 50)), done, eta(progress))
    return grid


def _figures(progress: Progress) -> RenderableType:
    grid = Table.grid(padding=(0, 3))
    duplicates = "" if progress.duplicate_rate is None else f"{progress.duplicate_rate:.0%} duplicates"
    grid.add_row(
        f"{progress.asked} asked",
        f"{sum(progress.rejected.values())} rejected",
        f"{progress.failed} failed",
        f"{progress.slots_used}/{progress.slots} slots",
    )
    grid.add_row(
        f"{progress.tokens_per_second:.0f} tokens/s",
        f"{progress.tokens_saved} tokens saved",
        duplicates,
        progress.state,
    )
    return grid
