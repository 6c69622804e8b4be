"""The line on top: which screens there are, which one this is, which store."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from localsynth.printable import one_line
from localsynth.tui.places import PLACES


class TitleBar(Horizontal):
    """Names the screens; a click goes to one."""

    def __init__(self, current: str, store: str) -> None:
        super().__init__()
        self._current, self._store = current, store

    def compose(self) -> ComposeResult:
        for place in PLACES:
            here, label = place.mode == self._current, f"{place.key} {place.label}"
            # A bracket tells the current screen from the others where there is no colour.
            text = f"[@click=app.switch_mode('{place.mode}')]{f'‹{label}›' if here else f' {label} '}[/]"
            yield Static(Content.from_markup(text), classes="here" if here else "")
        yield Static(Content(one_line(self._store, 60)), id="store")
