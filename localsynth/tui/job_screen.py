"""The base of the screens that fetch and check models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from localsynth import paths
from localsynth.errors import LocalsynthError
from localsynth.tui.child_screen import ChildScreen
from localsynth.tui.jobs import JobView
from localsynth.tui.model_words import size
from localsynth.tui.screens.confirm import Confirm
from localsynth.tui.stock import Line, Stock, take_stock

_REPOSITORY = r"[\w.-]+/[\w.-]+"


class JobScreen(ChildScreen):
    """`stock` is what there is, None until it was looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.stock: Stock | None = None

    def look(self) -> None:
        super().look()
        if self.stock is None:
            self.take_stock()

    def on_screen_resume(self) -> None:
        if self.stock is not None:
            self.take_stock()

    def take_stock(self) -> None:
        """Look again at what there is."""
        self.ask("stock", take_stock, self._take)

    def stock_taken(self) -> None:
        """Called when `stock` is fresh."""

    def pull(self, line: Line) -> None:
        """Fetch a model, or the rest of it, after asking."""
        if line.here or not line.pullable:
            self.ui.say(f"{line.name} is here already." if line.here else f"Nothing is known to fetch for {line.name}.")
        elif line.entry is not None and line.entry.partial is not None:
            self._pull(line.name, sure=True)
        else:
            weights = size(max(0.0, line.memory - 0.3) / 1.2 * 1e9)
            licence = f", licence {line.card.licence}" if line.card else ""
            room = "" if line.fits else " It does not fit this machine's memory."
            question = f"Fetch {line.name}, about {weights}{licence}?{room} It goes on when you leave the UI."
            self.app.push_screen(Confirm(question, "Fetch"), lambda sure: self._pull(line.name, sure=bool(sure)))

    def lacks(self, name: str) -> bool:
        """Whether a model of this name is not here, and could be fetched: one of the catalogue, or a repository."""
        if self.stock is None:
            return False
        line = self.stock.line(name)
        if line is None:
            return bool(re.fullmatch(_REPOSITORY, name)) and not Path(name).exists()
        return not line.here

    def fetch(self, name: str) -> None:
        """Fetch a model by its name, after asking."""
        line = self.stock.line(name) if self.stock is not None else None
        if line is not None:
            self.pull(line)
        else:
            question = f"Fetch the repository {name}? It goes on when you leave the UI."
            self.app.push_screen(Confirm(question, "Fetch"), lambda sure: self._pull(name, sure=bool(sure)))

    def check(self, name: str, how: Sequence[str] = ()) -> None:
        """Have the doctor look at a model; `how` are its options."""
        self.start_job(f"doctor {name}", f"Doctor of {name}", ["doctor", *([name] if name else []), *how])
        self.ui.say(
            "The doctor asks for 64 questions: a minute with a small model, many with a large one on a laptop. "
            "X cancels it; it ends with the UI."
        )

    def remove_model(self, line: Line) -> None:
        """Delete what localsynth has of a model, after asking."""
        entry = line.entry
        if entry is None:
            self.ui.say("A server is not removed here.")
            return
        from localsynth.catalog.shelf import disk_size, refuse_removal

        try:
            refuse_removal(entry)
        except LocalsynthError as error:
            self.ui.complain(error)
            return
        places = ", ".join(str(path.relative_to(paths.models_dir())) for path in entry.ours)
        freed = size(sum(map(disk_size, entry.ours)))
        question = f"Remove {line.name} ({places}) and free {freed}? Runs that use it cannot go on without it."
        self.app.push_screen(Confirm(question, "Remove"), partial(self._remove, line))

    def _remove(self, line: Line, sure: bool | None) -> None:
        from localsynth.catalog.shelf import remove

        if sure and line.entry is not None:

            def then(freed: int) -> None:
                self.ui.say(f"{line.name} is removed: {size(freed)} are free again.")
                self.take_stock()

            self.ask("remove", partial(remove, line.entry), then, writes=f"the removal of {line.name}")

    def _pull(self, name: str, *, sure: bool) -> None:
        if sure:
            self.start_job(f"pull {name}", f"Fetching {name}", ["models", "pull", name], outlives=True)

    def _take(self, stock: Stock) -> None:
        self.stock = stock
        self.stock_taken()

    def _tell(self, job: JobView) -> None:
        super()._tell(job)
        self.take_stock()
