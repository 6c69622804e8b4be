"""An estimate in words: for the command line and the terminal UI."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from localsynth.printable import one_line


def estimate_lines(found: Mapping[str, Any], width: int) -> Iterator[str]:
    """What `localsynth estimate --json` prints, in lines: what was measured, the machines, what to think of it."""
    yield from _calibrated(found)
    here = found["here"]
    yield f"{'machine':<16} {'time':>7}  {'range':<18}  {'speed':<12}  cost"
    yield _row(f"here, {here['slots']} slot{'s' if here['slots'] != 1 else ''}", here["hours"], None, "measured now")
    for gpu in found["gpus"]:
        speed = "measured" if gpu["measured"] else "scaled"
        yield _row(f"{gpu['count']} x {gpu['gpu']}", gpu["hours"], gpu["cost"], speed)
    for remark in _remarks(found):
        yield from textwrap.wrap(remark, width, initial_indent="- ", subsequent_indent="  ")


def _calibrated(found: Mapping[str, Any]) -> Iterator[str]:
    size, seen, share = found["parameters"], found["calibration"], found["kept_share"]
    about = f", {size:.3g} B parameters" if size else ""
    yield f"{found['pairs']:,} pairs with {one_line(seen['model'], 40)}{about}"
    yield (
        f"calibrated for {seen['seconds']:.0f} s: {seen['asked']} questions, {seen['kept']} pairs kept, "
        f"by {seen['backend']}"
    )
    low, middle, high = found["tokens_per_pair"]
    yield f"a kept pair takes {middle:.0f} tokens ({low:.0f} to {high:.0f}); {share:.0%} of questions get there"
    speeds = ", ".join(f"{each['tokens_per_second']:.0f} at {each['slots']}" for each in seen["speeds"])
    yield f"tokens/s by slots: {speeds}"
    yield ""


def _row(machine: str, hours: Sequence[float], cost: Sequence[float] | None, speed: str) -> str:
    between = f"{_time(hours[0])} to {_time(hours[2])}"
    paid = "" if cost is None else f"${_money(cost[1])} ({_money(cost[0])} to {_money(cost[2])})"
    return f"{machine:<16} {_time(hours[1]):>7}  {between:<18}  {speed:<12}  {paid}".rstrip()


def _remarks(found: Mapping[str, Any]) -> Iterator[str]:
    slowdown, gpus = found["calibration"]["slowdown"], found["gpus"]
    if found["assumed"]:
        assumed = ", ".join(found["assumed"])
        yield f"assumed, as too few ended in that time: {assumed}; --seconds 300 measures more"
    if slowdown is not None:
        yield (
            f"the same work was {slowdown:.0%} slower at the end than at the beginning: the machine throttles, "
            "or something else keeps it busy; a long run will be nearer to the upper end"
        )
    for how in dict.fromkeys(gpu["how"] for gpu in gpus):
        names = ", ".join(f"{gpu['count']} x {gpu['gpu']}" for gpu in gpus if gpu["how"] == how)
        yield f"{names}: {how}"
    if not gpus:
        yield "no GPU is estimated: name the model's size with --parameters (billions)"


def _time(hours: float) -> str:
    """In at most seven characters."""
    for size, unit in ((1 / 60, "s"), (1, "min"), (48, "h")):
        if hours < size:
            value = hours * {"s": 3600, "min": 60, "h": 1}[unit]
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{hours / 24:,.0f} d"


def _money(dollars: float) -> str:
    return f"{dollars:,.2f}" if dollars < 10 else f"{dollars:,.0f}"
