"""The lines above and below the map."""

from __future__ import annotations

from textual.content import Content

from localsynth.embedding.coverage import NEAR
from localsynth.printable import one_line
from localsynth.tui.colouring import LETTERS, Colouring
from localsynth.tui.embedder import Cost, EmbedView
from localsynth.tui.gridding import SHADES, Grid, limits
from localsynth.tui.points import Points
from localsynth.tui.surveying import Comparison, Coverage, Survey
from localsynth.tui.widgets.scatter import COLOURS, UNDER, Look
from localsynth.tui.wording import duration, number


def status(survey: Survey, points: Points | None, shown: int, run: str | None, zoom: float) -> Content:
    """Which rows are shown, by which encoder, and how near."""
    row = survey.run(run)
    scope = "all runs" if row is None else f"run {row.number}"
    if points is None:
        return Content.assemble((scope, "bold"))
    others = [name for name in survey.encoders if name != points.encoder]
    parts = [
        f"{number(shown)} rows by {one_line(points.encoder, 40)}" + ("" if points.whole else ", reading on"),
        f"{number(sum(survey.encoders[name] for name in others))} by {', '.join(others)} (m)" if others else "",
        f"{number(survey.bare)} without (e)" if survey.bare else "",
        f"{number(points.left_out)} unusable" if points.left_out else "",
        f"zoom {zoom:.3g}x" if zoom > 1.01 else "",
    ]
    return Content.assemble((scope, "bold"), "  ", one_line("; ".join(filter(None, parts)), 300))


def work(view: EmbedView | None) -> Content:
    """How the embedding goes on, or why it ended."""
    if view is None:
        return Content("")
    if view.trouble:
        return Content.assemble((f"{view.title} failed: ", "bold $text-error"), one_line(view.trouble, 400))
    figures = f"{number(view.done)} of {number(view.total)} rows" if view.total else "starting"
    left = f", {duration(view.left)} left" if view.left is not None else ""
    return Content.assemble((f"{view.title}: ", "bold"), f"{figures}{left}  (e ends it; what is done stays)")


def legend(
    look: Look, grid: Grid | None, colouring: Colouring | None, only: int | None, other: Comparison | None
) -> Content:
    """What the signs and colours mean."""
    parts: list[str | tuple[str, str]] = []
    if look == "density" and grid is not None:
        steps = limits(int(grid.counts.max(initial=0)))
        shades = [f"{SHADES[at]} {number(step)}+" for at, step in enumerate(steps)]
        parts.append(("rows a cell  ", "dim"))
        parts.append("  ".join(shades) or "none in view")
    if colouring is not None:
        parts.append((f"{'  ' if parts else ''}{one_line(colouring.what, 40)}  ", "dim"))
        for code, (name, count) in enumerate(zip(colouring.names, colouring.counts, strict=True)):
            here = only in {None, code}
            # The class that is shown alone stands in brackets, for a screen without colour.
            text = f"{LETTERS[code]} {one_line(name, 24)} ({number(count)})"
            parts.append((f"[{text}]" if only == code else text, COLOURS[code] if here else "dim"))
            parts.append("  ")
        if not colouring.names:
            parts.append("no row here has one")
    if other is not None:
        parts.append((f"{'  ' if parts else ''}{UNDER} only {one_line(other.label, 40)}  ", "$text-warning"))
        parts.append(("underlined: both", "$text-success"))
    return Content.assemble(*parts)


def coverage(figures: Coverage | None, other: Comparison, there: int) -> Content:
    """The figures of coverage, both ways."""
    name = one_line(other.label, 30)
    if figures is None:
        return Content(
            f"{name}: {number(there)} rows with a vector by this encoder" + ("" if there else ", e embeds them")
        )
    ours, theirs = figures.ours, figures.theirs
    return Content.assemble(
        (f"{number(figures.rows)} rows of each: ", "bold"),
        f"ours reach {_share(ours.cells)} of the cells of {name}, it reaches {_share(theirs.cells)} of ours; ",
        f"within cosine {NEAR:g} of the other set: {_share(ours.near)} of its rows, {_share(theirs.near)} of ours; ",
        f"median distance to the nearest: {ours.distance:.2f} for its rows, {theirs.distance:.2f} for ours",
    )


def question(cost: Cost, whose: str) -> str:
    """What embedding costs, asked before it starts."""
    why = f"{cost.missing[:1].upper()}{cost.missing[1:]}. " if cost.missing else ""
    how = "by their characters (char-2-4), which needs no model" if cost.missing else f"by {cost.name}"
    return (
        f"{why}{number(cost.rows)} rows of {whose} have no embedding. Embed them {how}? It takes about "
        f"{duration(cost.seconds)} of two cores in a process of its own; it can be ended and taken up at any time."
    )


def welcome(survey: Survey) -> str:
    """What to do where there is nothing to show."""
    if not survey.runs:
        return "No run yet: press 1, then n makes one. Rows of a data set: localsynth import FILE."
    if survey.bare:
        return (
            f"No row here has an embedding yet; {number(survey.bare)} rows could have one.\n\nPress e to compute them."
        )
    return "No row here has an embedding yet: the map fills while a run writes. r shows all runs."


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"
