"""One run as it goes on, or as it went."""

from __future__ import annotations

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
from localsynth.printable import printable
from localsynth.store import EventRow
from localsynth.tui.controls import ControlScreen
from localsynth.tui.watching import RunView, Watcher
from localsynth.tui.widgets import figures
from localsynth.tui.widgets.title import TitleBar


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
        self._update("#head", figures.head(view))
        self._update("#bar", figures.bar(view, max(10, min(50, self.size.width - 50))))
        self._update("#numbers", figures.numbers(view))
        self._update("#rules", figures.rules(progress))
        self._update("#live", Content(printable(progress.live) if view.live else ""))
        self.query_one("#live-box").display = view.live
        self._update("#last", figures.last(progress))
        self._update("#events", Content("\n".join(figures.event(event) for event in seen.events)))
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
