"""One run as it goes on, or as it went."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from localsynth.errors import LocalsynthError
from localsynth.printable import printable
from localsynth.store import EventRow, SampleRow
from localsynth.tui.controls import ControlScreen
from localsynth.tui.watching import RunView, Watched, Watcher
from localsynth.tui.widgets import charts, figures
from localsynth.tui.widgets.drawn import Drawn
from localsynth.tui.widgets.key_line import KeyLine
from localsynth.tui.widgets.reading import Reading
from localsynth.tui.widgets.title import TitleBar

_EDGES = 4  # cells beside the pairs: padding and scrollbars


class MonitorScreen(ControlScreen):
    """Attaches to whatever run is in hand, the newest where none is; a past run looks the same."""

    PERIOD = 0.5
    CSS_PATH = "monitor.tcss"
    TITLE = "Monitor"
    HELP = (
        "The charts go from the start of the run to now, over the time that it was at work. Time left is a range in "
        "which the rest is done nine times of ten. saved: answer tokens that were not spent on rejected questions. "
        "duplicates: the share of questions that were asked before. Beside each rule: how many it rejected, its share "
        "of what was asked, and how that share changed. tab goes to the pairs and to what happened, to scroll there; "
        "pairs are held while you are scrolled down in them."
    )
    # As the toolkit declares it, which is not as a class variable.
    VERTICAL_BREAKPOINTS = [(0, "-low"), (32, "-tall"), (50, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "r", "app.switch_mode('review')", "Review", id="monitor.review", tooltip="Review the pairs of this run"
        ),
        Binding("escape", "app.switch_mode('runs')", "Runs", show=False, id="monitor.runs", tooltip="Back to all runs"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._watched: Watched | None = None
        self._advice = ""
        self._pairs: Sequence[SampleRow] = ()
        self._events: Sequence[EventRow] = ()
        self._watcher: Watcher | None = None
        self._wanted: str | None = None

    def compose(self) -> ComposeResult:
        yield TitleBar("monitor", self.ui.store.name)
        yield Static("", id="welcome", classes="welcome", markup=False)
        with Reading(id="body"):
            yield Drawn(figures.head, id="head")
            yield Static("", id="advice", markup=False)
            yield Drawn(figures.bar, id="bar")
            yield Drawn(figures.numbers, id="numbers")
            with Horizontal(id="charts"):
                yield Drawn(charts.trends, id="trends")
                yield Drawn(charts.rules, id="rules")
            yield Drawn(figures.live, id="live")
            with Reading("Last kept pairs", id="pairs-box"):
                yield Static("", id="pairs", markup=False)
            with Reading("What happened", id="events-box"):
                yield Static("", id="events", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        self._watcher = Watcher(self.ui.store)
        self.query_one("#body").display = False
        self.query_one("#advice").display = False
        self.query_one("#live").border_title = "Being written"
        # At its end, whatever grows around it, until a person scrolls up; at the end again it is held there again.
        self.query_one("#events-box").anchor()

    @property
    def run_in_hand(self) -> RunView | None:
        return self._watched.view if self._watched else None

    def look(self) -> None:
        if self._watcher is not None and not self.ui.launcher.making:
            # Another run than the one being read: that answer would be about the wrong one.
            patient = self._wanted == self.ui.run_id
            self._wanted = self.ui.run_id
            job = partial(self._watcher.watch, self._wanted, self.ui.launcher.starting())
            self.ask_often("progress", job, self._show, patient=patient)

    def refused(self, group: str, error: LocalsynthError) -> None:
        if group == "progress":
            if self._watched is None:
                self._welcome(f"{error.message}\n\n{error.hint}")
            else:
                self._show_advice(printable(f"What is shown is old. {error.message}: {error.hint}"))

    def on_resize(self, event: Resize) -> None:
        del event
        if self._watched is not None:  # what is cut to the width must be cut anew
            self._pairs = ()
            self.call_after_refresh(self._show_pairs, self._watched.pairs)

    def _welcome(self, text: str) -> None:
        self.query_one("#body").display = False
        self.query_one("#welcome").display = True
        self.query_one("#welcome", Static).update(Content(printable(text)))

    def _show(self, watched: Watched | None) -> None:
        before, self._watched = self._watched, watched
        if watched is None:
            self._welcome("There is no run to watch yet.\n\nPress n to make one.")
            return
        view = watched.view
        self.ui.run_id = self._wanted = view.row.id
        body = self.query_one("#body")
        if not body.display:
            body.display = True
            self.query_one("#welcome").display = False
            body.focus()
        self.query_one("#live").display = view.live
        self._show_advice(figures.advice(watched))
        for name, data in (("head", view), ("bar", view), ("live", view.progress.live)):
            self.query_one(f"#{name}", Drawn).show(data)
        for name in ("numbers", "trends", "rules"):
            self.query_one(f"#{name}", Drawn).show(watched)
        box = self.query_one("#pairs-box", Reading)
        if before is None or before.view.row.id != view.row.id:
            box.scroll_home(animate=False, immediate=True)
        if not box.scroll_offset.y:
            self._show_pairs(watched.pairs)
        self._show_events(watched.events)

    def _show_advice(self, text: str) -> None:
        if text != self._advice:
            self._advice = text
            advice = self.query_one("#advice", Static)
            advice.update(Content(text))
            advice.display = bool(text)

    def _show_pairs(self, rows: Sequence[SampleRow]) -> None:
        if rows != self._pairs:
            self._pairs = rows
            box = self.query_one("#pairs-box", Reading)
            self.query_one("#pairs", Static).update(figures.pairs(rows, self.size.width - _EDGES))
            box.display = bool(rows)

    def _show_events(self, events: Sequence[EventRow]) -> None:
        if events != self._events:
            self._events = events
            self.query_one("#events", Static).update(Content("\n".join(figures.event(event) for event in events)))
