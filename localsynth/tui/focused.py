"""The text of what is selected or has the focus, as it is shown: for copying."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from rich.text import Text
from textual.screen import Screen
from textual.selection import SELECT_ALL
from textual.widget import Widget
from textual.widgets import DataTable, Input, OptionList, Static, TextArea


@runtime_checkable
class Copyable(Protocol):
    """A widget that knows what of it is worth copying."""

    def copy_text(self) -> str:
        """The text; "" where there is nothing."""
        ...


def focused_text(screen: Screen[Any]) -> str:
    """What is selected with the mouse, else what the focused widget or one around it gives, else all that it shows."""
    selected = screen.get_selected_text()
    if selected:
        return selected
    focus = screen.focused
    if focus is None:
        return _shown(screen)
    for node in focus.ancestors_with_self:
        if isinstance(node, Copyable):
            return node.copy_text()
    return _known(focus) or _shown(focus)


def _known(widget: Widget) -> str:
    match widget:
        case Input():
            return widget.selected_text or widget.value
        case TextArea():
            return widget.selected_text or widget.text
        case DataTable() if widget.row_count:
            return "\t".join(str(cell) for cell in widget.get_row_at(widget.cursor_row))
        case OptionList() if widget.highlighted_option is not None:
            return str(widget.highlighted_option.prompt)
        case _:
            return ""


def _shown(widget: Widget) -> str:
    texts = [widget, *widget.walk_children(Static)] if isinstance(widget, Static) else widget.walk_children(Static)
    found = (_text(each) for each in texts if each.is_on_screen)
    return "\n".join(text for text in found if text.strip())


def _text(widget: Static) -> str:
    found = widget.get_selection(SELECT_ALL)
    return found[0] if found else str(widget.content) if isinstance(widget.content, str | Text) else ""
