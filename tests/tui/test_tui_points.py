from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from localsynth.embedding.projection import Projection
from localsynth.records import Embedding, Sample
from localsynth.store import Store
from localsynth.tui import points as points_module
from localsynth.tui.gridding import Frame, around, at_cell, grid, nearest
from localsynth.tui.points import PointReader


def add(path: Path, run: str, first: int, vectors: np.ndarray, encoder: str = "planted") -> list[int]:
    """Rows with these vectors; their ids."""
    samples = [Sample(run, first + row, state="done") for row in range(len(vectors))]
    with Store.open(path) as store:
        store.save(samples)
        store.save(
            Embedding(sample.id, "instruction", encoder, "", vector.astype("<f2").tobytes())
            for sample, vector in zip(samples, vectors, strict=True)
        )
    return [sample.id for sample in samples]


@pytest.fixture
def run(path: Path) -> str:
    with Store.open(path) as store:
        return store.create_run(method="magpie", plan={}, seed=1, target=1, state="finished")


def random(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, 6))


def test_rows_that_come_in_are_put_on_the_same_map(path: Path, run: str) -> None:
    add(path, run, 0, random(40))
    reader = PointReader(path, "planted")
    first = reader.read()
    assert (first.whole, len(first.ids)) == (True, 40)
    more = add(path, run, 40, random(20, seed=1))
    second = reader.read()
    assert second.projection is first.projection
    assert second.ids[40:].tolist() == more
    assert second.places[:40].tolist() == first.places.tolist()
    assert reader.read().last == second.last


def test_a_young_map_is_fitted_anew_and_turned_to_the_old_one(path: Path, run: str) -> None:
    flat = np.zeros((400, 6))
    flat[:, :2] = random(400)[:, :2] * (3, 1)
    add(path, run, 0, flat[:50])
    reader = PointReader(path, "planted")
    first = reader.read()
    add(path, run, 50, flat[50:])
    reader.read()
    third = reader.read()
    assert (first.projection.rows, third.projection.rows) == (50, 400)
    np.testing.assert_allclose(third.places[:50] - third.places[0], first.places - first.places[0], atol=0.5)


def test_another_session_takes_the_cache_and_reads_on(path: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add(path, run, 0, random(40))
    first = PointReader(path, "planted").read()
    more = add(path, run, 40, random(3, seed=2))
    monkeypatch.setattr(points_module, "fit", lambda *_: pytest.fail("it is in the cache"))
    again = PointReader(path, "planted").read()
    assert again.places[:40].tobytes() == first.places.tobytes()
    assert again.ids[40:].tolist() == more


@pytest.mark.parametrize("spoilt", ["another store", "rubbish", "empty"])
def test_a_cache_that_is_not_of_this_store_is_made_again(path: Path, run: str, spoilt: str) -> None:
    add(path, run, 0, random(40))
    reader = PointReader(path, "planted")
    reader.read()
    if spoilt == "another store":
        for file in path.parent.glob("rows.db*"):
            if file.is_file():
                file.unlink()
        with Store.open(path) as store:
            run = store.create_run(method="magpie", plan={}, seed=2, target=1)
        ids = add(path, run, 0, random(40, seed=5))
    else:
        reader._file.write_bytes(b"PK rubbish" if spoilt == "rubbish" else b"")
        ids = [Sample(run, row).id for row in range(40)]
    assert PointReader(path, "planted").read().ids.tolist() == ids


def test_what_is_no_vector_is_left_out_and_counted(path: Path, run: str) -> None:
    vectors = random(10)
    vectors[3, 2] = np.nan
    ids = add(path, run, 0, vectors)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE embeddings SET vector = x'0011' WHERE sample = ?", (ids[5],))
        db.commit()
    points = PointReader(path, "planted").read()
    assert points.ids.tolist() == [each for each in ids if each not in {ids[3], ids[5]}]
    assert points.left_out == 2


def test_a_large_map_comes_in_parts(path: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points_module, "_PAGES", 1)
    add(path, run, 0, random(8192 + 5))
    reader = PointReader(path, "planted")
    first, second = reader.read(), reader.read()
    assert [(points.whole, len(points.ids)) for points in (first, second)] == [(False, 8192), (True, 8197)]


def test_another_set_is_laid_on_the_same_plane(path: Path, run: str) -> None:
    add(path, run, 0, random(5))
    plane = Projection(np.zeros(6, np.float32), np.eye(6, 2, dtype=np.float32), 1)
    points = PointReader(path, "planted", plane).read()
    np.testing.assert_allclose(points.places, random(5)[:, :2], atol=0.01)


def test_every_point_is_in_one_cell(path: Path) -> None:
    places = random(500)[:, :2].astype(np.float32)
    codes = (np.arange(500) % 3 - 1).astype(np.int32)
    whole = around(places)
    for view in (whole, whole.zoomed(3, 0.2, 0.9), whole.zoomed(0.5, 0.5, 0.5), whole.moved(0.3, -0.2)):
        frame = Frame(view, 31, 9)
        found = grid(frame, places, codes=codes, below=places[:50])
        members = {
            (down, across): at_cell(frame, places, across, down).tolist() for down in range(9) for across in range(31)
        }
        assert [[len(members[down, across]) for across in range(31)] for down in range(9)] == found.counts.tolist()
        inside = [row for rows in members.values() for row in rows]
        assert len(set(inside)) == len(inside) <= 500
        assert ((found.dots > 0) == (found.counts > 0)).all()
        assert (found.dots < 256).all()
        for (down, across), rows in members.items():
            kinds = [int((codes[rows] == kind).sum()) for kind in (-1, 0, 1)]
            assert found.classes[down, across] == kinds.index(max(kinds)) - 1
            assert found.under[down, across] == any(row < 50 for row in rows)
        assert grid(frame, places, codes=codes, only=1).counts.sum() == (codes[inside] == 1).sum()
    assert len(inside) <= 500
    assert grid(Frame(whole, 31, 9), places).counts.sum() == 500


def test_the_nearest_point_and_views_of_nothing() -> None:
    places = np.array([[0, 0], [1, 1]], np.float32)
    frame = Frame(around(places), 10, 10)
    assert nearest(frame, places, 0, 9) == 0
    assert nearest(frame, places, 9, 0) == 1
    assert nearest(frame, places[:0], 0, 0) is None
    assert grid(Frame(around(places[:0]), 4, 2), places[:0]).counts.tolist() == [[0] * 4] * 2
    assert grid(Frame(around(places[:1]), 4, 2), places[:1]).counts.sum() == 1
