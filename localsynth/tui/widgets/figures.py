"""The parts of the monitor as text: head, advice, bar, figures, what is written, pairs, events. No part is markup."""

from __future__ import annotations

import json
from collections.abc import Sequence

from textual.content import Content

from localsynth.printable import fit, one_line, printable
from localsynth.store import EventRow, SampleRow
from localsynth.tui.watching import RunView, Watched
from localsynth.tui.wording import beginning, duration, moment, number, progress_bar, rule_label, span

_MOST = 4000  # characters of a message, and of what is being written

_STYLES = {
    "running": "$text-success",
    "starting": "$text-success",
    "draining": "$text-warning",
    "paused": "$text-warning",
    "died": "$text-error",
    "failed": "$text-error",
}


def head(view: RunView, width: int, height: int) -> Content:  # noqa: ARG001 - as every Drawn is drawn
    """Which run, in which state, on what."""
    row = view.row
    since = f"  since {moment(row.started)}" if row.started else ""
    return Content.assemble(
        (f"Run {row.number}{f' {one_line(row.name, 30)}' if row.name else ''}", "bold"),
        "  ",
        (view.state, f"bold {_STYLES.get(view.state, '$text')}"),
        (f"{since}  {one_line(row.model, 60) or 'starter'}", "dim"),
    )


def advice(watched: Watched) -> str:
    """What has happened that a person should know, and what can be done about it; empty where all is well."""
    view, note = watched.view, watched.view.progress.note
    what = {
        "died": "Its process is gone; nothing that was stored is lost. Press s to go on.",
        "failed": "It failed; nothing that was stored is lost. Press s to try again.",
        "stopped": "Press s to go on.",
        "created": "It was never started: press s.",
        "starting": "Its model is being loaded.",
        "paused": "Press s to go on.",
    }.get(view.state, "")
    lines = [f"{what} {one_line(view.trouble, 300)}".strip()]
    if note and note != watched.advice and view.state != "died":
        lines.append(f"{one_line(note[:1].upper() + note[1:], 300)}.")
    if watched.advice:
        lines.append(f"{watched.advice}.{' x stops this one, n makes a new one.' if view.live else ''}")
    return "\n".join(filter(None, lines))


def bar(view: RunView, width: int, height: int) -> Content:  # noqa: ARG001
    """How much of the target is kept, and when the rest will be."""
    progress = view.progress
    share = f"  {100 * min(progress.kept, progress.target) // progress.target} %" if progress.target else ""
    left = ""
    if view.live and progress.kept < progress.target:
        left = span(progress.eta_low, progress.eta_high)
        left = f"  {left} left" if left else "  time left not known yet"
    kept = f" {number(progress.kept)}/{number(progress.target)} kept"
    full, empty = progress_bar(progress.kept, progress.target, max(10, width - len(kept + share + left)))
    return Content.assemble((full, "$text-success"), (empty, "dim"), (kept, "bold"), share, (left, "dim"))


def numbers(watched: Watched, width: int, height: int) -> Content:  # noqa: ARG001
    """More figures on one line: as many as there is room for, the telling ones first."""
    view, total = watched.view, watched.history.last
    progress = view.progress
    tokens = total.tokens or progress.tokens
    figures = [
        f"{number(progress.asked)} asked",
        f"{number(progress.failed)} failed" if progress.failed else "",
        f"{number(progress.waiting)} wait for an answer" if view.live and progress.waiting else "",
        f"at work for {duration(total.seconds or progress.elapsed)}",
        f"{number(tokens)} tokens written",
        f"{1000 * progress.kept / tokens:.1f} kept per 1,000 tokens" if tokens else "",
    ]
    line = ""
    for figure in filter(None, figures):
        longer = f"{line} · {figure}" if line else figure
        line = longer if len(longer) <= width else line
    return Content.styled(line, "dim")


def live(text: str, width: int, height: int) -> Content:
    """The end of a text that is being written."""
    lines = Content(printable(text[-_MOST:])).wrap(width) if text.strip() else []
    return Content("\n").join(lines[-height:])


def pairs(rows: Sequence[SampleRow], width: int) -> Content:
    """Kept pairs: those before the last one on a line each, the older the higher, then all messages of the last one."""
    parts: list[str | tuple[str, str]] = [
        (f"{fit(f'{row.index} {row.instruction}', max(1, width))}\n", "dim") for row in reversed(rows[1:4])
    ]
    for row in rows[:1]:
        parts.append((f"{row.index} ", "dim"))
        for message in row.messages:
            style = "bold" if message.role == "user" else "dim italic" if message.role == "system" else ""
            parts.append((f"{beginning(message.content.strip(), _MOST, ': r shows them in Review')}\n", style))
    return Content.assemble(*parts)


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
            counts = rejected.items() if isinstance(rejected, dict) else ()
            rules = ", ".join(f"{count} {rule_label(rule)}" for rule, count in counts)
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
