"""A query against its definition written again in Python: pages both ways in every order, ids, count, facets."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from sqlite_utils import Database

from localsynth.records import Review, Sample, Score, Turn
from localsynth.store import Key, Query, Reader, SampleRow, ScoreRange, Store, conditions, migrations, selecting

QUERIES = {
    "all": {},
    "kept": {"show": "kept"},
    "rejected": {"show": "rejected"},
    "unreviewed": {"show": "unreviewed"},
    "unfinished": {"show": "unfinished"},
    "failed": {"show": "failed"},
    "rule": {"rule": "loop"},
    "topic": {"topic": "maths"},
    "model": {"model": "large"},
    "verdict": {"verdict": "reject"},
    "tag": {"tag": "good"},
    "range": {"scores": (ScoreRange("quality", 0.3, 0.7),)},
    "above": {"scores": (ScoreRange("quality", 0.3), ScoreRange("words", None, 40.0))},
    "chosen": {"chosen": (3, 4)},
    "words": {"search": "river"},
    "several": {"topic": "maths", "show": "kept", "model": "small", "search": "question"},
}
ORDERS = {"oldest": {}, "newest": {"descending": True}, "low": {"order": "quality"},
          "high": {"order": "quality", "descending": True}, "none has it": {"order": "unknown"}}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A store of two runs of rows that differ in everything that can be asked for."""
    random.seed(4)
    path = tmp_path_factory.mktemp("select") / "rows.db"
    with Store.open(path) as store:
        runs = [store.create_run(method="magpie", plan={}, seed=0, target=1) for _ in range(2)]
        for run in runs:
            for index in range(60):
                _save(store, run, index)
    return path, runs


def _save(store: Store, run: str, index: int) -> None:
    state = random.choice(["done"] * 6 + ["asked", "failed"])
    sample = Sample(run, index, state=state, detail={"topic": random.choice(["maths", "code"])} if index % 5 else {})
    text = f"question {index}" + (" river" if index % 4 == 1 else "")
    rows = [sample, Turn(sample.id, 0, "user", text, text, model=random.choice(["small", "large"]))]
    if index % 3:
        # Few values, so that many rows share one.
        rows += [Score(sample.id, "quality", 1, random.randrange(5) / 4, None)]
        rows += [Score(sample.id, "quality", 2, random.choice([0.25, None]), None)] if index % 7 == 1 else []
    rows += [Score(sample.id, "words", 1, float(index), True)]
    rows += [Score(sample.id, random.choice(["loop", "leak"]), 1, 1.0, False)] if index % 6 == 0 else []
    store.save(rows)
    for _ in range(random.choice([0, 0, 1, 2])):
        verdict = random.choice(["accept", "reject", "undecided"])
        store.save([Review(sample.id, verdict, tags=random.choice([(), ("good",), ("good", "short")]))])


def fits(query: Query, row: SampleRow) -> bool:
    """The definition of a query, without SQL."""
    done, review = row.state == "done", row.review
    values = {score.name: score.value for score in sorted(row.scores, key=lambda each: each.version)}
    show = {
        "all": True,
        "kept": row.kept,
        "rejected": done and not row.kept,
        "unreviewed": done and (review is None or review.verdict == "undecided"),
        "unfinished": row.state == "asked",
        "failed": row.state == "failed",
    }[query.show]
    ranges = [
        values.get(each.name) is not None
        and (each.low is None or values[each.name] >= each.low)
        and (each.high is None or values[each.name] <= each.high)
        for each in query.scores
    ]
    return (
        show
        and all(word in row.instruction.split() for word in query.search.split())
        and query.rule in {None, row.rule}
        and query.topic in {None, row.detail.get("topic")}
        and (query.model is None or query.model in {turn.model for turn in row.turns})
        and (query.verdict is None or (review is not None and review.verdict == query.verdict))
        and (query.tag is None or (review is not None and query.tag in review.tags))
        and all(ranges)
        and (query.chosen is None or row.id in query.chosen)
    )


def ordered(query: Query, rows: list[SampleRow]) -> list[Key]:
    """The keys that a query has, in its order."""
    keys: list[Key] = []
    for row in rows:
        values = {score.name: score.value for score in sorted(row.scores, key=lambda each: each.version)}
        keys.append((values.get(query.order), row.id))
    scored = sorted((key for key in keys if key[0] is not None), reverse=query.descending)
    rest = sorted((key for key in keys if key[0] is None), reverse=query.descending and not query.order)
    return scored + rest


def walk(reader: Reader, query: Query, limit: int, *, backwards: bool) -> list[Key]:
    """All pages of a query behind each other."""
    found: list[Key] = []
    while page := reader.page(query, limit=limit, after=found[-1] if found else None, backwards=backwards):
        found += page
    return found


@pytest.mark.parametrize("rare", [0, conditions.RARE], ids=["by rows", "by index"])
@pytest.mark.parametrize("name", QUERIES)
def test_pages_ids_and_count_are_those_of_the_definition(
    made: tuple[Path, list[str]], name: str, rare: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selecting, "RARE", rare)
    monkeypatch.setattr(selecting, "_FEW", rare)
    path, runs = made
    chosen = tuple(Sample(run, index).id for run in runs for index in (3, 40, 12))
    query = Query(runs[0], **QUERIES[name] if name != "chosen" else {"chosen": chosen})
    with Reader.open(path) as reader:
        rows = [row for row in map(reader.sample, reader.sample_ids(runs[0]).tolist()) if fits(query, row)]
        assert len(rows) >= 3
        assert list(reader.query_ids(query)) == [row.id for row in rows]
        assert reader.query_count(query) == len(rows)
        assert query.narrowed == (name != "all")
        for order in ORDERS.values():
            wanted = replace(query, **order)
            expected = ordered(wanted, rows)
            middle = len(expected) // 2
            assert walk(reader, wanted, 7, backwards=False) == expected
            assert walk(reader, wanted, 7, backwards=True) == expected[::-1]
            assert reader.key(wanted, expected[middle][1]) == expected[middle]
            assert reader.page(wanted, limit=99, after=expected[middle], including=True) == expected[middle:]


def test_facets_say_what_can_be_asked_for(made: tuple[Path, list[str]]) -> None:
    path, runs = made
    with Store.open(path) as store:
        store.save(
            [Sample(runs[1], 99, detail={"topic": "other"}), Score(Sample(runs[1], 1).id, "other", 1, 9.0, None)]
        )
    with Reader.open(path) as reader:
        found = reader.facets(runs[0])
    assert (found.topics, found.models, found.tags) == (("code", "maths"), ("large", "small"), ("good", "short"))
    assert set(found.rules) == {"leak", "loop"}
    assert found.scores["words"] == (0.0, 59.0)
    assert "other" not in found.scores


def test_damaged_texts_of_a_row_do_not_stop_a_query(made: tuple[Path, list[str]], path: Path) -> None:
    source, runs = made
    path.write_bytes(source.read_bytes())
    with Store.open(path) as store:
        store.save([Review(Sample(runs[0], 1).id, "accept", tags=("odd",))])
        store._connection.execute("UPDATE samples SET detail = '{broken' WHERE idx = 2")
        store._connection.execute("UPDATE reviews SET tags = '[broken' WHERE sample = ?", (Sample(runs[0], 1).id,))
    with Reader.open(path) as reader:
        assert reader.query_count(Query(runs[0], tag="odd")) == 0
        assert reader.facets(runs[0]).topics == ("code", "maths")
        assert all(a < b for a, b in pairwise(reader.query_ids(Query(runs[0], topic="maths"))))


@pytest.mark.parametrize("opening", [Store.open, Reader.open])
def test_a_store_of_version_2_comes_up_to_date(path: Path, opening: Callable[[Path], Store | Reader]) -> None:
    with closing(sqlite3.connect(path)) as old:
        for script in (migrations._TABLES, migrations._SEARCH, migrations._VIEWS, migrations._SHARDS):
            old.executescript(script)
        old.execute(f"PRAGMA application_id = {migrations.APPLICATION_ID}")
        old.execute("PRAGMA user_version = 2")
        done = [
            {"migration_set": "localsynth", "name": name, "applied_at": ""}
            for name in ("m001_first_schema", "m002_shards")
        ]
        Database(old)["_sqlite_migrations"].insert_all(done)
        row = (Sample("R", 0).id, "R", 0, 0, "done", "", '{"topic": "maths"}', "", "")
        old.execute("INSERT INTO runs VALUES ('R', 1, NULL, '', '', '', NULL, NULL, NULL, '{}', 0, 0, '', '{}', '', "
                    "NULL, NULL, NULL, NULL, NULL, NULL)")  # fmt: skip
        old.execute("INSERT INTO samples (id, run, idx, attempt, state, operation, detail, created, updated) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)  # fmt: skip
        old.execute("INSERT INTO reviews VALUES (1, ?, 'reject', 'old', '{}', '')", row[:1])
        old.commit()
    opening(path).close()
    with Reader.open(path) as reader:
        row = reader.sample(Sample("R", 0).id)
        assert (row.review.note, row.review.tags, row.review.batch) == ("old", (), None)
        assert reader.facets("R").topics == ("maths",)
        assert reader.query_count(Query("R", topic="maths")) == 1


def test_a_damaged_row_is_given_with_its_fault(path: Path) -> None:
    with Store.open(path) as store, Reader.open(path) as reader:
        run = store.create_run(method="magpie", plan={}, seed=0, target=1)
        ids = [Sample(run, index).id for index in range(5)]
        store.save([Sample(run, index, state="done", detail={"a": 1}) for index in range(5)])
        store.save([Turn(sample, 0, "user", "why?", "why?", rules=("trim",)) for sample in ids])
        store.save([Review(ids[2], "reject", "bad", {0: "what?"})])
        broken = "UPDATE {} SET {} = '[broken' WHERE {} = ?"
        store._connection.execute(broken.format("samples", "detail", "id"), ids[:1])
        store._connection.execute(broken.format("turns", "rules", "sample"), ids[1:2])
        store._connection.execute(broken.format("reviews", "edits", "sample"), ids[2:3])
        store._connection.execute("UPDATE turns SET content = CAST(x'6162ff' AS TEXT) WHERE sample = ?", ids[3:4])
        rows = reader.rows(ids)
        assert [(row.fault or "").partition(":")[0] for row in rows] == ["detail", "turn 0", "review 1", "", ""]
        assert [row.instruction for row in rows] == ["why?", "why?", "why?", "ab\ufffd", "why?"]
        assert (rows[2].review.verdict, rows[2].review.note) == ("reject", "bad")
        assert reader.sample(ids[2]).reviews[0].edits == {}


@pytest.mark.parametrize("rare", [0, conditions.RARE], ids=["by rows", "by index"])
def test_no_page_sorts_or_reads_a_whole_table(
    made: tuple[Path, list[str]], rare: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selecting, "RARE", rare)
    monkeypatch.setattr(selecting, "_FEW", -1)
    path, runs = made
    with Reader.open(path) as reader:
        for wanted in QUERIES.values():
            for order in ORDERS.values():
                query, said = Query(runs[0], **wanted, **order), []
                reader._connection.set_trace_callback(said.append)
                reader.page(query, limit=5, after=reader.key(query, Sample(runs[0], 7).id))
                reader._connection.set_trace_callback(None)
                for sql in (each for each in said if each.startswith("SELECT") and "LIMIT 5" in each):
                    explained = f"EXPLAIN QUERY PLAN {sql}".replace("Inf", "9e999")
                    plan = [row[3] for row in reader._connection.execute(explained)]
                    # What is not done is little, and has an index of its own.
                    few = any("samples_open" in step for step in plan)
                    assert few or not any("TEMP B-TREE FOR ORDER" in step for step in plan), (query, plan)
                    assert not any(step in {"SCAN s", "SCAN o", "SCAN t"} for step in plan), (query, plan)
