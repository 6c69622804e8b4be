"""Figures as people read them."""

from __future__ import annotations

import math
from datetime import datetime

from localsynth.printable import printable

_DAYS = 48 * 60  # minutes from which days are counted


def number(value: float) -> str:
    """A whole number with its thousands apart."""
    return f"{round(value):,}"


def short(value: float) -> str:
    """A number in five cells: "9,999", "123k", "1.2M"."""
    if value < 9999.5:
        return number(value)
    return f"{value / 1000:.0f}k" if value < 999_500 else f"{value / 1e6:.1f}M"


def duration(seconds: float) -> str:
    """Seconds as "45 s", "3 min", "1 h 20 min" or "3 days 2 h"."""
    if seconds < 90:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    if minutes >= _DAYS:
        hours = round(minutes / 60)
        return f"{hours // 24} days {hours % 24} h"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def percent(share: float) -> str:
    """A share of one as "12 %"; what is more than nothing never reads as nothing."""
    return "< 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def rule_label(rule: str) -> str:
    """The rule of a score as people read it: "near duplicate", "answer cut off"."""
    part, _, name = rule.rpartition(".")
    return f"{'' if part == 'instruction' else part} {name}".replace("_", " ").strip()


def beginning(text: str, most: int, rest: str = "") -> str:
    """`printable`; what is beyond `most` characters is only counted, as a megabyte would hold up the screen.

    `rest`: how the others are to be seen.
    """
    left = len(text) - most
    return printable(text) if left <= 0 else f"{printable(text[:most])}\n... and {number(left)} more characters{rest}"


def span(low: float | None, high: float | None) -> str:
    """A range of durations, "" while it is unknown."""
    if low is None or high is None:
        return ""
    shortest, longest = duration(low), duration(high)
    return shortest if shortest == longest else f"{shortest} to {longest}"


def span_of(low: float | None, high: float | None) -> str:
    """The same range in nine cells at most: "40-90 s", "23-31 min", "2-9 days"."""
    if low is None or high is None:
        return ""
    units = ((90, 1, "s"), (5400, 60, "min"), (48 * 3600, 3600, "h"), (math.inf, 86400, "days"))
    size, name = next((size, name) for most, size, name in units if high < most)
    first, last = min(round(low / size), 999), min(round(high / size), 999)
    return f"{last} {name}" if first == last else f"{first}-{last} {name}"


def day(at: str | None, now: datetime | None = None) -> str:
    """A stored UTC time in six cells, on this machine's clock: "14:05" today, "20 Nov" this year, else "2025"."""
    try:
        local = datetime.fromisoformat(at or "").astimezone()
    except ValueError:
        return ""
    today = (now or datetime.now().astimezone()).date()
    if local.date() == today:
        return local.strftime("%H:%M")
    return local.strftime("%d %b" if local.year == today.year else "%Y")


def moment(at: str | None, now: datetime | None = None) -> str:
    """A stored UTC time on this machine's clock: the time today, with the date on another day, "" for none."""
    if not at:
        return ""
    try:
        local = datetime.fromisoformat(at).astimezone()
    except ValueError:
        return ""
    today = (now or datetime.now().astimezone()).date()
    return local.strftime("%H:%M" if local.date() == today else "%Y-%m-%d %H:%M")


def progress_bar(done: int, target: int, width: int) -> tuple[str, str]:
    """The full and the empty part of a progress bar, `width` cells together; told apart without colour."""
    share = min(1.0, done / target) if target > 0 else 0.0
    full = int(share * width)
    return "█" * full, "░" * (width - full)
