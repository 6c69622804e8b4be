"""Filters: how the values of each score lie, a threshold to move, and what it would keep before it is applied."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import OptionList, Static

from localsynth.config.thresholds import Threshold
from localsynth.errors import LocalsynthError
from localsynth.printable import one_line
from localsynth.tui.threshold_dialogs import DialogScreen
from localsynth.tui.widgets import filter_lines
from localsynth.tui.widgets.drawn import Drawn
from localsynth.tui.widgets.histogram import Histogram, bars, histogram
from localsynth.tui.widgets.key_line import KeyLine
from localsynth.tui.widgets.score_list import ExampleList, ScoreList
from localsynth.tui.widgets.title import TitleBar

if TYPE_CHECKING:
    from localsynth.tui.filtering import Shown


class FiltersScreen(DialogScreen):
    """Thresholds are drafts until enter applies them; z takes the last application back."""

    CSS_PATH = "filters.tcss"
    TITLE = "Filters"
    HELP = (
        "Thresholds are moved first and applied afterwards: until then nothing is changed. The number behind a score "
        "is how many rows it rejects. █ would be kept, ░ would be rejected by this score, ▲ is the bound that h and l "
        "move, △ the other one, ◆ a threshold that was moved. What a person accepted or rejected in Review stays so."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("0", "clear", "None", show=False, id="filters.clear", tooltip="No threshold for this score"),
        Binding("e", "type", "Type", show=False, id="filters.type", tooltip="Type the bound as a number"),
        Binding("z", "undo", "Undo", id="filters.undo", tooltip="Take back what was applied last"),
        Binding("p", "presets", "Presets", id="filters.presets", tooltip="Take a ready set of thresholds"),
        Binding("w", "save", "Save", id="filters.save", tooltip="Save the thresholds into a plan.toml"),
        Binding("x", "examples", "Rows", show=False, id="filters.examples", tooltip="Go to the rows near the bound"),
        Binding("o", "log", "Log", show=False, id="filters.log", tooltip="Heights as logarithms, or as they are"),
        Binding("u", "again", "Read again", show=False, id="filters.again", tooltip="Read all scores again"),
        Binding("escape", "leave", "Drop", show=False, id="filters.drop", tooltip="Drop what was moved; stop applying"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._log = False
        self._shown: dict[str, Shown] = {}

    def compose(self) -> ComposeResult:
        yield TitleBar("filters", self.ui.store.name)
        yield Static("", id="status", markup=False)
        yield Static("", id="welcome", classes="welcome", markup=False)
        with Horizontal(id="scores-box"):
            yield ScoreList(id="scores", compact=True)
            with Vertical(id="detail"):
                yield Static("", id="about", markup=False)
                yield Drawn(histogram, id="histogram")
                yield Drawn(bars, id="bars")
                yield ExampleList(id="examples", compact=True)
        yield KeyLine()

    def on_mount(self) -> None:
        self.query_one("#scores-box").display = False
        self.query_one("#bars").display = False

    # What the cursor stands on

    @property
    def name_in_hand(self) -> str:
        """The score under the cursor, "" where there is none."""
        option = self.query_one(ScoreList).highlighted_option
        return (option.id or "") if option is not None else ""

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        if isinstance(event.option_list, ScoreList):
            bounds = self.bounds(event.option.id or "")
            self.side = "high" if bounds.low is None and bounds.high is not None else "low"
            self.show_score()

    def on_score_list_resized(self) -> None:
        self.show_scores()

    # Moving

    def action_move(self, steps: int) -> None:
        if not self.bounded:
            self.ui.say("Only a score with a value has a threshold.")
            return
        axis, bounds = self.table.axis(self.name_in_hand), self.bounds(self.name_in_hand)
        at = getattr(bounds, self.side)
        if at is None:
            at = axis.low if self.side == "low" else axis.high
            if (steps < 0) == (self.side == "low"):
                return  # it is at the open end already
        moved: float | None = float(f"{round(at / axis.step + steps) * axis.step:.10g}")
        assert moved is not None
        if self.side == "low":
            moved = None if moved <= axis.least else min(moved, axis.most if bounds.high is None else bounds.high)
            self.draft(self.name_in_hand, Threshold(moved, bounds.high))
        else:
            moved = None if moved >= axis.most else max(moved, axis.least if bounds.low is None else bounds.low)
            self.draft(self.name_in_hand, Threshold(bounds.low, moved))

    def action_other_bound(self) -> None:
        self.side = "high" if self.side == "low" else "low"
        self.show_score()

    def action_clear(self) -> None:
        if self.bounded:
            self.draft(self.name_in_hand, Threshold())

    def action_log(self) -> None:
        self._log = not self._log
        self.show_score()

    # The rows near the bound

    def action_examples(self) -> None:
        if self._shown:
            rows = self.query_one(ExampleList)
            rows.highlighted = rows.highlighted or 0
            rows.focus()
        else:
            self.ui.say("There is no bound yet: h and l move one.")

    def action_scores(self) -> None:
        self.query_one(ScoreList).focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        shown = self._shown.get(event.option_id or "")
        if isinstance(event.option_list, ExampleList) and shown is not None:
            self.ui.review(shown.row.run, shown.row.id)

    # Showing

    def show_scores(self) -> None:
        table, told = self.table, self.foretold
        empty = not table.measures and not table.rules
        self.query_one("#scores-box").display = not empty
        welcome = self.query_one("#welcome", Static)
        welcome.display = empty
        if empty:
            welcome.update(Content(filter_lines.WELCOME if self.read_once else "Reading the scores ..."))
        else:
            names = (*table.measures, *table.rules)
            rejected = [told.then.rejected.get(name) if told else None for name in names]
            scores = self.query_one(ScoreList)
            scores.show(names, rejected, [name in self.drafts for name in names])
            if self.focused is None:
                scores.focus()
        self.show_score()

    def show_score(self) -> None:
        name, table = self.name_in_hand, self.table
        self.query_one("#status", Static).update(filter_lines.status(self))
        if not name:
            return
        ready, measured = self.bounded, name in table.measures
        self.query_one("#histogram").display = measured
        self.query_one("#bars").display = not measured
        self.query_one(ExampleList).display = measured
        bounds = self.bounds(name)
        about = filter_lines.about(name, self, self.side, ready=ready)
        self.query_one("#about", Static).update(about)
        if ready:
            drawn: Drawn[Histogram] = self.query_one("#histogram", Drawn)
            drawn.show(Histogram(table, name, bounds, self.side, self._log))
            self.ask_near(name, bounds, low=self.side == "low")
        elif not measured:
            self.ask_reasons(name)

    def show_near(self, shown: list[Shown]) -> None:
        self._shown = {str(each.example.sample): each for each in shown}
        lines = [
            (str(each.example.sample), each.example.passes, each.example.value, each.name, each.row.instruction)
            for each in shown
        ]
        bound = getattr(self.bounds(self.name_in_hand), self.side)
        self.query_one(ExampleList).show(lines, f"no {self.side} bound yet" if bound is None else f"{bound:.6g}")

    def show_reasons(self, reasons: list[tuple[str, int]]) -> None:
        drawn: Drawn[list[tuple[str, int]]] = self.query_one("#bars", Drawn)
        drawn.show(reasons)

    def refused(self, group: str, error: LocalsynthError) -> None:
        super().refused(group, error)
        if group == "scores" and not self.table.runs:
            self.query_one("#scores-box").display = False
            welcome = self.query_one("#welcome", Static)
            welcome.display = True
            welcome.update(Content(one_line(f"{error.message}. {error.hint}", 400)))
