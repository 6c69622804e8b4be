"""The line on top: which screens there are, which one this is, which store."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from localsynth.printable import one_line
from localsynth.tui.places import PLACES, Place

_LEAST = 8  # cells that the store's name needs to be of use


class TitleBar(Horizontal):
    """Names the screens; a click goes to one. Where it is narrow the others are numbers only."""

    def __init__(self, current: str, store: str) -> None:
        super().__init__()
        self._current, self._store = current, store

    def compose(self) -> ComposeResult:
        for place in PLACES:
            yield Static(self._label(place, short=False), classes="here" if place.mode == self._current else "")
        yield Static("", id="store", markup=False)

    def on_resize(self, event: Resize) -> None:
        whole = sum(cell_len(self._label(place, short=False).plain) for place in PLACES)
        short = whole + _LEAST > event.size.width
        labels = [self._label(place, short=short) for place in PLACES]
        for static, label in zip(self.query(Static), labels, strict=False):
            static.update(label)
        room = event.size.width - sum(cell_len(label.plain) for label in labels) - 2
        self.query_one("#store", Static).update(Content(_end(one_line(self._store, 200), max(0, room))))

    def _label(self, place: Place, *, short: bool) -> Content:
        here = place.mode == self._current
        label = place.key if short and not here else f"{place.key} {place.label}"
        # Brackets tell the current screen from the others where there is no colour.
        return Content.from_markup(
            f"[@click=app.switch_mode('{place.mode}')]{f'‹{label}›' if here else f' {label}'}[/]"
        )


def _end(text: str, width: int) -> str:
    """The end of a text that is too wide: names of files differ there."""
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) > width - 1:
        text = text[1:]
    return set_cell_size(f"…{text}", width) if width else ""
