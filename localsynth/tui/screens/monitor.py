"""One run as it goes on, or as it went."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Footer, Static

from localsynth.errors import LocalsynthError
from localsynth.events import Progress
from localsynth.printable import one_line, printable
from localsynth.store import EventRow
from localsynth.tui.controls import ControlScreen
from localsynth.tui.watching import RunView, Watcher
from localsynth.tui.widgets.title import TitleBar
from localsynth.tui.wording import bar, duration, moment, number, span

_STYLES = {
    "running": "$text-success",
    "starting": "$text-success",
    "draining": "$text-warning",
    "paused": "$text-warning",
    "died": "$text-error",
    "failed": "$text-error",
}


@dataclass(frozen=True, slots=True)
class _Seen:
    view: RunView | None
    events: list[EventRow]


class MonitorScreen(ControlScreen):
    """Attaches to whatever run is in hand, the newest where none is; a past run looks the same."""

    PERIOD = 0.5
    CSS_PATH = "monitor.tcss"
    TITLE = "Monitor"
    HELP = (
        "Saved by the gate: answer tokens that were not spent on rejected instructions. "
        "Time left is a range in which the rest is done nine times of ten."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "r", "app.switch_mode('review')", "Review", id="monitor.review", tooltip="Review the pairs of this run"
        ),
        Binding("escape", "app.switch_mode('runs')", "Runs", show=False, id="monitor.runs"),
        Binding("j", "scroll(1)", "Scroll down", show=False, id="monitor.down"),
        Binding("k", "scroll(-1)", "Scroll up", show=False, id="monitor.up"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._view: RunView | None = None
        self._watcher: Watcher | None = None

    def compose(self) -> ComposeResult:
        yield TitleBar("monitor", self.ui.store.name)
        yield Static("", id="welcome", classes="welcome", markup=False)
        with VerticalScroll(id="body"):
            yield Static("", id="head", markup=False)
            yield Static("", id="bar", markup=False)
            with Horizontal(id="figures"):
                yield Static("", id="numbers", markup=False)
                yield Static("", id="rules", markup=False)
            with _Titled("Being written", id="live-box"):
                yield Static("", id="live", markup=False)
            with _Titled("Last kept pair", id="last-box"):
                yield Static("", id="last", markup=False)
            with _Titled("What happened", id="events-box"):
                yield Static("", id="events", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self._watcher = Watcher(self.ui.store)
        self.query_one("#body").display = False

    @property
    def run_in_hand(self) -> RunView | None:
        return self._view

    def action_scroll(self, lines: int) -> None:
        self.query_one("#body").scroll_relative(y=lines, animate=False)

    def look(self) -> None:
        if self._watcher is not None and not self.ui.launcher.making:
            # Another run than the one being read: that answer would be about the wrong one.
            patient = self._view is None or self._view.row.id == self.ui.run_id
            self.ask(
                "progress",
                partial(_see, self._watcher, self.ui.run_id, self.ui.launcher.starting()),
                self._show,
                patient=patient,
            )

    def refused(self, group: str, error: LocalsynthError) -> None:
        if group == "progress" and self._view is None:
            self._welcome(f"{error.message}\n\n{error.hint}")

    def _welcome(self, text: str) -> None:
        self.query_one("#body").display = False
        self.query_one("#welcome").display = True
        self.query_one("#welcome", Static).update(Content(text))

    def _show(self, seen: _Seen) -> None:
        self._view = view = seen.view
        if view is None:
            self._welcome("There is no run to watch yet.\n\nPress n to make one.")
            return
        self.ui.run_id = view.row.id
        body = self.query_one("#body")
        if not body.display:
            body.display = True
            self.query_one("#welcome").display = False
            body.focus()
        progress = view.progress
        self._update("#head", _head(view))
        self._update("#bar", _bar(view, max(10, min(50, self.size.width - 50))))
        self._update("#numbers", _numbers(view))
        self._update("#rules", _rules(progress))
        self._update("#live", Content(printable(progress.live) if view.live else ""))
        self.query_one("#live-box").display = view.live
        self._update("#last", _last(progress))
        self._update("#events", Content("\n".join(_event(event) for event in seen.events)))
        for name in ("#live-box", "#events-box"):
            self.query_one(name).scroll_end(animate=False)

    def _update(self, name: str, content: Content) -> None:
        self.query_one(name, Static).update(content)


class _Titled(Vertical):
    def __init__(self, title: str, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id, classes="titled")
        self.border_title = title


def _see(watcher: Watcher, run: str | None, starting: Mapping[str, str]) -> _Seen:
    view = watcher.run(run, starting)
    return _Seen(view, watcher.events(view.row.id) if view else [])


def _head(view: RunView) -> Content:
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


def _bar(view: RunView, width: int) -> Content:
    progress = view.progress
    full, empty = bar(progress.kept, progress.target, width)
    share = f"{100 * progress.kept / progress.target:.0f} %" if progress.target else ""
    left = span(progress.eta_low, progress.eta_high) if view.live and progress.kept < progress.target else ""
    return Content.assemble(
        (full, "$text-success"),
        (empty, "dim"),
        (f" {number(progress.kept)}/{number(progress.target)} kept", "bold"),
        f"  {share}",
        (f"  {left} left" if left else "", "dim"),
    )


def _numbers(view: RunView) -> Content:
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


def _rules(progress: Progress) -> Content:
    rules = sorted(progress.rejected.items(), key=lambda item: (-item[1], item[0]))
    lines: list[str | tuple[str, str]] = [(f"{number(sum(progress.rejected.values())):>7} rejected\n", "bold")]
    lines += [f"{number(count):>7} {one_line(rule, 40)}\n" for rule, count in rules[:5]]
    if rules[5:]:
        rest = sum(count for _, count in rules[5:])
        lines.append((f"{number(rest):>7} by {len(rules) - 5} other rules", "dim"))
    return Content.assemble(*lines)


def _last(progress: Progress) -> Content:
    if not progress.last_instruction:
        return Content("")
    return Content.assemble(
        (printable(progress.last_instruction), "bold"), "\n", printable(progress.last_response.strip())
    )


def _event(event: EventRow) -> str:
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
        case "Paused":
            text = "paused"
        case "Continued":
            text = "goes on"
        case "RunEnded":
            reason = f": {data['reason']}" if data.get("reason") else ""
            text = f"{data.get('state')} with {data.get('kept')} kept{reason}"
        case _:
            text = f"{event.kind} {json.dumps(data, ensure_ascii=False)}"
    return f"{moment(event.at)} {one_line(text, 240)}"
