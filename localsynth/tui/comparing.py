"""The part of the map screen that lays another set under the map: a run, or a file that is embedded for it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType

from localsynth.engine.embed import CHARACTERS
from localsynth.printable import one_line
from localsynth.store import Reader
from localsynth.tui import map_texts, surveying
from localsynth.tui.charting import ChartingScreen
from localsynth.tui.embedder import Cost, cost
from localsynth.tui.points import PointReader, Points
from localsynth.tui.screens.compare import OFF, Compare
from localsynth.tui.screens.confirm import Confirm
from localsynth.tui.surveying import Comparison, Coverage


class ComparingScreen(ChartingScreen):
    """Embeds what has no vector, of ours or of the other set, and keeps the figures of coverage."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "compare", "Compare", id="map.compare", tooltip="Lay another set under the map"),
        Binding("e", "embed", "Embed", show=False, id="map.embed", tooltip="Embed the rows that lack it, or end that"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._below_reader: PointReader | None = None
        self._measured = (0, 0)

    def read_other(self, *, patient: bool) -> None:
        other, points = self.comparison, self.points
        if other is None or other.file is None or points is None or not points.whole or not other.store.exists():
            return
        if self._below_reader is None:
            self._below_reader = PointReader(other.store, points.encoder, points.projection)
        self.ask("below", self._below_reader.read, self._took_below, patient=patient)

    def forget_other(self) -> None:
        self._below_reader = self.laid = self.figures = None

    def measure(self) -> None:
        """Compare with the other set, where either has grown by a tenth."""
        ours, below, other = self.ours, self.below, self.comparison
        if ours is None or below is None or other is None:
            return
        counts = len(ours.ids), len(below.ids)
        grown = any(now > 1.1 * then or now < then for now, then in zip(counts, self._measured, strict=True))
        if self.figures is None or grown:
            self._measured = counts
            self.ask("coverage", partial(surveying.measure, self.ui.store, ours, other, below), self._compared)

    def _took_below(self, points: Points) -> None:
        before, self.laid = self.laid, points
        if before is None or len(before.ids) != len(points.ids):
            self.select()

    def _compared(self, figures: Coverage | None) -> None:
        self.figures = figures
        self.show_lines()

    # Embedding

    def action_embed(self) -> None:
        survey = self.survey
        if survey is None or not survey.runs:
            self.ui.say("There are no rows to embed yet.")
        elif survey.work is not None and survey.work.live:
            ask = "End the embedding? What is embedded stays, and e goes on with the rest."
            self.app.push_screen(Confirm(ask, "End it"), self._stop)
        elif self.comparison is not None and not (self.below is not None and len(self.below.ids)):
            self._embed_comparison(self.comparison)
        else:
            encoder = self.points.encoder if self.points is not None and self.points.encoder != CHARACTERS else None
            self.ask("cost", partial(cost, self.ui.store, encoder, self.run), partial(self._offer, self.run))

    def _offer(self, run: str | None, found: Cost) -> None:
        if not found.rows:
            self.ui.say("Every row here has an embedding.")
            return
        row = self.survey.run(run) if self.survey else None
        whose = "all runs" if row is None else f"run {row.number}"
        command = ("embed", "--encoder", found.encoder, "--store", str(self.ui.store))
        commands: list[tuple[str, ...]] = [(*command, "--run", run) if run is not None else command]
        start = partial(self._start, self.ui.store, commands, "Embedding")
        self.app.push_screen(Confirm(map_texts.question(found, whose), "Embed"), start)

    def _start(self, store: Path, commands: list[tuple[str, ...]], title: str, sure: bool | None) -> None:
        if sure:
            job = partial(self.embedder.start, store, commands, title)
            self.ask("embed", job, lambda _: self.look(), writes="the start of embedding")

    def _stop(self, sure: bool | None) -> None:
        if sure:
            self.ask("embed", partial(self.embedder.stop, self.ui.store), lambda _: self.look())

    # Comparing

    def action_compare(self) -> None:
        survey = self.survey
        if survey is None or self.points is None:
            self.ui.say("There is no map yet to compare with: e embeds its rows.")
            return
        others = [row for row in survey.runs if row.id != self.run]
        self.app.push_screen(Compare(others, self.comparison is not None), self._compare)

    def _compare(self, chosen: str | None) -> None:
        """`chosen`: the id of a run, or the path of a file."""
        if chosen is None:
            return
        self.comparison = None
        self.forget_other()
        run = self.survey.run(chosen) if self.survey else None
        if chosen == OFF:
            self.select()
        elif run is not None:
            self._lay_under(Comparison(self.ui.store, run.id, f"run {run.number}"))
        else:
            self.ask("compare", partial(surveying.comparison_file, Path(chosen)), self._lay_under)

    def _lay_under(self, other: Comparison) -> None:
        self.comparison, self.view = other, None
        self.select()
        self.look()
        if other.file is None:
            self.ask("there", partial(self._has_vectors, other), partial(self._embed_if_bare, other))
        elif not other.store.exists():
            self._embed_comparison(other)

    def _has_vectors(self, other: Comparison) -> bool:
        with Reader.open(other.store) as reader:
            return self.points is not None and self.points.encoder in reader.encoders(other.run)

    def _embed_if_bare(self, other: Comparison, there: bool) -> None:
        if not there and other is self.comparison:
            self._embed_comparison(other)

    def _embed_comparison(self, other: Comparison) -> None:
        assert self.points is not None
        name = self.points.encoder
        if other.file is None:
            self.ask("cost", partial(cost, self.ui.store, name, other.run), partial(self._offer, other.run))
            return

        def then(found: Cost) -> None:
            if found.missing:
                self.ui.say(f"{found.missing}: no other rows can be laid on a map of {one_line(name, 40)}.")
                return
            store = ("--store", str(other.store))
            commands = [("import", str(other.file), *store), ("embed", "--encoder", found.encoder, *store)]
            question = (
                f"Read {other.label} and embed its rows by {found.name}? A process of its own does it, at about 75 "
                "rows a second on two cores; the rows go into the cache, none of them into your data."
            )
            self.app.push_screen(
                Confirm(one_line(question, 600), "Embed"), partial(self._start, other.store, commands, other.label)
            )

        self.ask("cost", partial(cost, self.ui.store, name), then)
