"""How the values of one score lie, with the bounds of its threshold: kept bars are solid, rejected ones are shaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from textual.content import Content

from localsynth.printable import fit
from localsynth.tui.widgets.columns import columns
from localsynth.tui.wording import number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from localsynth.config.thresholds import Threshold
    from localsynth.engine.tally import Axis, Table

Side = Literal["low", "high"]
_FEW = 12  # bins at least; more of them where there are more rows, or each would hold one or none


@dataclass(frozen=True)
class Histogram:
    """What is drawn. `side`: the bound that the keys move; `log`: the heights are logarithms."""

    table: Table
    name: str
    bounds: Threshold
    side: Side
    log: bool


def histogram(shown: Histogram, width: int, height: int) -> Content:
    """Columns over an axis with both bounds on it, and under it what the axis spans."""
    axis = shown.table.axis(shown.name)
    rows = sum(len(each.value) for each in shown.table.values(shown.name))
    edges = _edges(axis, min(width, max(_FEW, 2 * math.isqrt(rows))))
    counts = shown.table.histogram(shown.name, edges).tolist()
    low, high = shown.bounds.low, shown.bounds.high
    middles = ((edges[1:] + edges[:-1]) / 2).tolist()
    outside = [(low is not None and at < low) or (high is not None and at > high) for at in middles]
    heights = [(math.log1p(count) if shown.log else float(count)) if count else None for count in counts]
    places = [column * len(counts) // width for column in range(width)]  # the bin of each column
    top = max((value for value in heights if value), default=1.0)
    drawn = columns([heights[at] for at in places], top, max(1, height - 2))
    marks: dict[Side, int] = {}
    if low is not None:
        marks["low"] = places.index(_bin(edges.tolist(), low))
    if high is not None:
        marks["high"] = width - 1 - places[::-1].index(_bin(edges.tolist(), high))
    focus = marks.get(shown.side)
    shaded = [outside[at] for at in places]
    lines = [_line(line, shaded, tuple(marks.values()), focus) for line in drawn]
    ruler = ["─"] * width
    for at in marks.values():
        ruler[at] = "▲" if at == focus else "△"
    lines += [Content("".join(ruler)), Content.styled(_ends(axis, counts, width, log=shown.log), "dim")]
    return Content("\n").join(lines)


def bars(reasons: Sequence[tuple[str, int]], width: int, height: int) -> Content:
    """The commonest reasons of a rule that has no value, as horizontal bars."""
    most = max((count for _, count in reasons), default=1)
    digits = max((len(number(count)) for _, count in reasons), default=1)
    label = max(12, min(40, width // 2))
    room = max(1, width - label - digits - 2)
    lines = []
    for reason, count in reasons[:height]:
        bar = "█" * max(1, round(room * count / most))
        lines.append(f"{number(count):>{digits}} {fit(reason or '(no reason)', label)} {bar}")
    return Content("\n".join(lines))


def _edges(axis: Axis, most: int) -> NDArray[np.float64]:
    """Edges of up to `most` bins. Whole numbers get bins of whole numbers."""
    import numpy as np

    if axis.whole:
        span = int(axis.high - axis.low) + 1
        unit = -(-span // most)
        return axis.low - 0.5 + unit * np.arange(-(-span // unit) + 1, dtype=np.float64)
    return np.linspace(axis.low, axis.high, most + 1)


def _bin(edges: list[float], bound: float) -> int:
    """The bin in which a bound lies; the nearest one where it is beyond the axis."""
    return next((at for at, right in enumerate(edges[1:]) if bound < right), len(edges) - 2)


def _line(line: str, outside: Sequence[bool], marks: Sequence[int], focus: int | None) -> Content:
    """One line of the columns. The empty cells over a bound show it; shades tell what is rejected without colour."""
    parts: list[tuple[str, str]] = []
    for at, (block, out) in enumerate(zip(line, outside, strict=True)):
        if block != " ":
            parts.append(("░" if out else block, "$text-error" if out else "$text-primary"))
        elif at == focus:
            parts.append(("│", "bold"))
        else:
            parts.append(("┊" if at in marks else " ", "dim"))
    return Content.assemble(*parts)


def _ends(axis: Axis, counts: Sequence[int], width: int, *, log: bool) -> str:
    """What the axis spans; an arrow where the last column holds what lies beyond, too."""
    left = f"{'‹' if axis.least < axis.low else ''}{axis.low:.4g}"
    right = f"{axis.high:.4g}{f' (to {axis.most:.4g}) ›' if axis.most > axis.high else ''}"
    most = f"tallest: {number(max(counts, default=0))}{', heights are logarithms' if log else ''}"
    room = width - len(left) - len(right)
    return left + (f"{most:^{room}}" if len(most) + 2 <= room else " " * max(1, room)) + right
