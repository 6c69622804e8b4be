"""The charts of the monitor: how a run went from its first second to now, and what was rejected by which rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from textual.content import Content

from localsynth.printable import fit
from localsynth.tui.history import by_rule
from localsynth.tui.watching import Watched
from localsynth.tui.widgets.columns import columns
from localsynth.tui.wording import duration, number, percent, rule_label

_HEAD = 20  # cells before a chart: its name and its figure
_ALARM = 0.5  # a share of duplicates that fills its chart

_KEPT, _TOKENS, _SAVED = attrgetter("kept"), attrgetter("tokens"), attrgetter("tokens_saved")
_SLOTS, _COMPARED, _DUPLICATES = attrgetter("slot_seconds"), attrgetter("compared"), attrgetter("duplicates")
_ASKED = attrgetter("asked")


@dataclass(frozen=True, slots=True)
class _Trend:
    name: str
    figure: str
    values: Sequence[float | None]
    top: float
    most: str


def trends(watched: Watched, width: int, height: int) -> Content:
    """Five charts under each other over the time at work; with room each is several lines high and says its scale."""
    found = _trends(watched, max(1, width - _HEAD))
    room = max(1, (height - 1) // len(found))
    parts: list[str | tuple[str, str]] = []
    for trend in found:
        for line, drawn in enumerate(columns(trend.values, trend.top, room)):
            if line == 0:
                parts += [(trend.name, "dim"), (f"{trend.figure:>{_HEAD - 1 - len(trend.name)}} ", "bold")]
            else:
                parts.append((f"{trend.most if line == 1 else '':>{_HEAD - 1}} ", "dim"))
            parts += [(drawn, "$text-primary"), "\n"]
    seconds = watched.history.seconds
    start, end = ("start", duration(seconds)) if seconds else ("", "no history")
    parts.append((f"{'':<{_HEAD}}{start:<6}{end:>{max(0, width - _HEAD - 6)}}", "dim"))
    return Content.assemble(*parts)


def _trends(watched: Watched, width: int) -> tuple[_Trend, ...]:
    view, history = watched.view, watched.history
    last, progress = history.last, view.progress
    kept = [None if rate is None else 60 * rate for rate in history.rates(_KEPT, width)]
    tokens, slots = history.rates(_TOKENS, width), history.rates(_SLOTS, width)
    saved = history.rates(_SAVED, width)
    duplicates = history.shares(_DUPLICATES, _COMPARED, width)
    seconds = history.seconds
    used = f"{progress.slots_used} of {progress.slots}"
    if not view.live:
        used = f"{last.slot_seconds / seconds:.0f} of {last.slots}" if seconds else "-"
    rate = progress.duplicate_rate
    minute = (_latest(kept) if view.live else 60 * last.kept / seconds) if seconds else None
    return (
        _peak("kept/min", "-" if minute is None else _figure(minute), kept),
        _peak("tokens/s", _figure(view.rate) if view.rate else "-", tokens),
        _Trend("slots", used, slots, max(last.slots, 1), f"top is {last.slots}"),
        _peak("saved", number(last.tokens_saved or progress.tokens_saved), saved, "tokens/s"),
        _Trend("duplicates", "-" if rate is None else percent(rate), duplicates, *_scale(duplicates)),
    )


def _peak(name: str, figure: str, values: Sequence[float | None], unit: str = "") -> _Trend:
    top = max((value for value in values if value is not None), default=0.0)
    return _Trend(name, figure, values, top, f"peak {_figure(top)} {unit}".rstrip() if top else "")


def _scale(shares: Sequence[float | None]) -> tuple[float, str]:
    top = max([_ALARM, *(share for share in shares if share is not None)])
    return top, f"top is {percent(top)}"


def _latest(values: Sequence[float | None]) -> float | None:
    return next((value for value in reversed(values) if value is not None), None)


def _figure(value: float) -> str:
    return f"{value:.1f}" if value < 10 else number(value)


def rules(watched: Watched, width: int, height: int) -> Content:
    """Rejections by rule, the most frequent first: how many, which share of what was asked, and the trend of it."""
    progress, history = watched.view.progress, watched.history
    counted = sorted(progress.rejected.items(), key=lambda item: (-item[1], item[0]))
    rejected = sum(progress.rejected.values())
    if not rejected:
        return Content.assemble(("nothing rejected so far" if watched.view.live else "nothing rejected", "dim"))
    of = f", {percent(rejected / progress.asked)} of {number(progress.asked)} asked" if progress.asked else ""
    parts: list[str | tuple[str, str]] = [(f"{number(rejected)} rejected{of}\n", "bold")]
    named = min(26, max(14, width - 28))
    chart = width - named - 14
    room = height - 1 if len(counted) < height else height - 2
    lines = [history.shares(by_rule(rule), _ASKED, max(1, chart)) for rule, _ in counted[:room]]
    top = max((share for line in lines for share in line if share is not None), default=0.0)
    for (rule, count), line in zip(counted[:room], lines, strict=True):
        share = percent(count / progress.asked) if progress.asked else ""
        parts.append(f"{fit(rule_label(rule), named)}{number(count):>7}{share:>6} ")
        parts += [(columns(line, top)[0] if chart > 0 else "", "$text-warning"), "\n"]
    if rest := counted[room:]:
        count = sum(count for _, count in rest)
        share = percent(count / progress.asked) if progress.asked else ""
        parts.append((f"{fit(f'{len(rest)} more rules', named)}{number(count):>7}{share:>6}", "dim"))
    return Content.assemble(*parts)
