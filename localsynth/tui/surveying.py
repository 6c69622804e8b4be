"""What the map screen asks of stores: what there is to show, the row under the cursor, how far sets cover each other.

Runs on worker threads; nothing here knows a widget.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from localsynth import paths
from localsynth.embedding import coverage
from localsynth.embedding.coverage import Reach
from localsynth.embedding.projection import spread
from localsynth.engine.embed import CHARACTERS
from localsynth.errors import DataError, StoreError
from localsynth.printable import one_line
from localsynth.records import sample_id, sample_place
from localsynth.store import Reader, RunRow
from localsynth.tui.embedder import Embedder, EmbedView
from localsynth.tui.gridding import Frame, View, around, nearest
from localsynth.tui.points import Points

_TEXT = 600  # characters of the row under the cursor


@dataclass(frozen=True, slots=True)
class Survey:
    """What a store has for a map. `encoders`: rows in view that have a vector by each; `bare`: rows without any.

    `seconds`: what counting cost; `counted_at`: when, on the clock of `time.monotonic`.
    """

    runs: tuple[RunRow, ...] = ()
    encoders: Mapping[str, int] = field(default_factory=dict)
    bare: int = 0
    seconds: float = 0.0
    counted_at: float = 0.0
    work: EmbedView | None = None

    def run(self, name: str | None) -> RunRow | None:
        """The run with this id."""
        return next((row for row in self.runs if row.id == name), None)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The set that is laid under the map: a run of this store, or of one that holds nothing but a file's rows."""

    store: Path
    run: str | None
    label: str
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """`rows` of each set were compared: how far ours reaches into theirs, and theirs into ours."""

    rows: int
    ours: Reach
    theirs: Reach


@dataclass(frozen=True, slots=True)
class Scene:
    """What a map shows: `ours`, the set `below` it, and the view of the whole of both."""

    ours: Points
    below: Points | None
    whole: View


def scene(points: Points, run: str | None, other: str | None, laid: Points | None) -> Scene:
    """The points of one run, or of all runs but `other`, which is laid under them if it is named; `laid` is if not."""
    wanted = np.ones(len(points.ids), np.bool_) if run is None else points.groups == group(run)
    if other is not None:
        there = points.groups == group(other)
        laid = points.only(there)
        wanted &= ~there
    ours = points if wanted.all() else points.only(wanted)
    # A column side by side: counting reads one after the other, again and again.
    ours = replace(ours, places=np.asfortranarray(ours.places))
    return Scene(ours, laid, around(ours.places, *([laid.places] if laid is not None else [])))


def survey(store: Path, embedder: Embedder, run: str | None, before: Survey | None) -> Survey:
    """How things stand; rows are counted again only after twenty times what it cost the last time."""
    work = embedder.look(store)
    if not store.exists():
        return Survey(work=work)
    with Reader.open(store) as reader:
        runs = tuple(reader.runs())
        begun = time.monotonic()
        if before is not None and begun < before.counted_at + 20 * before.seconds:
            return Survey(runs, before.encoders, before.bare, before.seconds, before.counted_at, work)
        encoders = reader.encoders(run)
        bare = reader.unembedded_count([*encoders] or [CHARACTERS], run)
    return Survey(runs, encoders, bare, time.monotonic() - begun, time.monotonic(), work)


def row_at(store: Path, label: str, points: Points, frame: Frame, cell: tuple[int, int]) -> str:
    """The row that lies nearest to the middle of a cell, on one line."""
    number = nearest(frame, points.places, *cell)
    if number is None:
        return ""
    with Reader.open(store) as reader:
        rows = reader.rows([int(points.ids[number])])
        runs = {row.id: row.number for row in reader.runs()}
    if not rows:
        return ""
    name = label or str(runs.get(rows[0].run, "?"))
    return f"nearest {name}:{sample_place(rows[0].id)[1]}  {one_line(rows[0].instruction, _TEXT)}"


def measure(store: Path, ours: Points, other: Comparison, theirs: Points) -> Coverage | None:
    """The figures of coverage at equal counts; None where one set has no rows."""
    count = min(len(ours.ids), len(theirs.ids), coverage.ROWS)
    if not count:
        return None
    sets = []
    for path, points in ((store, ours), (other.store, theirs)):
        with Reader.open(path) as reader:
            vectors = reader.vectors_of(points.encoder, spread(points.ids, count).tolist())[1]
        places = ours.projection.apply(vectors)
        good = np.isfinite(places).all(axis=1)
        sets.append((places[good], vectors[good].astype(np.float32)))
    (our_places, our_vectors), (their_places, their_vectors) = sets
    if not (len(our_places) and len(their_places)):
        return None
    return Coverage(
        count,
        coverage.reach(our_places, our_vectors, their_places, their_vectors),
        coverage.reach(their_places, their_vectors, our_places, our_vectors),
    )


def comparison_file(path: Path) -> Comparison:
    """A file as a set to compare with: its rows go into a store of their own in the cache, never among ours.

    DataError where there is no such file.
    """
    path = path.expanduser().absolute()
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", "name a file or a folder that localsynth import reads") from None
    key = hashlib.sha256(f"{path}\n{found.st_mtime_ns}\n{found.st_size}".encode()).hexdigest()[:24]
    folder = paths.cache_dir() / "maps"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot write {folder}: {error.strerror}", "free some space, or set LOCALSYNTH_HOME"
        ) from None
    return Comparison(folder / f"{key}.db", None, path.name, path)


def group(run: str) -> int:
    """The number that the ids of all samples of a run begin with."""
    return sample_place(sample_id(run, 0))[0]
