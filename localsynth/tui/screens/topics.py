"""What the questions shall be about: ready topics and texts of one's own, with weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from localsynth.methods.topics import Topic
from localsynth.printable import one_line, printable
from localsynth.tui.screens.field import AskValue


class TopicList(OptionList):
    """Topics that move as lists move elsewhere."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", show=False, id="topics.down", tooltip="Next topic"),
        Binding("k", "cursor_up", "Up", show=False, id="topics.up", tooltip="Topic before"),
        Binding("g", "first", "First", show=False, id="topics.first", tooltip="First topic"),
        Binding("G", "last", "Last", show=False, id="topics.last", tooltip="Last topic"),
    ]


class ChooseTopics(ModalScreen[list[dict[str, Any]]]):
    """The plan's `systems`; None when nothing is to be changed. `ready`: the topics in the plan's language."""

    CSS_PATH = "modal.tcss"
    HELP = (
        "space takes a topic in or out; + and - double and halve its weight, w types it. A text of your own is the "
        "system prompt that the model is shown. Weights need not sum to anything: the shares beside them do."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "switch", "In or out", id="topics.toggle", tooltip="Take this topic in or out"),
        Binding("plus", "weigh(2)", "More", show=False, id="topics.more", tooltip="Double the weight"),
        Binding("minus", "weigh(0.5)", "Less", show=False, id="topics.less", tooltip="Halve the weight"),
        Binding("w", "weight", "Weight", id="topics.weight", tooltip="Type the weight"),
        Binding("a", "own", "Own text", id="topics.own", tooltip="Add a text of your own"),
        Binding("A", "all", "All", id="topics.all", tooltip="Take all ready topics at their usual shares"),
        Binding("x", "none", "None", id="topics.none", tooltip="Take all out"),
        Binding("enter", "take", "Done", priority=True, id="topics.take", tooltip="Take what is chosen"),
        Binding("escape", "dismiss", "Cancel", id="topics.cancel", tooltip="Change nothing"),
    ]

    def __init__(self, ready: Sequence[Topic], chosen: Sequence[Mapping[str, Any]], note: str = "") -> None:
        super().__init__()
        self._ready = {topic.id: topic for topic in ready}
        self._note = note
        self._weights = dict.fromkeys(self._ready, 0.0)
        self._own: dict[str, str] = {}
        for system in chosen:
            name = str(system.get("topic") or "")
            if name not in self._ready or system.get("text"):
                name = self._named(str(system.get("text", name)))
            self._weights[name] = float(system.get("weight", 1.0))

    def compose(self) -> ComposeResult:
        with Vertical(classes="box wide"):
            yield Static("Topics", classes="heading")
            yield Static(self._note, id="note", markup=False)
            yield TopicList(compact=True)
            yield Static(
                "space in or out  + - w weight  a own text  A all  x none\nenter takes them, escape goes back",
                classes="hint",
            )

    def on_mount(self) -> None:
        self.query_one("#note").display = bool(self._note)
        self._show()
        self.query_one(TopicList).focus()

    def on_option_list_option_selected(self) -> None:
        """A click."""
        self.action_switch()

    def action_switch(self) -> None:
        if name := self._here:
            usual = self._ready[name].weight if name in self._ready and self._all_usual() else 1.0
            self._set(name, 0.0 if self._weights[name] else usual)

    def action_weigh(self, factor: float) -> None:
        if name := self._here:
            self._set(name, (self._weights[name] or 1.0) * factor)

    def action_weight(self) -> None:
        if name := self._here:
            value = f"{self._weights[name]:g}"
            ask = AskValue("Weight", "0 takes the topic out.", value, _wrong_weight)
            self.app.push_screen(ask, partial(self._weighed, name))

    def action_own(self) -> None:
        about = "What the model is told to be, such as: You are a patient teacher of chemistry."
        self.app.push_screen(AskValue("A text of your own", about, "", _wrong_text), self._add)

    def action_all(self) -> None:
        self._weights |= {name: topic.weight for name, topic in self._ready.items()}
        self._show()

    def action_none(self) -> None:
        self._weights = dict.fromkeys(self._weights, 0.0)
        self._show()

    def action_take(self) -> None:
        found: list[dict[str, Any]] = []
        for name, weight in self._weights.items():
            if weight:
                what = {"text": self._own[name]} if name in self._own else {"topic": name}
                found.append({**what, "weight": round(weight, 4)})
        self.dismiss(found)

    @property
    def _here(self) -> str:
        option = self.query_one(TopicList).highlighted_option
        return option.id or "" if option is not None else ""

    def _all_usual(self) -> bool:
        """Whether every chosen topic has its usual share: then another one comes with its own."""
        chosen = {name: weight for name, weight in self._weights.items() if weight}
        return bool(chosen) and all(
            name in self._ready and abs(self._ready[name].weight - weight) < 1e-3 for name, weight in chosen.items()
        )

    def _named(self, text: str) -> str:
        name = f"own-{len(self._own)}"
        self._own[name] = text
        return name

    def _add(self, text: str | None) -> None:
        if text:
            name = self._named(text)
            self._set(name, 1.0)
            self.query_one(TopicList).highlighted = list(self._weights).index(name)

    def _weighed(self, name: str, typed: str | None) -> None:
        if typed is not None:
            self._set(name, float(typed.replace(",", ".")))

    def _set(self, name: str, weight: float) -> None:
        self._weights[name] = weight
        self._show()

    def _show(self) -> None:
        topics = self.query_one(TopicList)
        here, whole = topics.highlighted, sum(self._weights.values())
        topics.clear_options()
        topics.add_options(Option(self._line(name, weight, whole), id=name) for name, weight in self._weights.items())
        topics.highlighted = here or 0

    def _line(self, name: str, weight: float, whole: float) -> Content:
        share = f"{weight / whole:4.0%}" if weight else "    "
        what = f"own: {one_line(self._own[name], 50)}" if name in self._own else f"{name:<18}{self._ready[name].title}"
        return Content.assemble(("■ " if weight else "□ "), (share, "bold"), f"  {printable(what)}")


def _wrong_weight(text: str) -> str:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return "type a number"
    return "" if 0 <= value < 1e6 else "type a number of at least 0"


def _wrong_text(text: str) -> str:
    return "" if text.strip() else "type a text"
