"""The half of the map screen that reads: points, classes, the grid of what is in view, the set laid under it."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np
from textual.content import Content
from textual.widgets import Static

from localsynth.errors import LocalsynthError
from localsynth.tui import map_texts, surveying
from localsynth.tui.asking import AskingScreen
from localsynth.tui.colouring import Colouring, colour
from localsynth.tui.embedder import Embedder
from localsynth.tui.gridding import Frame, Grid, View, around, grid
from localsynth.tui.points import PointReader, Points
from localsynth.tui.surveying import Comparison, Coverage, Scene, Survey
from localsynth.tui.widgets.scatter import Look, ScatterPlot

_FARTHEST = 8  # times the whole map
_NEAREST = 1e-5


class ChartingScreen(AskingScreen):
    """Keeps the picture up to date while rows come in. `ours`: the points in view's scope; `below`: the other set's."""

    PERIOD: ClassVar[float] = 1.0

    def __init__(self) -> None:
        super().__init__()
        self._nearest = ""
        self.embedder = Embedder()
        self.survey: Survey | None = None
        self.run: str | None = None  # in whose scope the map is; None for all runs
        self.all_runs = False
        self.encoder: str | None = None  # chosen by the user
        self.points: Points | None = None
        self.scene: Scene | None = None
        self.view: View | None = None  # None for the whole map
        self.signs: Look = "dots"
        self.kind, self.score, self.only = "", "", None
        self.colouring: Colouring | None = None
        self.comparison: Comparison | None = None
        self.laid: Points | None = None  # the set of another store that is laid under the map
        self.figures: Coverage | None = None
        self._reader: PointReader | None = None
        self._coloured_at = 0.0

    only: int | None

    @property
    def ours(self) -> Points | None:
        """The points that the map is of."""
        return self.scene.ours if self.scene is not None else None

    @property
    def below(self) -> Points | None:
        """The points of the set that is laid under it."""
        return self.scene.below if self.scene is not None else None

    @property
    def plot(self) -> ScatterPlot:
        """The map itself."""
        return self.query_one(ScatterPlot)

    def look(self) -> None:
        self._look(patient=True)

    def look_anew(self) -> None:
        """Look at once at what is in scope now, and count it."""
        self.survey = None
        self._look(patient=False)

    def _look(self, *, patient: bool) -> None:
        scope = None if self.all_runs else self.ui.run_id
        before = self.survey if scope == self.run else None
        job = partial(surveying.survey, self.ui.store, self.embedder, scope, before)
        self.ask("survey", job, partial(self._surveyed, scope), patient=patient)

    def refused(self, group: str, error: LocalsynthError) -> None:
        if group == "survey" and self.points is None:
            self._welcome(f"{error.message}\n\n{error.hint}")

    def on_screen_resume(self) -> None:
        self._coloured_at = 0.0  # verdicts may have changed on another screen

    def _surveyed(self, scope: str | None, found: Survey) -> None:
        if not self.all_runs and self.ui.run_id is None and found.runs:
            self.ui.run_id = found.runs[-1].id
            self.look()
            return
        if scope != self.run:
            self.run, self.scene, self.view, self.only, self.colouring = scope, None, None, None, None
            self.plot.clear()
        before, self.survey = self.survey, found
        encoder = self.encoder if self.encoder in found.encoders else next(iter(found.encoders), None)
        if encoder is None:
            self._welcome(map_texts.welcome(found))
        else:
            if self.points is None or self.points.encoder != encoder:
                self._open(encoder)
            self._read(patient=True)
        ended = before is not None and before.work is not None and found.work is None
        if ended:  # what was embedded is there at once, not when counting is next due
            self.survey = replace(found, seconds=0.0)
        self.show_lines()

    def _open(self, encoder: str) -> None:
        self._reader = PointReader(self.ui.store, encoder)
        self.points = self.scene = self.view = self.colouring = None
        self.forget_other()
        self.plot.clear()

    def _read(self, *, patient: bool) -> None:
        if self._reader is not None:
            self.ask("points", self._reader.read, self._took, patient=patient)
        self.read_other(patient=patient)

    def read_other(self, *, patient: bool) -> None:
        """Called when the points are read."""

    def measure(self) -> None:
        """Called when all points are there."""

    def forget_other(self) -> None:
        """Called when the map becomes that of other vectors."""

    def _took(self, points: Points) -> None:
        before, self.points = self.points, points
        if before is not None and before.projection is not points.projection:
            self.forget_other()
        if before is None or before.last != points.last or self.scene is None:
            self.select()
        elif self.kind and time.monotonic() > self._coloured_at:
            self.recolour()
        if not points.whole:
            self._read(patient=False)

    def select(self) -> None:
        """Take the points that are in scope, and show them."""
        if self.points is not None:
            other = self.comparison.run if self.comparison is not None else None
            job = partial(surveying.scene, self.points, self.run, other, self.laid)
            self.ask("scene", job, partial(self._selected, self.points.whole))

    def _selected(self, whole: bool, found: Scene) -> None:
        self.scene = found
        if len(found.ours.ids) or (found.below is not None and len(found.below.ids)):
            self.query_one("#welcome").display = False
            if not self.plot.display:
                self.plot.display = True
                self.plot.focus()
            if self.kind:
                self.recolour()
            self.redraw()
        elif whole and self.survey is not None:
            self._welcome(map_texts.welcome(self.survey))
        if whole:
            self.measure()
        self.show_lines()

    def recolour(self) -> None:
        """Ask of which class each point is."""
        ours = self.ours
        if ours is None or not self.kind:
            self.colouring = None
            self.redraw()
            return
        begun = time.monotonic()

        def then(found: Colouring) -> None:
            # Verdicts of a million rows take seconds to read, and the cores belong to the run.
            self._coloured_at = time.monotonic() + 20 * (time.monotonic() - begun) + 2
            self.colouring = found
            self.redraw()

        self.ask("colour", partial(colour, self.ui.store, self.kind, self.score, ours.ids), then)

    def redraw(self) -> None:
        """Show what is in view."""
        ours, size = self.ours, self.plot.size
        if ours is None or not size.area:
            return
        below = self.below.places if self.below is not None else None
        frame = Frame(self.view or self.whole(), size.width, size.height)
        codes = self.colouring.codes if self.colouring is not None else None
        if codes is not None and len(codes) != len(ours.ids):  # rows that came in since are of no class yet
            codes = np.append(codes, np.full(len(ours.ids), -1, np.int32))[: len(ours.ids)]
        self.ask("grid", partial(grid, frame, ours.places, codes=codes, only=self.only, below=below), self._gridded)

    def whole(self) -> View:
        """The view of everything."""
        return self.scene.whole if self.scene is not None else around()

    def on_scatter_plot_resized(self) -> None:
        self.redraw()

    def on_scatter_plot_wanted(self, message: ScatterPlot.Wanted) -> None:
        view, whole = message.view, self.whole()
        if view is not None and not _NEAREST < view.width / whole.width < _FARTHEST:
            return
        self.view = view
        self.redraw()

    def on_scatter_plot_moved(self) -> None:
        plot, ours, frame = self.plot, self.ours, self.plot.frame
        if ours is None or frame is None:
            return
        self._here("")
        points, store, label = ours, self.ui.store, ""
        if not plot.count and plot.grid is not None and plot.grid.under[plot.cursor[::-1]] and self.below is not None:
            points, label = self.below, self.comparison.label if self.comparison else ""
            store = self.comparison.store if self.comparison else store
        self.ask("row", partial(surveying.row_at, store, label, points, frame, plot.cursor), self._here)

    def show_lines(self) -> None:
        """The status, the work and the figures of coverage."""
        found = self.survey
        if found is None:
            return
        zoom = self.whole().width / self.view.width if self.view is not None else 1.0
        shown = len(self.ours.ids) if self.ours is not None else 0
        self.query_one("#status", Static).update(map_texts.status(found, self.points, shown, self.run, zoom))
        work = self.query_one("#work", Static)
        work.update(map_texts.work(found.work))
        work.display = found.work is not None
        line = self.query_one("#coverage", Static)
        line.display = self.comparison is not None
        if self.comparison is not None:
            there = len(self.below.ids) if self.below is not None else 0
            line.update(map_texts.coverage(self.figures, self.comparison, there))

    def _gridded(self, found: Grid) -> None:
        classes = self.colouring is not None and self.colouring.names
        self.plot.show(found, "dots" if self.signs == "letters" and not classes else self.signs)
        self._legend()
        self.show_lines()

    def _legend(self) -> None:
        text = map_texts.legend(self.signs, self.plot.grid, self.colouring, self.only, self.comparison)
        line = self.query_one("#legend", Static)
        line.update(text)
        line.display = bool(text.plain)

    def copy_text(self) -> str:
        """The row nearest to the cursor."""
        return self._nearest

    def _here(self, row: str) -> None:
        self._nearest = row
        count = self.plot.count
        rows = "no row here" if not count else "1 row here" if count == 1 else f"{count:,} rows here"
        self.query_one("#here", Static).update(Content.assemble((rows, "bold"), f"  {row}"))

    def _welcome(self, text: str) -> None:
        self.plot.display = False
        welcome = self.query_one("#welcome", Static)
        welcome.display = True
        welcome.update(Content(text))
        self._nearest = ""
        self.query_one("#here", Static).update("")
