"""The keys of the moment in the last line. Textual's Footer makes a widget of every key, anew at every change of focus:
that was three quarters of the time that going to another screen took."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.binding import ActiveBinding
from textual.content import Content
from textual.screen import Screen
from textual.style import Style
from textual.widgets import Input, Static, TextArea

_GAP = 2
_LAST = ("app.help", "app.quit")  # never left out: whoever is lost looks for these
_LAST_TYPING = ("app.help-anywhere", "app.quit-anywhere")  # in a field, where the others are letters
_SIGNS = frozenset({"slash", "minus", "plus"})  # keys that a field takes and Textual takes for no characters


class KeyLine(Static):
    """Shows what the screen's bindings want shown, as far as there is room; a click does what the key does."""

    DEFAULT_CSS: ClassVar[str] = """
    KeyLine {
        dock: bottom;
        height: 1;
        background: $footer-background;
        color: $footer-foreground;
    }
    """

    def __init__(self) -> None:
        super().__init__("", markup=False)
        self.auto_links = False  # underlined, in one colour, nothing would tell a key from its word
        self._shown = Content("")

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _changed(self, screen: Screen[Any]) -> None:
        if self.is_attached and screen is self.screen:
            self._draw()

    def _draw(self) -> None:
        line = self._line(self.size.width)
        if line != self._shown:
            self._shown = line
            self.update(line)

    def _line(self, width: int) -> Content:
        active = self.screen.active_bindings
        focus = self.screen.focused
        typing = isinstance(focus, Input) or (isinstance(focus, TextArea) and not focus.read_only)
        shown = [each for each in active.values() if each.binding.show and not (typing and each.binding.key in _SIGNS)]
        ours = {each.binding.action: each for each in reversed(shown)}
        found = _in_order([each for each in shown if ours[each.binding.action] is each])
        ids = _LAST_TYPING if typing else _LAST
        by_id = {each.binding.id: each for each in reversed(active.values())}
        last = [self._key(by_id[name]) for name in ids if name in by_id]
        keys = [self._key(each) for each in found if each.binding.id not in ids]
        palette = active.get(self.app.COMMAND_PALETTE_BINDING)
        end = self._key(palette) if palette is not None else Content("")
        room = width - sum(key.cell_length + _GAP for key in last) - end.cell_length
        while keys and sum(key.cell_length + _GAP for key in keys) > room:
            keys.pop()
        line = Content(" " * _GAP).join([*keys, *last])
        return line.append(" " * max(_GAP, width - line.cell_length - end.cell_length)).append(end)

    def _key(self, active: ActiveBinding) -> Content:
        binding = active.binding
        dim = " dim" if not active.enabled else ""
        text = Content.assemble(
            (self.app.get_key_display(binding), f"bold $footer-key-foreground{dim}"),
            (f" {binding.description}", f"$footer-description-foreground{dim}"),
        )
        return text.stylize(Style.from_meta({"@click": f"app.simulate_key({binding.key!r})"}))


def _in_order(found: list[ActiveBinding]) -> list[ActiveBinding]:
    """As the classes declare them: a key of the user's own would come last, and be left out first."""
    nodes = dict.fromkeys(each.node for each in found)
    declared = [binding.id for node in nodes for _, binding in node._bindings]  # noqa: SLF001 - without the user's keys
    place = {name: at for at, name in reversed(list(enumerate(declared)))}
    return sorted(found, key=lambda each: place.get(each.binding.id, len(place)))
