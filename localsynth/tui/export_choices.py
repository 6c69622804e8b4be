"""What is to be exported, and how: as a person chose it, as lines of the form, and as `localsynth export` takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from localsynth.engine.exporting import Selection, command_line
from localsynth.errors import DataError
from localsynth.export import check_target, find, formats, splits
from localsynth.tui import plan_files
from localsynth.tui.widgets.form_list import Line
from localsynth.tui.wording import number

ANSWERS = {"any": None, "yes": True, "no": False}
_ANSWERS = {None: "with or without", True: "with an answer", False: "instructions alone"}


@dataclass(frozen=True, slots=True)
class Choices:
    """`path` "" is the usual one. `run`: how the run of the selection is called, "" for all runs."""

    format: str = "openai"
    selection: Selection = field(default_factory=Selection)
    run: str = ""
    split: bool = False
    thinking: bool = False
    path: str = ""

    @property
    def parts(self) -> bool:
        """Whether it is split; a choice that this format cannot have waits for one that can."""
        return self.split and splits(self.format)

    @property
    def target(self) -> Path:
        """Where it goes."""
        suffix = find(self.format, split=self.parts).suffix
        return plan_files.named(self.path) if self.path else Path(f"localsynth-{self.format}{suffix}")

    @property
    def fault(self) -> str:
        """Why it cannot go there, "" where it can, perhaps in place of something else."""
        try:
            check_target(self.target, self.format, force=True, split=self.parts)
        except DataError as error:
            return f"{error.message}: {error.hint}"
        except OSError as error:
            return f"{self.target} cannot be looked at: {error.strerror}"
        return ""

    @property
    def overwrites(self) -> bool:
        """Whether something is there already; only to be asked where there is no `fault`."""
        try:
            check_target(self.target, self.format, split=self.parts)
        except DataError:
            return True
        return False

    def arguments(self, store: Path, *, force: bool = False) -> list[str]:
        """Behind `localsynth`."""
        words = ["export", str(self.target), "--format", self.format, "--store", str(store)]
        words += [*self.selection.options(), *(["--split"] if self.parts else [])]
        return words + (["--thinking"] if self.thinking else []) + (["--force"] if force else [])

    def command(self, store: Path) -> str:
        """The same to be typed."""
        chosen = self.selection
        target = str(self.target)
        return command_line(target, str(store), self.format, chosen, thinking=self.thinking, split=self.parts)

    def lines(self, count: int | None) -> Sequence[Line]:
        """The form. `count`: rows that will be written, None while they are counted."""
        chosen = self.selection
        rows = "..." if count is None else f"{number(count)} row{'s' * (count != 1)}"
        always = "always: train, valid, test" if self.format == "mlx-lora" else "not in this format"
        split = ("train, valid, test" if self.split else "no") if splits(self.format) else always
        there = " (there already)" if not self.fault and self.overwrites else ""
        return (
            Line("export", f"Export {rows}", kind="action"),
            Line("", "What is written", kind="heading"),
            Line("format", "Format", f"{self.format}: {formats()[self.format]}", given=self.format != "openai"),
            Line("split", "Split", split, given=self.parts),
            Line("thinking", "Reasoning", "in <think> tags" if self.thinking else "left out", given=self.thinking),
            Line("path", "Path", f"{self.target}{there}", given=bool(self.path), fault=self.fault),
            Line("", "Which rows", kind="heading"),
            Line("run", "Runs", self.run or "all runs", given=bool(self.run)),
            Line("kept", "Verdict", "kept and rejected" if chosen.everything else "kept", given=chosen.everything),
            Line("answered", "Answers", _ANSWERS[chosen.answered], given=chosen.answered is not None),
            Line("search", "Search", chosen.search or "all texts", given=bool(chosen.search)),
            Line("limit", "At most", number(chosen.limit) if chosen.limit else "all", given=bool(chosen.limit)),
        )
