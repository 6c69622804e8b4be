"""What can be done here: the focused part first, then the screen, then the application."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Input, Static, TextArea

from localsynth.tui.actions import Action, actions

_TYPING = "What you type goes into this field; single letters are no keys until you leave it."


class Help(ModalScreen[None]):
    """Lists the keys of `screen` with what they do, and its own words about the signs on it."""

    CSS_PATH = "modal.tcss"
    TITLE = "Help"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape,question_mark,f1,q,enter", "dismiss", "Close", id="help.close", tooltip="Go back to the screen"
        ),
        Binding("j,down", "scroll(1)", "Down", show=False, id="help.down", tooltip="Scroll down"),
        Binding("k,up", "scroll(-1)", "Up", show=False, id="help.up", tooltip="Scroll up"),
        Binding(
            "ctrl+d,pagedown,space", "page(1)", "Page down", show=False, id="help.page-down", tooltip="Half a page"
        ),
        Binding("ctrl+u,pageup", "page(-1)", "Page up", show=False, id="help.page-up", tooltip="Half a page back"),
        Binding("g,home", "end(False)", "Top", show=False, id="help.top", tooltip="To the top"),
        Binding("G,end", "end(True)", "Bottom", show=False, id="help.bottom", tooltip="To the bottom"),
    ]

    def __init__(self, screen: Screen[object]) -> None:
        super().__init__()
        self._heading = screen.title or "this question"
        self._note = screen.HELP or ""
        self._focus = screen.focused
        self._found = [action for action in actions(screen) if action.keys]

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="box wide"):
            yield Static(f"Keys: {self._heading}", classes="heading", markup=False)
            yield Static(self._keys(), id="keys")
            yield Static(self._note, classes="hint", markup=False)
            yield Static("escape closes this; ctrl+p finds an action by its name", classes="hint")

    def action_scroll(self, lines: int) -> None:
        self._box.scroll_relative(y=lines, animate=False)

    def action_page(self, direction: int) -> None:
        self._box.scroll_relative(y=direction * max(1, self._box.size.height // 2), animate=False)

    def action_end(self, bottom: bool) -> None:
        if bottom:
            self._box.scroll_end(animate=False)
        else:
            self._box.scroll_home(animate=False)

    @property
    def _box(self) -> VerticalScroll:
        return self.query_one(VerticalScroll)

    def _keys(self) -> Content:
        width = max((len(" ".join(action.keys)) for action in self._found), default=0)
        parts: list[str | tuple[str, str]] = []
        about = _about(self._focus)
        if about:
            parts.append(f"{about}\n\n")
        for part, group in groupby(self._found, key=lambda action: action.part):
            heading = {"focus": "Where you are", "screen": self._heading, "app": "Everywhere"}[part]
            parts.append((f"{heading}\n", "bold $text-accent"))
            parts += _lines(group, width)
            parts.append("\n")
        return Content.assemble(*parts)


def _about(focus: Widget | None) -> str:
    """What the focused widget says of itself."""
    if isinstance(focus, Input) or (isinstance(focus, TextArea) and not focus.read_only):
        return _TYPING
    ours = focus is not None and type(focus).__module__.startswith("localsynth.")
    return (focus.HELP or "") if focus is not None and ours else ""


def _lines(found: Iterable[Action], width: int) -> list[str | tuple[str, str]]:
    return [part for action in found for part in ((" ".join(action.keys).ljust(width), "bold"), f"  {action.what}\n")]
