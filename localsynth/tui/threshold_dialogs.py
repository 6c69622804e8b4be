"""The dialogs of the filters screen: a bound to type, a preset to take, a plan to save into."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from localsynth.config.plan_file import save_thresholds
from localsynth.config.thresholds import Threshold
from localsynth.filters.presets import find_preset, presets
from localsynth.printable import one_line
from localsynth.tui.judging import JudgingScreen
from localsynth.tui.screens.choose import Choose
from localsynth.tui.screens.field import AskValue
from localsynth.tui.widgets import filter_lines
from localsynth.tui.widgets.histogram import Side


class DialogScreen(JudgingScreen):
    """Moves thresholds as they are typed or taken. `side`: the bound in hand."""

    side: Side = "low"

    @property
    def name_in_hand(self) -> str:
        """The score under the cursor, "" where there is none."""
        raise NotImplementedError

    @property
    def bounded(self) -> bool:
        """Whether the score under the cursor can have a threshold now."""
        name = self.name_in_hand
        return name in self.table.measures and self.table.ready(name)

    def action_type(self) -> None:
        if not self.bounded:
            self.ui.say("Only a score with a value has a threshold.")
            return
        name, side, bounds = self.name_in_hand, self.side, self.bounds(self.name_in_hand)
        at = getattr(bounds, side)
        about = f"The {'lowest' if side == 'low' else 'highest'} value that passes; nothing for no bound."

        def check(text: str) -> str:
            return filter_lines.fault(text, bounds, side)

        def take(text: str | None) -> None:
            if text is not None:
                value = float(text) if text.strip() else None
                self.draft(name, Threshold(value, bounds.high) if side == "low" else Threshold(bounds.low, value))

        self.app.push_screen(AskValue(name, about, "" if at is None else f"{at:.10g}", check), take)

    def action_presets(self) -> None:
        choices = [(preset.id, filter_lines.preset(preset)) for preset in presets()]
        about = "It moves these thresholds; enter on the filters screen applies them."
        self.app.push_screen(Choose("Presets", about, choices, choices[0][0]), self._take_preset)

    def _take_preset(self, name: str | None) -> None:
        if name is None:
            return
        preset = find_preset(name)
        here = {score: bounds for score, bounds in preset.thresholds.items() if score in self.table.measures}
        for score, bounds in here.items():
            self.draft(score, bounds, name)
        missing = [score for score in preset.thresholds if score not in here]
        self.ui.say(f"{preset.title}. Source: {preset.source}.")
        if missing:
            self.ui.say(f"No row here has a value of {', '.join(missing)}.")

    def action_save(self) -> None:
        thresholds = {name: self.bounds(name) for name in self.table.measures}
        wanted = {name: bounds for name, bounds in thresholds.items() if not bounds.open or name in self.drafts}
        if not wanted:
            self.ui.say("There is no threshold to save: h and l move one.")
            return
        about = f"{len(wanted)} thresholds go into this plan; the rest of it stays as it is."
        self.app.push_screen(
            AskValue(
                "Save into a plan",
                about,
                str(Path.cwd() / "plan.toml"),
                lambda text: "" if text.strip() else "name a file",
            ),
            lambda path: self._save(path, wanted),
        )

    def _save(self, path: str | None, wanted: dict[str, Threshold]) -> None:
        if path is None:
            return
        target = Path(path.strip()).expanduser()

        def then(_: None) -> None:
            self.ui.say(f"Saved into {one_line(str(target), 200)}: localsynth generate --plan uses it.")
            if self.drafts:
                self.action_apply()

        self.ask("save", partial(save_thresholds, target, wanted), then, writes="the plan's thresholds")
