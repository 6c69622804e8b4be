"""A box to tick that shows its state without colour."""

from __future__ import annotations

from textual.widgets import Checkbox


class Tick(Checkbox):
    """Empty while it is off; Textual's own differs by colour alone."""

    BUTTON_INNER = " "

    def watch_value(self) -> None:
        self.BUTTON_INNER = "x" if self.value else " "
        super().watch_value()
