"""Which rows a list shows: one line for each condition, with the number of rows that are left."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from localsynth.printable import one_line
from localsynth.store import Facets, Query, ScoreRange
from localsynth.tui.list_words import range_text
from localsynth.tui.pages import SHOWS
from localsynth.tui.screens.choose import ChoiceList, Choose
from localsynth.tui.screens.field import AskValue
from localsynth.tui.widgets.key_line import KeyLine
from localsynth.tui.wording import number

_VERDICTS = {"": "any", "accept": "accepted", "reject": "rejected"}
_LABELS = {
    "show": "State", "verdict": "Your verdict", "rule": "Rejected by", "topic": "Topic", "model": "Model", "tag": "Tag",
}  # fmt: skip

Count = Callable[[Query, Callable[[int], None]], None]


class FilterPanel(ModalScreen[Query]):
    """The query that is to be shown; None when nothing is to be changed. `count` tells how many rows a query has."""

    CSS_PATH: ClassVar[list[str | PurePath]] = ["modal.tcss", "reviewing.tcss"]
    HELP = "Every condition must hold. enter changes the one under the cursor, f shows what is left."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "take", "Show", id="filter.take", tooltip="Show the rows that are left"),
        Binding("c", "clear", "Clear all", id="filter.clear", tooltip="Ask for nothing: all rows of the run"),
        Binding("escape", "dismiss", "Cancel", id="filter.cancel", tooltip="Change nothing"),
    ]

    def __init__(self, query: Query, facets: Facets, count: Count) -> None:
        super().__init__()
        self._query, self._facets, self._count = query, facets, count

    def compose(self) -> ComposeResult:
        with Vertical(classes="box wide"):
            yield Static("Which rows", classes="heading", markup=False)
            yield ChoiceList(id="conditions", compact=True)
            yield Static("", id="left", markup=False)
            yield KeyLine()

    def on_mount(self) -> None:
        self._changed(self._query)
        self.query_one(ChoiceList).highlighted = 0
        self.query_one(ChoiceList).focus()

    def action_take(self) -> None:
        self.dismiss(self._query)

    def action_clear(self) -> None:
        query = self._query
        self._changed(Query(query.run, search=query.search, order=query.order, descending=query.descending))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        name = event.option_id or ""
        if name.startswith("score "):
            self._ask_range(name.removeprefix("score "))
        else:
            choices = [("", "any"), *((value, value) for value in self._values(name))]
            if name == "show":
                choices = choices[1:]
            if name == "verdict":
                choices = list(_VERDICTS.items())
            current = getattr(self._query, name) or ""
            # An option's id cannot be any text: the place in the list stands for the value.
            named = [(f"n{at}", shown) for at, (_, shown) in enumerate(choices)]
            at = next((at for at, (value, _) in enumerate(choices) if value == current), 0)
            chosen = partial(self._chosen, name, [value for value, _ in choices])
            self.app.push_screen(Choose(_LABELS[name], "", named, f"n{at}"), chosen)

    def _chosen(self, name: str, values: list[str], chosen: str | None) -> None:
        if chosen is not None:
            change: dict[str, Any] = {name: values[int(chosen[1:])] or None}
            self._changed(replace(self._query, **change))

    def _ask_range(self, name: str) -> None:
        low, high = self._facets.scores[name]
        about = f"From and to, both included, such as 0.2..0.8, 0.5.. or ..0.5. Values go from {low:g} to {high:g}."
        before = next((range_text(each) for each in self._query.scores if each.name == name), "")
        self.app.push_screen(AskValue(one_line(name, 60), about, before, _fault), partial(self._ranged, name))

    def _ranged(self, name: str, text: str | None) -> None:
        if text is not None:
            others = tuple(each for each in self._query.scores if each.name != name)
            low, high = _bounds(text)
            new = () if low is None and high is None else (ScoreRange(name, low, high),)
            self._changed(replace(self._query, scores=others + new))

    def _changed(self, query: Query) -> None:
        self._query = query
        conditions = self.query_one(ChoiceList)
        at = conditions.highlighted
        conditions.clear_options()
        conditions.add_options(self._options())
        conditions.highlighted = at
        self.query_one("#left", Static).update("counting…")
        self._count(query, partial(self._counted, query))

    def _counted(self, query: Query, count: int) -> None:
        if query == self._query and self.is_attached:
            self.query_one("#left", Static).update(f"{number(count)} row{'s' * (count != 1)}")

    def _options(self) -> list[Option]:
        options = []
        for name, label in _LABELS.items():
            value = getattr(self._query, name)
            shown = _VERDICTS[value or ""] if name == "verdict" else value or "any"
            if value is not None or name == "verdict" or self._values(name):
                options.append(_option(name, label, shown, on=value not in {None, "all"}))
        for score in self._facets.scores:
            wanted = next((each for each in self._query.scores if each.name == score), None)
            shown = "any" if wanted is None else range_text(wanted)
            options.append(_option(f"score {score}", score, shown, on=wanted is not None))
        return options

    def _values(self, name: str) -> tuple[str, ...]:
        facets = self._facets
        known: dict[str, tuple[str, ...]] = {
            "show": SHOWS, "rule": facets.rules, "topic": facets.topics, "model": facets.models, "tag": facets.tags,
        }  # fmt: skip
        return known.get(name, ())


def _option(name: str, label: str, shown: str, *, on: bool) -> Option:
    # A sign tells what is asked for where there is no colour.
    value = (one_line(shown, 38), "bold" if on else "dim")
    text = Content.assemble("▸ " if on else "  ", f"{one_line(label, 27):27} ", value)
    return Option(text, id=name)


def _bounds(text: str) -> tuple[float | None, float | None]:
    low, dots, high = text.strip().partition("..")
    if not dots:
        high = low
    return float(low) if low.strip() else None, float(high) if high.strip() else None


def _fault(text: str) -> str:
    try:
        low, high = _bounds(text)
    except ValueError:
        return "write two numbers with .. between them, such as 0.2..0.8"
    if any(math.isnan(bound) for bound in (low, high) if bound is not None):
        return "write numbers"
    return "the first number is above the second" if low is not None and high is not None and low > high else ""
