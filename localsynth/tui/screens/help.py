"""The keys of the screen it is called on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import ModalScreen, Screen
from textual.widgets import Static


class Help(ModalScreen[None]):
    """Lists keys with what they do; `note` explains the signs on the screen."""

    CSS_PATH = "modal.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,f1,q,enter", "dismiss", "Close", id="help.close"),
        Binding("j,down", "scroll(1)", show=False, id="help.down"),
        Binding("k,up", "scroll(-1)", show=False, id="help.up"),
    ]

    def __init__(self, title: str, note: str, bindings: Iterable[ActiveBinding]) -> None:
        super().__init__()
        self._active = list(bindings)
        self._heading, self._note = title, note

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="box wide"):
            yield Static(f"Keys: {self._heading}", classes="heading", markup=False)
            yield Static(self._keys(), id="keys")
            yield Static(self._note, classes="hint", markup=False)
            yield Static("escape closes this", classes="hint")

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def _keys(self) -> Content:
        found: dict[str, list[str]] = {}
        # What has an id is ours; the rest are the toolkit's own keys for scrolling, which anyone guesses.
        ours = [active for active in self._active if active.binding.id]
        for active in sorted(ours, key=lambda active: _rank(active.node)):
            what = active.tooltip or active.binding.tooltip or active.binding.description
            key = self.app.get_key_display(active.binding)
            if what and key not in found.setdefault(what, []):
                found[what].append(key)
        width = max((len(" ".join(keys)) for keys in found.values()), default=0)
        return Content.assemble(
            *(part for what, keys in found.items() for part in ((" ".join(keys).ljust(width), "bold"), f"  {what}\n"))
        )


def _rank(node: DOMNode) -> int:
    """The screen's keys first, then those of the focused widget, then those of the whole application."""
    return 0 if isinstance(node, Screen) else 2 if isinstance(node, App) else 1
