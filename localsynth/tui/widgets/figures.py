"""The parts of the monitor as text: head, bar, figures, rules, last pair, events. Nothing in them is markup."""

from __future__ import annotations

import json

from textual.content import Content

from localsynth.events import Progress
from localsynth.printable import one_line, printable
from localsynth.store import EventRow
from localsynth.tui.watching import RunView
from localsynth.tui.wording import duration, moment, number, progress_bar, span

_STYLES = {
    "running": "$text-success",
    "starting": "$text-success",
    "draining": "$text-warning",
    "paused": "$text-warning",
    "died": "$text-error",
    "failed": "$text-error",
}


def head(view: RunView) -> Content:
    """Which run, in which state, and what can be done about it."""
    row = view.row
    named = f" {one_line(row.name, 30)}" if row.name else ""
    text = Content.assemble(
        (f"Run {row.number}{named}", "bold"),
        "  ",
        (view.state, f"bold {_STYLES.get(view.state, '$text')}"),
        (f"  {one_line(row.model, 40) or 'starter'}", "dim"),
        (f"  since {moment(row.started)}" if row.started else "", "dim"),
    )
    advice = {
        "died": "Its process is gone; nothing that was stored is lost. Press s to go on.",
        "failed": "Press s to try again.",
        "stopped": "Press s to go on.",
        "created": "It was never started: press s.",
        "starting": "Its model is being loaded.",
    }.get(view.state)
    if advice is None:
        return text
    trouble = f" {one_line(view.trouble, 300)}" if view.trouble else ""
    return Content.assemble(text, f"\n{advice}", (trouble, "$text-error"))


def bar(view: RunView, width: int) -> Content:
    """How much of the target is kept, and when the rest will be."""
    progress = view.progress
    full, empty = progress_bar(progress.kept, progress.target, width)
    share = f"{100 * progress.kept / progress.target:.0f} %" if progress.target else ""
    left = span(progress.eta_low, progress.eta_high) if view.live and progress.kept < progress.target else ""
    return Content.assemble(
        (full, "$text-success"),
        (empty, "dim"),
        (f" {number(progress.kept)}/{number(progress.target)} kept", "bold"),
        f"  {share}",
        (f"  {left} left" if left else "", "dim"),
    )


def numbers(view: RunView) -> Content:
    """The figures of the run, one a line."""
    progress = view.progress
    busy = f"{progress.slots_used} of {progress.slots}" if view.live else "-"
    rate = progress.duplicate_rate
    figures = [
        ("asked", number(progress.asked) + (f", {number(progress.failed)} failed" if progress.failed else "")),
        ("slots in use", busy + (f", {number(progress.waiting)} waiting" if view.live and progress.waiting else "")),
        ("tokens/s", f"{view.rate:,.0f}" if view.rate else "-"),
        ("tokens written", number(progress.tokens)),
        ("saved by the gate", number(progress.tokens_saved)),
        ("duplicates", "-" if rate is None else f"{100 * rate:.0f} % of the latest"),
        ("at work for", duration(progress.elapsed)),
    ]
    return Content.assemble(*(part for label, value in figures for part in ((f"{label:<18}", "dim"), f"{value}\n")))


def rules(progress: Progress) -> Content:
    """Rejections by rule, the most frequent first."""
    rules = sorted(progress.rejected.items(), key=lambda item: (-item[1], item[0]))
    lines: list[str | tuple[str, str]] = [(f"{number(sum(progress.rejected.values())):>7} rejected\n", "bold")]
    lines += [f"{number(count):>7} {one_line(rule, 40)}\n" for rule, count in rules[:5]]
    if rules[5:]:
        rest = sum(count for _, count in rules[5:])
        lines.append((f"{number(rest):>7} by {len(rules) - 5} other rules", "dim"))
    return Content.assemble(*lines)


def last(progress: Progress) -> Content:
    """The pair that was kept last."""
    if not progress.last_instruction:
        return Content("")
    return Content.assemble(
        (printable(progress.last_instruction), "bold"), "\n", printable(progress.last_response.strip())
    )


def event(event: EventRow) -> str:
    """What happened, in a line."""
    data = event.data
    match event.kind:
        case "RunStarted":
            models = data.get("models")
            names = ", ".join(dict.fromkeys(map(str, models.values()))) if isinstance(models, dict) else ""
            text = f"started with {names}, {data.get('slots')} slots, process {data.get('pid')}"
        case "WaveDecided":
            rejected = data.get("rejected")
            rules = (
                ", ".join(f"{count} {rule}" for rule, count in rejected.items()) if isinstance(rejected, dict) else ""
            )
            text = f"asked {data.get('first')} to {data.get('last')}: {data.get('passed')} passed"
            text += f"; rejected {rules}" if rules else ""
        case "Retried":
            text = f"row {data.get('index')} failed and is tried again: {data.get('error')}"
        case "Saturated":
            text = f"{data.get('share')} of the latest {data.get('window')} instructions were duplicates"
        case "Draining":
            text = f"finishes what is being written: {data.get('reason')}"
        case "Paused" | "Continued":
            text = "goes on" if event.kind == "Continued" else str(data.get("reason") or "paused")
        case "KeptAwake" | "Slept":
            text = _machine(data.get("by"), data.get("seconds"))
        case "RunEnded":
            reason = f": {data['reason']}" if data.get("reason") else ""
            text = f"{data.get('state')} with {data.get('kept')} kept{reason}"
        case _:
            text = f"{event.kind} {json.dumps(data, ensure_ascii=False)}"
    return f"{moment(event.at)} {one_line(text, 240)}"


def _machine(by: object, seconds: object) -> str:
    if isinstance(seconds, int | float):
        return f"the machine slept for {duration(seconds)}"
    return f"the machine is kept awake by {by}" if by else "nothing here keeps the machine awake"
