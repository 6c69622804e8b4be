"""The settings of a plan as a list: a name, its value, and what is wrong with it."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Resize
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from localsynth.printable import one_line
from localsynth.tui.draft import Draft, Fault
from localsynth.tui.plan_fields import GROUPS, SETTINGS, Setting, reads

_LABEL = 16


class SettingsList(OptionList):
    """Posts OptionSelected with the key of the setting as its id."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "select", "Change", id="settings.change", tooltip="Change this setting"),
        Binding("j", "cursor_down", "Down", show=False, id="settings.down", tooltip="Next setting"),
        Binding("k", "cursor_up", "Up", show=False, id="settings.up", tooltip="Setting before"),
        Binding("g", "first", "First", show=False, id="settings.first", tooltip="First setting"),
        Binding("G", "last", "Last", show=False, id="settings.last", tooltip="Last setting"),
        Binding("ctrl+d", "page_down", "Page down", show=False, id="settings.page-down", tooltip="A page down"),
        Binding("ctrl+u", "page_up", "Page up", show=False, id="settings.page-up", tooltip="A page up"),
    ]

    def __init__(self) -> None:
        super().__init__(compact=True)
        self._draft: Draft | None = None
        self._fault: Fault | None = None

    @property
    def setting(self) -> Setting | None:
        """The setting under the cursor."""
        option = self.highlighted_option
        return SETTINGS.get(option.id or "") if option is not None else None

    def show(self, draft: Draft, fault: Fault | None) -> None:
        """Show these values; the cursor stays on its setting."""
        self._draft, self._fault = draft, fault
        here = self.setting
        options: list[Option] = []
        for title, group in GROUPS:
            lines = [self._option(setting, draft) for setting in group if setting.shown(draft)]
            if lines:
                options += [Option(Content.assemble((title, "bold")), disabled=True), *lines]
        self.clear_options()
        self.add_options(options)
        ids = [option.id for option in options]
        self.highlighted = ids.index(here.key) if here is not None and here.key in ids else 1

    def on_resize(self, event: Resize) -> None:
        del event
        if self._draft is not None:
            self.show(self._draft, self._fault)

    def _option(self, setting: Setting, draft: Draft) -> Option:
        given = draft.given(setting.key) is not None
        room = max(8, self.size.width - _LABEL - 4)
        value = one_line(reads(setting, draft), 200)
        if cell_len(value) > room:
            value = f"{set_cell_size(value, room - 1).rstrip()}…"
        parts: list[str | tuple[str, str]] = [
            f" {set_cell_size(setting.label, _LABEL)} ",
            (value, "bold" if given else ""),
        ]
        if self._fault is not None and self._fault.key and setting.key.startswith(self._fault.key):
            parts.append((f"\n   ✗ {one_line(self._fault.message, 200)}", "$text-error"))
        return Option(Content.assemble(*parts), id=setting.key)
