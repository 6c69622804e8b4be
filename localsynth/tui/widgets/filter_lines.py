"""The lines of the filters screen: what would be kept, the threshold in hand, and a preset in the list of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from textual.content import Content

from localsynth.config.thresholds import Threshold
from localsynth.filters.presets import Preset
from localsynth.printable import one_line
from localsynth.tui.widgets.histogram import Side
from localsynth.tui.wording import duration, number

if TYPE_CHECKING:
    from localsynth.tui.judging import JudgingScreen

WELCOME = (
    "There is no score in this store yet.\n\n"
    "A run writes them with its rows: press 1, then n, to make one. `localsynth import` brings rows without scores."
)


def status(screen: JudgingScreen) -> Content:
    """What is kept, what would be, and how far a long job is."""
    told, (done, total), (read, all_) = screen.foretold, screen.judging, screen.reading
    parts: list[str | tuple[str, str]] = []
    if told is not None:
        parts += [(f"{number(told.now.kept)} of {number(told.now.done)} kept", "bold")]
        if screen.drafts:
            change = told.then.kept - told.now.kept
            parts += ["  moved: ", (f"{number(told.then.kept)} ({change:+,})", "bold")]
            parts += [(f"  {number(told.unanswered)} without an answer", "$text-warning")] if told.unanswered else []
    if total:
        left = screen.left
        eta = f", {duration(left)} left" if left is not None else ""
        parts.append((f"  applying {100 * done // total} %{eta}", "$text-warning"))
    elif all_:
        parts.append(f"  reading {100 * read // all_} %")
    elif screen.table.waiting or (told is not None and told.strays):
        parts.append(("  not all rows are judged: enter does it", "$text-warning"))
    return Content.assemble(*parts)


def about(name: str, screen: JudgingScreen, side: Side, *, ready: bool) -> Content:
    """The score with how many rows it rejects, its two bounds with the one that moves, and what is in force."""
    table, bounds, moved = screen.table, screen.bounds(name), name in screen.drafts
    rejects = screen.foretold.then.rejected.get(name) if screen.foretold is not None else None
    count = "" if rejects is None else f"  {'would reject' if moved else 'rejects'} {number(rejects)}"
    title = (one_line(name, 60), "bold")
    if name not in table.measures:
        return Content.assemble(title, count, "\na rule without a value; its reasons:")
    if not ready:
        return Content.assemble(title, "\nreading its values ...")
    parts: list[str | tuple[str, str]] = [title, count, "\n"]
    for each in ("low", "high"):
        bound = getattr(bounds, each)
        text = f"{each} {'none' if bound is None else f'{bound:.6g}'}"
        parts.append((f"[{text}]", "bold") if each == side else (f" {text} ", ""))
    told = moved or table.differs(name)
    parts.append((f"  in force: {table.force_words(name)}" if told else "  in force" * (not bounds.open), "dim"))
    return Content.assemble(*parts)


def preset(each: Preset) -> str:
    """A preset in one line."""
    bounds = ", ".join(f"{name} {bounds.words()}" for name, bounds in each.thresholds.items())
    return f"{each.title}: {bounds}"


def fault(text: str, bounds: Threshold, side: Side) -> str:
    """What is wrong with a typed bound, "" for nothing."""
    if not text.strip():
        return ""
    try:
        value = float(text)
    except ValueError:
        return "Type a number, such as 3 or 0.975."
    if not math.isfinite(value):
        return "Type a finite number."
    if side == "low" and bounds.high is not None and value > bounds.high:
        return f"It is above the high bound, {bounds.high:.6g}."
    if side == "high" and bounds.low is not None and value < bounds.low:
        return f"It is below the low bound, {bounds.low:.6g}."
    return ""
