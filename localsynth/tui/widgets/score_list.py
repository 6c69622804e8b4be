"""The scores of a store with what each rejects, and the rows near a bound: two lists of the filters screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from localsynth.printable import fit
from localsynth.tui.wording import number, rule_label

_ROW_CELLS = 9  # of a row's name, such as 12:345678


class ScoreList(OptionList):
    """One line per score: its name, how many rows it rejects, and a sign where its threshold was moved."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "screen.move(-1)", "Lower", key_display="h", id="filters.lower", tooltip="Lower the bound"),
        Binding("right,l", "screen.move(1)", "Raise", key_display="l", id="filters.raise", tooltip="Raise the bound"),
        Binding(
            "shift+left,H", "screen.move(-10)", "Lower much", key_display="H", show=False, id="filters.lower-much",
            tooltip="Lower the bound by ten steps",
        ),
        Binding(
            "shift+right,L", "screen.move(10)", "Raise much", key_display="L", show=False, id="filters.raise-much",
            tooltip="Raise the bound by ten steps",
        ),
        Binding(
            "tab", "screen.other_bound", "Bound", id="filters.other-bound", tooltip="Move the other bound"
        ),
        Binding("enter", "screen.apply", "Apply", id="filters.apply", tooltip="Apply the moved thresholds to all rows"),
        Binding("j", "cursor_down", "Next score", show=False, id="filters.next", tooltip="Next score"),
        Binding("k", "cursor_up", "Score before", show=False, id="filters.before", tooltip="The score before"),
        Binding("g", "first", "First score", show=False, id="filters.first", tooltip="First score"),
        Binding("G", "last", "Last score", show=False, id="filters.last", tooltip="Last score"),
        Binding("ctrl+d", "page_down", "Page down", show=False, id="filters.page-down", tooltip="A page down"),
        Binding("ctrl+u", "page_up", "Page up", show=False, id="filters.page-up", tooltip="A page up"),
    ]  # fmt: skip

    class Resized(Message):
        """The lines have another width."""

    def on_resize(self, event: events.Resize) -> None:
        del event
        self.post_message(self.Resized())

    def show(self, names: Sequence[str], rejected: Sequence[int | None], moved: Sequence[bool]) -> None:
        """Show these scores; the cursor stays on its score."""
        width = max(10, self.scrollable_content_region.width)
        lines = [_line(*each, width) for each in zip(names, rejected, moved, strict=True)]
        if [option.id for option in self.options] == list(names):
            for at, line in enumerate(lines):
                if self.get_option_at_index(at).prompt != line:
                    self.replace_option_prompt_at_index(at, line)
            return
        before = self.highlighted_option
        self.clear_options()
        self.add_options([Option(line, id=name) for name, line in zip(names, lines, strict=True)])
        at = list(names).index(before.id) if before is not None and before.id is not None and before.id in names else 0
        self.highlighted = at if names else None


class ExampleList(OptionList):
    """Rows just below and just above a bound; enter opens one in Review."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select", "Review", id="examples.review", tooltip="Open this row in Review"),
        Binding("j", "cursor_down", "Next", show=False, id="examples.next", tooltip="Next example"),
        Binding("k", "cursor_up", "Before", show=False, id="examples.before", tooltip="The example before"),
        Binding("escape", "screen.scores", "Scores", id="examples.scores", tooltip="Back to the scores"),
    ]

    def show(self, lines: Sequence[tuple[str, bool, float, str, str]], bound: str) -> None:
        """Rows as (id, passes, value, name, text) in the order of their values; `bound` stands where the line is.

        Without rows it stands alone, and says why.
        """
        at = self.highlighted
        width = max(20, self.scrollable_content_region.width)
        options: list[Option] = []
        sides = [passes for _, passes, *_ in lines]
        for place, (sample, passes, value, name, text) in enumerate(lines):
            if place and sides[place - 1] != passes:
                options.append(_ruler(bound, width))
            options.append(Option(_example(passes, value, name, text, width), id=sample))
        self.clear_options()
        self.add_options(options or [_ruler(bound, width)])
        if at is not None and options:
            self.highlighted = min(at, len(options) - 1)


def _line(name: str, rejected: int | None, moved: bool, width: int) -> Content:
    count = "…" if rejected is None else number(rejected)
    label = fit(rule_label(name), max(1, width - 3 - len(count)))
    return Content.assemble(("◆ " if moved else "  ", "bold $text-warning"), label, f" {count}")


def _ruler(text: str, width: int) -> Option:
    return Option(Content.styled(f"{f'── {text} ':─<{width}}", "dim"), disabled=True)


def _example(passes: bool, value: float, name: str, text: str, width: int) -> Content:
    head = f"{value:>8.4g} {name:<{_ROW_CELLS}} "
    return Content.assemble(
        ("✓ " if passes else "✗ ", "$text-success" if passes else "$text-error"),
        (head, "dim"),
        fit(text, max(1, width - 2 - len(head))),
    )
