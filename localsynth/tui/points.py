"""The points of a map, read from the store: projected once, kept in the cache, read on while a run writes.

Runs on worker threads. Points are frozen: the screen swaps one set for the next.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from localsynth import paths
from localsynth.embedding.projection import FIT_ROWS, Projection, fit, spread
from localsynth.store import Reader

_PAGES: Final = 8  # of 8192 rows: what one look takes in, so that a large map is seen to grow
_GROWN: Final = 4  # times the rows that a projection was fitted on: then it is fitted anew, while it is young
_ARRAYS: Final = ("mean", "basis", "ids", "places", "numbers")
_SAVED: Final = 1.1  # times the rows in the cache: then they are saved again


@dataclass(frozen=True, slots=True)
class Points:
    """Where the rows with a vector by one encoder lie: ids [n] and places [n, 2], in the order they were stored.

    `last`: the vector read last; `left_out`: vectors that are no numbers or of another length; `whole`: all are read.
    """

    encoder: str
    projection: Projection
    ids: NDArray[np.int64]
    places: NDArray[np.float32]
    last: int = 0
    left_out: int = 0
    whole: bool = False

    @property
    def groups(self) -> NDArray[np.int64]:
        """For each point the number that all samples of its run share."""
        return self.ids >> 36

    def only(self, wanted: NDArray[np.bool_]) -> Points:
        """Some of the points."""
        return replace(self, ids=self.ids[wanted], places=self.places[wanted])


class PointReader:
    """Reads the points of one encoder again and again; one thread at a time.

    `onto`: the projection of another map, on which these points are laid instead of on their own.
    """

    def __init__(self, store: Path, encoder: str, onto: Projection | None = None) -> None:
        self._store, self._encoder, self._onto = store, encoder, onto
        self._points: Points | None = None
        self._saved = 0

    def read(self) -> Points:
        """The points as far as they are read; call again while they are not `whole`, and when rows came in."""
        with Reader.open(self._store) as reader:
            points = self._points or self._cached(reader) or self._fitted(reader)
            young = self._onto is None and points.projection.rows < FIT_ROWS
            if young and points.whole and len(points.ids) >= _GROWN * max(1, points.projection.rows):
                points = self._refitted(reader, points)
            self._points = points = self._read_on(reader, points)
            if points.whole and self._onto is None and len(points.ids) > _SAVED * self._saved:
                self._save(points, reader.vector_at(points.last))
        return points

    def _fitted(self, reader: Reader) -> Points:
        projection = self._onto
        if projection is None:
            ids = spread(reader.vector_samples(self._encoder), FIT_ROWS)
            projection = fit(*reader.vectors_of(self._encoder, ids.tolist()))
        return Points(self._encoder, projection, np.empty(0, np.int64), np.empty((0, 2), np.float32))

    def _refitted(self, reader: Reader, points: Points) -> Points:
        fresh = self._fitted(reader)
        if fresh.projection.dim != points.projection.dim:
            return fresh
        return replace(fresh, projection=fresh.projection.turned_to(points.projection))

    def _read_on(self, reader: Reader, points: Points) -> Points:
        ids, places = [points.ids], [points.places]
        last, left_out, ended = points.last, points.left_out, False
        for _ in range(_PAGES):
            page = reader.vectors_after(self._encoder, points.projection.dim, last)
            found = points.projection.apply(page.vectors)
            good = np.isfinite(found[:, 0])
            ids.append(page.samples[good])
            places.append(found[good])
            last, ended = page.last, page.ended
            left_out += page.odd + int(len(good) - good.sum())
            if ended:
                break
        return replace(
            points,
            ids=np.concatenate(ids),
            places=np.concatenate(places),
            last=last,
            left_out=left_out,
            whole=ended,
        )

    @property
    def _file(self) -> Path:
        key = hashlib.sha256(f"{self._store.resolve()}\n{self._encoder}".encode()).hexdigest()[:24]
        return paths.cache_dir() / "maps" / f"{key}.npz"

    def _cached(self, reader: Reader) -> Points | None:
        """What an earlier session projected; None where that is of another store under this name."""
        if self._onto is not None:
            return None
        try:
            with np.load(self._file, allow_pickle=False) as found:
                mean, basis, ids, places, numbers = (found[name] for name in _ARRAYS)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        rows, last, sample, left_out = numbers.tolist()
        if reader.vector_at(last) != sample or len(ids) != len(places):
            return None
        self._saved = len(ids)
        return Points(self._encoder, Projection(mean, basis, rows), ids, places, last, left_out)

    def _save(self, points: Points, sample: int | None) -> None:
        """Without a word where the cache cannot be written: it only spares time."""
        projection = points.projection
        if sample is None:
            return
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            part = self._file.with_suffix(f".{os.getpid()}.part")
            with part.open("wb") as file:
                np.savez(
                    file,
                    mean=projection.mean,
                    basis=projection.basis,
                    ids=points.ids,
                    places=points.places,
                    numbers=np.array([projection.rows, points.last, sample, points.left_out], np.int64),
                )
            part.replace(self._file)
            self._saved = len(points.ids)
