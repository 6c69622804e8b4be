"""In place of a screen that has no room; it goes away by itself when the terminal is large enough again."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widgets import Static

WIDTH, HEIGHT = 60, 16


def fits(size: Size) -> bool:
    """Whether the screens can be read in this many cells."""
    return size.width >= WIDTH and size.height >= HEIGHT


class TooSmall(ModalScreen[None]):
    """Covers whatever is there; nothing under it changes."""

    CSS_PATH = "modal.tcss"
    TITLE = "Too small"
    HELP = "Make the terminal larger, or its letters smaller."

    def __init__(self) -> None:
        super().__init__()
        self._over = False

    def compose(self) -> ComposeResult:
        yield Static(id="size", markup=False)

    def on_screen_resume(self) -> None:
        self.measure()

    def measure(self) -> None:
        """Say how large the terminal is, or give the screen back. Another screen on top of this one is waited for."""
        size = self.app.size
        if self._over or self.app.screen is not self:
            return
        if fits(size):
            self._over = True
            self.dismiss()
        else:
            self.query_one(Static).update(
                f"This terminal is too small.\nIt has {size.width} x {size.height} cells, "
                f"{WIDTH} x {HEIGHT} are needed.\nMake it larger to go on; ctrl+q quits."
            )
