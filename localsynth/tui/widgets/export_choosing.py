"""The half of the export's part that changes what is chosen; the other half shows it and writes it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, cast

from textual.containers import Vertical
from textual.widgets import OptionList

from localsynth.export import formats, splits
from localsynth.printable import one_line
from localsynth.tui import export_words
from localsynth.tui.child_screen import ChildScreen
from localsynth.tui.export_choices import ANSWERS, Choices
from localsynth.tui.export_view import Past
from localsynth.tui.screens.choose import Choose
from localsynth.tui.screens.field import AskValue


class ChoosingPart(Vertical):
    """Asks for each value in the way that suits it. `past`: the runs there are, None until they were looked at."""

    def __init__(self) -> None:
        super().__init__(id="export-part", classes="part")
        self.choices = Choices()
        self.past: Past | None = None

    @property
    def host(self) -> ChildScreen:
        """The screen around it."""
        return cast("ChildScreen", self.screen)

    def action_write(self) -> None:
        """Export what is chosen."""
        raise NotImplementedError

    def change(self, choices: Choices) -> None:
        """Take other choices."""
        raise NotImplementedError

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        match event.option_id or "":
            case "export":
                self.action_write()
            case "format":
                self._choose(
                    "Format",
                    "What your trainer reads.",
                    [(name, f"{name}: {text}") for name, text in formats().items()],
                )
            case "run":
                runs = [(row.id, export_words.run_name(row)) for row in (self.past or Past()).runs]
                self._choose("Runs", "Whose rows?", [("", "all runs"), *runs])
            case "answered":
                answers = [("any", "with or without"), ("yes", "with an answer"), ("no", "instructions alone")]
                self._choose("Answers", "Some formats need one in every row.", answers)
            case "split" if not splits(self.choices.format):
                self.host.ui.say(
                    "mlx-lora always has its parts." if self.choices.format == "mlx-lora" else "Only JSONL."
                )
            case "split":
                self.change(replace(self.choices, split=not self.choices.split))
            case "thinking":
                self.change(replace(self.choices, thinking=not self.choices.thinking))
            case "kept":
                self._select(everything=not self.choices.selection.everything)
            case setting:
                self._type(setting)

    def _choose(self, title: str, about: str, choices: list[tuple[str, str]]) -> None:
        chosen = self.choices.selection
        answered = next(name for name, value in ANSWERS.items() if value is chosen.answered)
        now = {"Format": self.choices.format, "Runs": chosen.run or "", "Answers": answered}[title]
        self.app.push_screen(Choose(title, about, choices, now), partial(self._chosen, title, dict(choices)))

    def _chosen(self, title: str, names: dict[str, str], value: str | None) -> None:
        if value is None:
            return
        if title == "Format":
            self.change(replace(self.choices, format=value))
        elif title == "Answers":
            self._select(answered=ANSWERS[value])
        else:
            self.choices = replace(self.choices, run=names[value] if value else "")
            self._select(run=value or None)

    def _type(self, setting: str) -> None:
        chosen = self.choices.selection
        title, about, now = {
            "path": ("Path", "The card goes beside a file, into a folder.", str(self.choices.target)),
            "search": ("Search", "Rows in which each of these words is in one turn.", chosen.search or ""),
            "limit": ("At most", "So many rows, the oldest first.", str(chosen.limit or "")),
        }[setting]
        check = {"path": self._wrong_path, "limit": _wrong_limit}.get(setting, lambda _: "")
        self.app.push_screen(AskValue(title, about, now, check), partial(self._typed, setting))

    def _wrong_path(self, text: str) -> str:
        return replace(self.choices, path=text.strip()).fault

    def _typed(self, setting: str, text: str | None) -> None:
        if text is None:
            return
        value = text.strip()
        if setting == "path":
            usual = str(replace(self.choices, path="").target)
            self.change(replace(self.choices, path="" if value == usual else value))
        elif setting == "limit":
            self._select(limit=int(value) if value else None)
        else:
            self._select(search=value or None)

    def _select(self, **changes: Any) -> None:
        self.change(replace(self.choices, selection=replace(self.choices.selection, **changes)))


def _wrong_limit(text: str) -> str:
    value = one_line(text, 20).strip()
    return "" if not value or (value.isdecimal() and int(value)) else "type a whole number from 1, or nothing for all"
