"""Bulk reviews against the same thing said row by row: what changes, what is held, and that undo leaves nothing."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localsynth.errors import StoreError
from localsynth.records import Review, Sample, Turn
from localsynth.store import Reader, Store
from localsynth.store.bulk import BulkAction, BulkReviews, Reach, new_batch
from localsynth.store.edits import BulkEdits
from localsynth.store.listing import sample_range

ROWS = 12


@pytest.fixture
def ids(store: Store, run: str, pair) -> list[int]:
    for index in range(ROWS):
        store.save(pair(run, index, failed="loop" if index % 4 == 0 else ""))
    store.save([Sample(run, ROWS, state="failed"), Sample(run, ROWS + 1)])
    return [Sample(run, index).id for index in range(ROWS + 2)]


def stand(path: Path, ids: list[int]) -> list[tuple[object, ...]]:
    """Verdict, note, edits and tags of each sample."""
    with Reader.open(path) as reader:
        reviews = [row.review for row in reader.rows(ids)]
    return [
        (review.verdict, review.note, dict(review.edits), review.tags) if review else ("undecided", None, {}, ())
        for review in reviews
    ]


def do(path: Path, ids: list[int], action: BulkAction, batch: str = "b") -> Reach:
    with BulkReviews.open(path) as bulk:
        foretold = bulk.reach(ids, action)
        assert bulk.apply(ids, action, batch) == foretold
        again = bulk.apply(ids, action, "again")
        assert again.changed == 0
        return foretold


def undo(path: Path, batch: str = "b") -> Reach:
    with BulkReviews.open(path) as bulk:
        return bulk.undo(batch, bulk.standing(batch))


def test_accept_leaves_what_a_person_rejected_and_what_is_not_finished(path: Path, store: Store, ids) -> None:
    store.save([Review(ids[0], "reject", "bad", {1: "New."}, tags=("a",)), Review(ids[1], "accept")])
    store.save([Review(ids[2], "undecided", "hm")])
    before = stand(path, ids)
    assert do(path, ids, BulkAction("accept")) == Reach(ROWS - 2, 1)
    after = stand(path, ids)
    assert after[0] == before[0]
    assert after[2] == ("accept", "hm", {}, ())
    assert [row[0] for row in after] == ["reject", *["accept"] * (ROWS - 1), "undecided", "undecided"]
    with Reader.open(path) as reader:
        assert reader.sample(ids[4]).kept
        assert reader.sample(ids[1]).review.batch is None
    assert undo(path) == Reach(ROWS - 2, 0)
    assert stand(path, ids) == before


def test_overwriting_keeps_note_edits_and_tags(path: Path, store: Store, ids) -> None:
    store.save([Review(ids[0], "reject", "bad", {1: "New."}, tags=("a", "b"))])
    before = stand(path, ids)
    assert do(path, ids[:2], BulkAction("accept", overwrite=True)) == Reach(2, 0)
    assert stand(path, ids)[0] == ("accept", "bad", {1: "New."}, ("a", "b"))
    assert undo(path) == Reach(2, 0)
    assert stand(path, ids) == before


def test_clear_leaves_verdicts_that_came_after_the_count(path: Path, store: Store, ids) -> None:
    store.save([Review(ids[0], "reject", "bad"), Review(ids[1], "accept")])
    with BulkReviews.open(path) as bulk:
        since = bulk.latest()
    store.save([Review(ids[2], "accept")])
    assert do(path, ids, BulkAction("clear", since=since)) == Reach(2, 1)
    assert [row[0] for row in stand(path, ids[:3])] == ["undecided", "undecided", "accept"]
    assert stand(path, ids)[0][1] == "bad"
    assert do(path, ids, BulkAction("clear", since=since, overwrite=True), "c") == Reach(1, 0)


def test_tags_and_notes(path: Path, store: Store, ids) -> None:
    store.save([Review(ids[0], "reject", "mine", tags=("好",)), Review(ids[1], "accept", tags=("good",))])
    assert do(path, ids, BulkAction("tag", tags=('好 "x" \'',)), "t") == Reach(ROWS + 2, 0)
    assert do(path, ids[:2], BulkAction("tag", tags=("good",)), "g") == Reach(1, 0)
    assert [row[3] for row in stand(path, ids[:2])] == [("好", '好 "x" \'', "good"), ("good", '好 "x" \'')]
    assert do(path, ids, BulkAction("note", "same"), "n") == Reach(ROWS + 1, 1)
    assert [row[1] for row in stand(path, ids[:2])] == ["mine", "same"]
    assert do(path, ids, BulkAction("note", "new", overwrite=True), "o") == Reach(ROWS + 2, 0)
    assert [row[0] for row in stand(path, ids[:3])] == ["reject", "accept", "undecided"]


@pytest.mark.parametrize("damage", ["x", "{", '"x"', "7", "[]"])
def test_a_damaged_review_stops_nothing(path: Path, store: Store, ids, damage: str) -> None:
    store.save([Review(ids[0], "accept")])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE reviews SET tags = ?, edits = ? WHERE sample = ?", (damage, damage, ids[0]))
    connection.close()
    assert do(path, ids, BulkAction("tag", tags=("a", "b")), "t") == Reach(ROWS + 2, 0)
    with Reader.open(path) as reader:
        assert [row.review.tags for row in reader.rows(ids[1:])] == [("a", "b")] * (ROWS + 1)
    with BulkEdits.open(path) as edits:
        turns = edits.texts(ids, ("assistant",))
        assert [turn.sample for turn in turns] == ids[1:ROWS]
        assert edits.edit(dict.fromkeys(turns, "New."), "e") == Reach(ROWS - 1, 0)


def test_some_tags_at_once(path: Path, store: Store, ids) -> None:
    store.save([Review(ids[0], "accept", tags=("b",)), Review(ids[1], "accept", tags=("a", "b"))])
    assert do(path, ids[:3], BulkAction("tag", tags=("a", "b")), "t") == Reach(2, 0)
    assert [row[3] for row in stand(path, ids[:3])] == [("b", "a"), ("a", "b"), ("a", "b")]


def test_undo_leaves_what_was_said_since(path: Path, store: Store, ids) -> None:
    do(path, ids, BulkAction("reject"))
    store.save([Review(ids[3], "accept", "no, good")])
    with BulkReviews.open(path) as bulk:
        standing = bulk.standing("b")
        assert ids[3] not in standing
        store.save([Review(ids[4], "accept")])
        assert bulk.undo("b", standing[:5]) == Reach(4, 1)
        assert bulk.last_batch(sample_range(Sample(*_place(path, ids)).run)) == "b"
        assert bulk.undo("b", standing[5:]) == Reach(len(standing) - 5, 0)
        assert bulk.last_batch(sample_range(Sample(*_place(path, ids)).run)) is None
    assert [row[0] for row in stand(path, ids)] == ["undecided"] * 3 + ["accept"] * 2 + ["undecided"] * (ROWS - 3)


def _place(path: Path, ids: list[int]) -> tuple[str, int]:
    with Reader.open(path) as reader:
        row = reader.sample(ids[0])
    return row.run, row.index


def test_a_run_without_batches_has_none_to_undo(path: Path, store: Store, run: str, ids) -> None:
    with BulkReviews.open(path) as bulk:
        assert bulk.last_batch(sample_range(run)) is None
        store.save([Review(ids[0], "accept")])
        assert bulk.last_batch(sample_range(run)) is None
        assert bulk.last_batch(sample_range("01H")) is None
    first, second = new_batch("reject"), new_batch("reject")
    assert first != second
    assert first.startswith("reject 2")


def test_a_full_disk_leaves_whole_chunks(path: Path, store: Store, ids) -> None:
    with BulkReviews.open(path) as bulk:
        bulk.apply(ids[:4], BulkAction("reject"), "b")
        (pages,) = bulk._connection.execute("PRAGMA page_count").fetchone()
        bulk._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreError, match="the disk is full"):
            bulk.apply(ids[4:], BulkAction("note", "x" * 100_000), "b")
    assert [row[0] for row in stand(path, ids)] == ["reject"] * 4 + ["undecided"] * (ROWS - 2)
    assert undo(path) == Reach(4, 0)


def test_a_kill_in_the_middle_of_a_chunk_leaves_nothing_of_it(path: Path, store: Store, ids) -> None:
    killed = sqlite3.connect(path, isolation_level=None)
    killed.execute("BEGIN IMMEDIATE")
    killed.execute(
        "INSERT INTO reviews (sample, verdict, edits, created, batch) VALUES (?, 'reject', '{}', '', 'b')", (ids[0],)
    )
    killed.close()  # what SQLite does with the transaction of a process that is gone
    assert stand(path, ids[:1])[0][0] == "undecided"
    assert do(path, ids, BulkAction("reject")) == Reach(ROWS, 0)


def test_edits_are_differences_of_what_is_shown(path: Path, store: Store, ids) -> None:
    store.save([Review(ids[0], "reject", "n", {0: "How?", 1: "Thus."}, tags=("t",))])
    with BulkEdits.open(path) as bulk:
        turns = {(turn.sample, turn.position): turn for turn in bulk.texts(ids, ["assistant", "user"])}
        assert len(turns) == 2 * ROWS
        assert (turns[ids[0], 0].content, turns[ids[0], 0].original) == ("How?", "Why?")
        assert {turn.position for turn in bulk.texts(ids, ["assistant"])} == {1}
        changes = {turns[ids[0], 1]: "So.", turns[ids[1], 1]: "Hence\x00.", turns[ids[1], 0]: "How so?"}
        store.save([Review(ids[2], "accept")])
        changes |= {turns[ids[2], 0]: "late"}
        before = stand(path, ids)
        assert bulk.edit(changes, "e") == Reach(2, 1)
        assert stand(path, ids)[:3] == [
            ("reject", "n", {0: "How?"}, ("t",)),
            ("undecided", None, {0: "How so?", 1: "Hence\ufffd."}, ()),
            ("accept", None, {}, ()),
        ]
        assert bulk.undo("e", bulk.standing("e")) == Reach(2, 0)
    assert stand(path, ids) == before


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["accept", "reject", "clear", "tag", "note", "undo"]), st.integers(0, 7), st.booleans()
        ),
        max_size=8,
    )
)
def test_any_sequence_can_be_taken_back(tmp_path_factory: pytest.TempPathFactory, steps) -> None:
    path = tmp_path_factory.mktemp("bulk") / "rows.db"
    with Store.open(path) as store:
        run = store.create_run(method="magpie", plan={}, seed=0, target=1)
        ids = [Sample(run, index).id for index in range(8)]
        store.save([Sample(run, index, state="done") for index in range(8)])
        store.save([Turn(sample, 0, "user", "a", "a") for sample in ids])
        store.save([Review(ids[0], "reject", "n", tags=("x",)), Review(ids[5], "accept", edits={0: "b"})])
    history, batches = [stand(path, ids)], []
    with BulkReviews.open(path) as bulk:
        for number, (verb, first, overwrite) in enumerate(steps):
            if verb == "undo":
                if batches:
                    batch = batches.pop()
                    if standing := bulk.standing(batch):
                        assert bulk.undo(batch, standing).held == 0
                    history.pop()
                assert stand(path, ids) == history[-1]
                continue
            action = BulkAction(verb, f"text {first}", overwrite, since=2)
            reach = bulk.apply(ids[first:], action, str(number))
            batches.append(str(number))
            history.append(stand(path, ids))
            assert reach.changed == sum(old != new for old, new in zip(history[-2], history[-1], strict=True))
            if not overwrite and verb in {"accept", "reject"}:
                fixed = [row for row in history[-2] if row[0] != "undecided"]
                assert fixed == [
                    row for row, old in zip(history[-1], history[-2], strict=True) if old[0] != "undecided"
                ]
        while batches:
            batch = batches.pop()
            if standing := bulk.standing(batch):
                bulk.undo(batch, standing)
            history.pop()
            assert stand(path, ids) == history[-1]
        rows = bulk._connection.execute("SELECT tags, edits FROM reviews").fetchall()
    assert all(isinstance(json.loads(tags), list) and isinstance(json.loads(edits), dict) for tags, edits in rows)
