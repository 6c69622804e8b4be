from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from localsynth.records import Embedding, Review, Sample, Score
from localsynth.store import Reader, Row, Store

Pair = Callable[..., list[Row]]


def vector(sample: int, encoder: str = "mini", *numbers: float) -> Embedding:
    return Embedding(sample, "instruction", encoder, "", np.array(numbers or (1.0, 0.0), "<f2").tobytes())


def test_rows_without_a_vector(store: Store, run: str, path: Path, pair: Pair) -> None:
    for index in range(5):
        store.save(pair(run, index, question=f"question {index}"))
    ids = [Sample(run, index).id for index in range(5)]
    store.save([vector(ids[0]), vector(ids[1], "chars"), Sample(run, 5, state="done"), Sample(run, 6, state="asked")])
    with Reader.open(path) as reader:
        assert reader.unembedded(["mini", "chars"]) == [(ids[n], f"question {n}") for n in (2, 3, 4)]
        assert reader.unembedded(["mini"], limit=2) == [(ids[n], f"question {n}") for n in (1, 2)]
        assert reader.unembedded(["mini"], run, after=ids[3]) == [(ids[4], "question 4")]
        assert [reader.unembedded_count(names) for names in (["mini", "chars"], ["mini"], ["none"])] == [3, 4, 5]
        assert reader.encoders() == {"chars": 1, "mini": 1}


def test_vectors_are_read_on_from_where_one_stopped(store: Store, run: str, path: Path, pair: Pair) -> None:
    for index in range(6):
        store.save([*pair(run, index), vector(Sample(run, index).id, "mini" if index % 2 else "chars", index, 1.0)])
    ids = [Sample(run, index).id for index in range(6)]
    with Reader.open(path) as reader:
        first = reader.vectors_after("mini", limit=2)
        assert (first.samples.tolist(), first.ended) == ([ids[1], ids[3]], False)
        rest = reader.vectors_after("mini", 2, first.last, limit=2)
        assert (rest.samples.tolist(), rest.vectors.tolist(), rest.ended) == ([ids[5]], [[5.0, 1.0]], True)
        assert (reader.vector_at(rest.last), reader.vector_at(99)) == (ids[5], None)
        assert reader.vector_samples("mini").tolist() == [ids[1], ids[3], ids[5]]
        found, vectors = reader.vectors_of("mini", [ids[5], ids[0], ids[1]])
        assert (found.tolist(), vectors.tolist()) == ([ids[1], ids[5]], [[1.0, 1.0], [5.0, 1.0]])
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE embeddings SET vector = x'00' WHERE sample = ?", (ids[3],))
        db.commit()
    with Reader.open(path) as reader:
        page = reader.vectors_after("mini")
        assert (page.samples.tolist(), page.odd) == ([ids[1], ids[5]], 1)
        assert reader.vectors_after("mini", 2, page.last).ended


def test_what_points_are_coloured_by(store: Store, run: str, path: Path, pair: Pair) -> None:
    for index in range(4):
        store.save(pair(run, index, "loops" if index == 1 else ""))
    ids = np.array([Sample(run, index).id for index in (0, 1, 2)])
    bare = Sample(run, 9)
    store.save([bare, Review(int(ids[2]), "reject"), Score(int(ids[0]), "words", 2, 8.0, None)])
    with Reader.open(path) as reader:
        names, codes = reader.facet("verdict", ids)
        assert [names[code] for code in codes] == ["kept", "rejected", "rejected"]
        names, codes = reader.facet("topic", np.append(ids, bare.id))
        assert (names, codes.tolist()) == (["数学"], [0, 0, 0, -1])
        assert reader.facet("topic", ids[:0])[1].tolist() == []
        assert reader.score_names(ids.tolist()) == ["words", "loops"]
        assert reader.score_values("words", ids).tolist() == [8.0, 3.0, 3.0]
        assert np.isnan(reader.score_values("loops", ids)).tolist() == [True, False, True]
