"""Map: every row with an embedding as a point; what lies close together says much the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from localsynth.printable import one_line
from localsynth.tui import surveying
from localsynth.tui.colouring import KINDS, scores_of
from localsynth.tui.comparing import ComparingScreen
from localsynth.tui.gridding import at_cell
from localsynth.tui.screens.choose import Choose
from localsynth.tui.widgets.key_line import KeyLine
from localsynth.tui.widgets.scatter import Look, ScatterPlot
from localsynth.tui.widgets.title import TitleBar

_LOOKS: tuple[Look, ...] = ("dots", "density", "letters")
_MOST = 10_000  # rows that are opened at once


class MapScreen(ComparingScreen):
    """The keys of the map; what it shows is read by its other half."""

    CSS_PATH = "map.tcss"
    TITLE = "Map"
    HELP = (
        "The two directions in which the embeddings differ most (principal components); near points say much the same. "
        "Density: each shade is for some times as many rows as the one before. Letters: the commonest class of a cell. "
        "Coverage compares equal numbers of rows of both sets: the share of cells of the one, on a grid of 32 x 32 "
        "around both, in which the other has a row too; the share of rows within cosine 0.8 of one of the other's; "
        "and the median cosine distance to the nearest row of the other."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "colour", "Colour", id="map.colour", tooltip="Colour by run, topic, verdict or score"),
        Binding("s", "score", "Score", show=False, id="map.score", tooltip="Choose the score to colour by"),
        Binding("v", "only(1)", "One class", show=False, id="map.class", tooltip="One class alone, then the next"),
        Binding("V", "only(-1)", "Class before", show=False, id="map.class-before", tooltip="The class before alone"),
        Binding("d", "signs", "Density", id="map.density", tooltip="Dots, density, or letters of classes"),
        Binding("r", "scope", "All runs", show=False, id="map.scope", tooltip="All runs, or the run in hand alone"),
        Binding("m", "encoder", "Encoder", show=False, id="map.encoder", tooltip="Show the rows of another encoder"),
    ]  # fmt: skip

    def compose(self) -> ComposeResult:
        yield TitleBar("map", self.ui.store.name)
        yield Static("", id="status", markup=False)
        yield Static("", id="work", markup=False)
        yield Static("", id="welcome", classes="welcome", markup=False)
        yield ScatterPlot(id="plot")
        yield Static("", id="legend", markup=False)
        yield Static("", id="coverage", markup=False)
        yield Static("", id="here", markup=False)
        yield KeyLine()

    def on_mount(self) -> None:
        for name in ("#work", "#welcome", "#legend", "#coverage"):
            self.query_one(name).display = False
        self.plot.focus()

    def on_unmount(self) -> None:
        self.ui.farewell.extend(self.embedder.leave())

    # What is shown

    def action_colour(self) -> None:
        if self.ours is None:
            return
        self.kind = KINDS[(KINDS.index(self.kind) + 1) % len(KINDS)]
        self.only, self.colouring = None, None
        if not self.kind and self.signs == "letters":
            self.signs = "dots"
        elif self.kind and self.app.no_color:
            self.signs = "letters"
        if self.kind == "score" and not self.score:
            self._with_scores(self._take_first_score)
        else:
            self.recolour()

    def action_score(self) -> None:
        self._with_scores(self._choose_score)

    def action_only(self, step: int) -> None:
        names = self.colouring.names if self.colouring is not None else ()
        if not names:
            self.ui.say("All points are of one class: c tells them apart.")
            return
        place = (-1 if self.only is None else self.only) + step
        self.only = (place + 1) % (len(names) + 1) - 1
        self.only = None if self.only < 0 else self.only
        self.redraw()

    def action_signs(self) -> None:
        looks = _LOOKS if self.colouring is not None else _LOOKS[:2]
        self.signs = looks[(looks.index(self.signs) + 1) % len(looks)] if self.signs in looks else "dots"
        self.redraw()

    def action_scope(self) -> None:
        self.all_runs = not self.all_runs
        self.look_anew()

    def action_encoder(self) -> None:
        encoders = self.survey.encoders if self.survey else {}
        if not encoders:
            self.ui.say("No row here has an embedding yet: e computes them.")
            return
        shown = [(name, f"{one_line(name, 60)}  {count:,} rows") for name, count in encoders.items()]
        current = self.points.encoder if self.points is not None else ""
        about = "Vectors of different encoders cannot be compared: each has a map of its own."
        self.app.push_screen(Choose("Encoder", about, shown, current), self._take_encoder)

    def _take_encoder(self, name: str | None) -> None:
        if name is not None:
            self.encoder = name
            self.look()

    def _with_scores(self, then: Callable[[list[str]], None]) -> None:
        if self.ours is not None and len(self.ours.ids):
            self.ask("scores", partial(scores_of, self.ui.store, self.ours.ids), then)

    def _take_first_score(self, names: list[str]) -> None:
        self.score = names[0] if names else ""
        self.recolour()

    def _choose_score(self, names: list[str]) -> None:
        if not names:
            self.ui.say("No row here has a score with a number.")
            return
        shown = [(name, one_line(name, 60)) for name in names]
        self.app.push_screen(
            Choose("Colour by a score", "In quarters of the rows.", shown, self.score), self._take_score
        )

    def _take_score(self, name: str | None) -> None:
        if name is not None:
            self.kind, self.score, self.only = "score", name, None
            self.recolour()

    # Opening

    def on_scatter_plot_opened(self) -> None:
        plot, ours, frame = self.plot, self.ours, self.plot.frame
        if ours is None or frame is None:
            return
        if not plot.count:
            self.ui.say("No row of ours lies in this cell: n goes to the densest one.")
            return
        places, codes = ours.places, self.colouring.codes if self.colouring is not None else None
        found = at_cell(frame, places, *plot.cursor)
        if self.only is not None and codes is not None:
            found = found[codes[found] == self.only]
        self._review(sorted(ours.ids[found].tolist()))

    def _review(self, ids: list[int]) -> None:
        """Open rows on the review screen: of the run in hand where it has any there, else of the first run that has."""
        groups = {sample >> 36 for sample in ids}
        runs = [row for row in (self.survey.runs if self.survey else ()) if surveying.group(row.id) in groups]
        run = next((row for row in runs if row.id == self.ui.run_id), runs[0] if runs else None)
        if run is None:
            return
        mine = [sample for sample in ids if sample >> 36 == surveying.group(run.id)]
        if len(mine) < len(ids):
            self.ui.say(f"{len(mine):,} of {len(ids):,} rows: those of run {run.number}. Others are of other runs.")
        if len(mine) > _MOST:
            self.ui.say(f"The first {_MOST:,} of {len(mine):,} rows: + zooms in for fewer.")
        self.ui.review(run.id, chosen=tuple(mine[:_MOST]))
