"""Thresholds on stored rows: what the arrays foretell is what the view says afterwards, and every step goes back."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localsynth.config import Plan, plan_data
from localsynth.config.thresholds import CHARACTERS, Threshold
from localsynth.engine.tally import Table, read_table
from localsynth.errors import NotFound, StoreError
from localsynth.records import Neighbour, Review, Ruling, Sample, Score
from localsynth.store import Reader, Row, Store
from localsynth.store.abandoning import Errand
from localsynth.store.scored import ScoreReader
from localsynth.store.thresholds import Change, Thresholds, in_force

LENGTH, SIMILAR, REPEATED = "instruction.length", "instruction.near_duplicate", "answer.repetition"


def row(run: str, index: int, length: int, share: float, similarity: float | None, state: str = "done") -> list[Row]:
    """A sample as the gate judges it: 3 to 1,000 words, at most 0.6 repeated, below 0.975 similar."""
    sample = Sample(run, index, state=state)
    fault = "too_short" if length < 3 else "too_long" if length > 1000 else "length"
    rows: list[Row] = [
        sample,
        Score(sample.id, f"instruction.{fault}", 1, float(length), fault == "length", f"{length} words"),
        Score(sample.id, "words", 1, float(length), None),
    ]
    rows.append(
        Score(sample.id, f"answer.{'loop' if share > 0.6 else 'repetition'}", 1, share, not share > 0.6, "repeats")
    )
    if similarity is not None:
        rows.append(Score(sample.id, SIMILAR, 1, similarity, similarity < 0.975, "like 1:0"))
        rows.append(Neighbour(sample.id, sample.id - 16, "minilm", similarity))
    return rows


def standing(path: Path) -> list[tuple[object, ...]]:
    """Every score's word."""
    with Store.open(path) as store:
        return store._connection.execute("SELECT sample, name, version, passed, reason FROM scores").fetchall()


def kept(path: Path) -> set[int]:
    """What the view says."""
    with Store.open(path) as store:
        return {row[0] for row in store._connection.execute("SELECT sample FROM verdicts WHERE kept = 1")}


def foretold(table: Table, drafts: dict[str, Threshold]) -> set[int]:
    return {number for run in table.runs for number in run.standing.ids[run.kept(drafts)].tolist()}


def apply(path: Path, drafts: dict[str, Threshold]) -> None:
    with Thresholds(path) as thresholds:
        thresholds.put([Change(name, bounds) for name, bounds in drafts.items()], "you")
        assert thresholds.apply()


@pytest.fixture
def filled(path: Path) -> Path:
    """Twelve rows: two too short, one too long, one that repeats itself, one near duplicate."""
    with Store.open(path) as store:
        run = store.create_run(method="magpie", plan={}, seed=1, target=5)
        lengths = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 2000]
        for index, length in enumerate(lengths):
            store.save(row(run, index, length, 0.7 if index == 5 else index / 100, 0.98 if index == 6 else 0.5))
    return path


def test_what_is_outside_is_rejected_with_its_reason_and_comes_back(filled: Path) -> None:
    before = standing(filled)
    apply(filled, {LENGTH: Threshold(8, 100)})
    with Reader.open(filled) as reader:
        found = reader.samples()
        assert [each.index for each in found if each.kept] == [4, 7, 8, 9]
        assert (found[3].rule, found[11].rule) == (LENGTH, "instruction.too_long")
        words = {score.name: score for score in reader.sample(found[3].id).scores}
        assert words[LENGTH].reason == "5 is below 8"
        too_long = {score.name: score for score in reader.sample(found[11].id).scores}["instruction.too_long"]
        assert too_long.reason == "2000 words", "a rule that agrees keeps its own words"
    with Thresholds(filled) as thresholds:
        assert thresholds.undo() == [LENGTH]
        assert thresholds.apply()
        with pytest.raises(NotFound, match="no threshold was set"):
            thresholds.undo()
    assert standing(filled) == before


def test_a_looser_bound_lets_through_what_a_rule_had_rejected(filled: Path) -> None:
    before = standing(filled)
    apply(filled, {LENGTH: Threshold(2, 3000)})
    with Reader.open(filled) as reader:
        found = reader.samples()
        assert [each.index for each in found if not each.kept] == [0, 5, 6]
        short = {score.name: score for score in reader.sample(found[1].id).scores}["instruction.too_short"]
        assert (short.passed, short.reason) == (True, "2 is within the threshold (2 to 3000)")
    apply(filled, {LENGTH: Threshold()})
    assert standing(filled) == before


def test_moving_on_from_an_applied_bound_is_the_same_as_going_there_at_once(filled: Path) -> None:
    apply(filled, {LENGTH: Threshold(8, 100)})
    apply(filled, {LENGTH: Threshold(2, 20), REPEATED: Threshold(high=0.05)})
    stepwise = standing(filled)
    with Thresholds(filled) as thresholds:
        thresholds.undo()
        thresholds.undo()
        thresholds.apply()
    apply(filled, {LENGTH: Threshold(2, 20), REPEATED: Threshold(high=0.05)})
    assert standing(filled) == stepwise


def test_a_persons_word_stands(filled: Path) -> None:
    with Reader.open(filled) as reader:
        found = reader.samples()
    with Store.open(filled) as store:
        store.save([Review(found[2].id, "accept"), Review(found[9].id, "reject")])
    apply(filled, {LENGTH: Threshold(100, 3000)})
    assert kept(filled) == {found[2].id, found[10].id, found[11].id}
    assert foretold(read_table(filled), {}) == kept(filled)


def test_rows_that_were_compared_by_characters_have_no_common_limit(filled: Path) -> None:
    with Store.open(filled) as store:
        run = store.create_run(method="magpie", plan={}, seed=1, target=5)
        sample = Sample(run, 0, state="done")
        store.save([sample, Score(sample.id, SIMILAR, 1, 0.96, True), Neighbour(sample.id, 7, CHARACTERS, 0.96)])
    apply(filled, {SIMILAR: Threshold(high=0.4)})
    assert kept(filled) == {sample.id}
    table = read_table(filled)
    assert foretold(table, {}) == {sample.id}
    assert foretold(table, {SIMILAR: Threshold(high=0.3)}) == {sample.id}


def test_a_cut_off_apply_goes_on(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localsynth.store.thresholds._PIECE", 4)
    with Thresholds(filled) as thresholds:
        thresholds.put([Change(LENGTH, Threshold(8, 100))], "you")
        assert not thresholds.apply(lambda done, total: done == 1)
    with Reader.open(filled) as reader:
        assert reader.thresholds_waiting() == [LENGTH]
        assert len(kept(filled)) == 5  # of the first four rows none stays, of the others those from before
    assert read_table(filled).strays == 1
    pieces: list[tuple[int, int]] = []
    with Thresholds(filled) as thresholds:
        assert thresholds.apply(lambda done, total: bool(pieces.append((done, total))))
    assert pieces == [(2, 3), (3, 3)]
    with Reader.open(filled) as reader:
        assert [each.index for each in reader.samples() if each.kept] == [4, 7, 8, 9]
        assert not reader.thresholds_waiting()
    assert read_table(filled).strays == 0


@pytest.mark.parametrize("both", [False, True])
def test_two_that_apply_at_once_lose_no_row(filled: Path, both: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localsynth.store.thresholds._PIECE", 4)
    with Thresholds(filled) as one, Thresholds(filled) as other:

        def told(done: int, total: int) -> bool:
            if done == 1 and not other.history()[1:]:
                other.put([Change(REPEATED, Threshold(0.03))], "other")
                if both:
                    assert not other.apply(lambda done, total: done == 1)
            return False

        one.put([Change(LENGTH, Threshold(8, 100))], "you")
        assert one.apply(told)
    with Reader.open(filled) as reader:
        assert not reader.thresholds_waiting()
        assert [each.index for each in reader.samples() if each.kept] == [4, 5, 7, 8, 9]
    assert read_table(filled).strays == 0


def test_one_that_stops_at_its_end_leaves_what_another_put(filled: Path) -> None:
    with Thresholds(filled) as one, Thresholds(filled) as other:
        one.put([Change(LENGTH, Threshold(8, 100))], "you")

        def told(done: int, total: int) -> bool:
            other.put([Change(REPEATED, Threshold(high=0.05))], "other")
            return True

        assert not one.apply(told)
        with Reader.open(filled) as reader:
            assert reader.thresholds_waiting() == [REPEATED]
        assert other.apply()
    assert read_table(filled).strays == 0


def test_a_plans_threshold_counts_for_its_run_until_a_later_word(path: Path) -> None:
    with Store.open(path) as store:
        plan = plan_data(Plan(thresholds={"words": Threshold(10)}))
        first = store.create_run(method="magpie", plan=plan, seed=1, target=5)
        second = store.create_run(method="import", plan={"import": {}}, seed=1, target=5)
        for run in (first, second):
            for index in range(3):
                store.save(row(run, index, 8 + index, 0.1, 0.5))
        sample = Sample(first, 0)
        store.save([Score(sample.id, "words", 1, 8.0, False, "8 is below 10"), Ruling(sample.id, "words", 1, None)])
    table = read_table(path)
    assert table.in_force("words") == Threshold(10)
    assert table.strays == 1  # index 1 of the first run, written by nobody who knew
    with Thresholds(path) as thresholds:
        thresholds.again(["words"])
        thresholds.apply()
    assert read_table(path).strays == 0
    assert [len(run.standing.ids[run.kept({})]) for run in read_table(path).runs] == [1, 3]
    apply(path, {"words": Threshold(high=9)})
    assert [len(run.standing.ids[run.kept({})]) for run in read_table(path).runs] == [2, 2]
    with Thresholds(path) as thresholds:
        thresholds.undo()
        thresholds.apply()
    assert [len(run.standing.ids[run.kept({})]) for run in read_table(path).runs] == [1, 3]
    apply(path, {"words": Threshold()})
    assert [len(run.standing.ids[run.kept({})]) for run in read_table(path).runs] == [3, 3]
    with Reader.open(path) as reader:
        assert in_force(reader.thresholds(), {"words": Threshold(10)}, "") == {}
        assert in_force(reader.thresholds(), {"words": Threshold(10)}, "9999") == {"words": Threshold(10)}


def test_only_the_newest_version_of_a_score_counts(filled: Path) -> None:
    with Reader.open(filled) as reader:
        found = reader.samples()
    with Store.open(filled) as store:
        store.save([Score(found[3].id, LENGTH, 2, 50.0, True), Score(found[4].id, LENGTH, 2, 1.0, False)])
    table = read_table(filled)
    assert foretold(table, {}) == kept(filled)
    drafts = {LENGTH: Threshold(6, 1000)}
    expected = foretold(table, drafts)
    assert found[3].id in expected
    apply(filled, drafts)
    assert kept(filled) == expected


def test_rows_near_a_bound_and_the_bins_of_a_histogram(filled: Path) -> None:
    import numpy as np

    table = read_table(filled)
    near = table.examples(LENGTH, Threshold(8, 100), low=True)
    assert [(each.value, each.passes) for each in near] == [
        (2.0, False), (3.0, False), (5.0, False), (8.0, True), (13.0, True), (21.0, True)
    ]  # fmt: skip
    far = table.examples(LENGTH, Threshold(8, 100), low=False, most=1)
    assert [(each.value, each.passes) for each in far] == [(89.0, True), (144.0, False)]
    assert table.examples(LENGTH, Threshold(8), low=False) == []
    counts = table.histogram(LENGTH, np.array([3.0, 10.0, 100.0]))
    assert counts.tolist() == [5, 7]
    assert table.measures == (LENGTH, SIMILAR, REPEATED, "words")
    assert table.axis(LENGTH).step == 20


def test_a_value_that_only_faults_hold_and_one_that_no_row_shares_the_limit_of(path: Path) -> None:
    with Store.open(path) as store:
        run = store.create_run(method="magpie", plan={}, seed=1, target=5)
        for index, value in enumerate((1.0, 2.0)):
            sample = Sample(run, index, state="done")
            store.save([sample, Score(sample.id, "instruction.too_short", 1, value, False)])
            store.save([Score(sample.id, SIMILAR, 1, 0.5 + value / 10, True), Neighbour(sample.id, 7, CHARACTERS, 0.5)])
            store.save([Score(sample.id, "answer.loop", 1, 4.0 + value, False)])
    table = read_table(path)
    assert table.measures == (LENGTH,)
    assert table.rules == ("answer.loop",)
    assert table.tally({LENGTH: Threshold(2)}).rejected == {LENGTH: 1, "answer.loop": 2}


def test_what_did_not_change_is_not_read_again(filled: Path) -> None:
    table = read_table(filled)
    assert read_table(filled, table) is table
    with Reader.open(filled) as reader:
        sample = reader.samples()[3].id
    with Store.open(filled) as store:
        store.save([Review(sample, "reject")])
    again = read_table(filled, table)
    assert again.runs[0].values is table.runs[0].values
    assert foretold(again, {}) == foretold(table, {}) - {sample}
    with Store.open(filled) as store:
        store.save(row(table.runs[0].row.id, 12, 50, 0.1, 0.5))
        store.update_run(table.runs[0].row.id, state="running")
    assert len(read_table(filled, again).runs[0].values[LENGTH].value) == 13


def test_rows_that_are_merged_into_a_run_that_stays_as_it_is_are_read(filled: Path) -> None:
    with Store.open(filled) as store:
        run = store.create_run(method="magpie", plan={}, seed=1, target=5, state="stopped")
        store.save(row(run, 1, 5, 0.1, 0.5))
    table = read_table(filled)
    assert read_table(filled, table) is table
    with Store.open(filled) as store:
        store.save(row(run, 2, 8, 0.1, 0.5))
    table = read_table(filled, table)
    assert len(table.runs[1].values[LENGTH].value) == 2
    with sqlite3.connect(filled) as db:  # an earlier shard, of which only the note of the merge tells
        db.execute(
            "INSERT INTO shards (run, shard, shards, job, target, total, expected, state, backend, model, versions, "
            "events, merged) VALUES (?, 1, 2, 'job', 1, 2, '{}', 'stopped', 'b', 'm', '{}', 0, '2026-01-01')",
            (run,),
        )
    db.close()
    with Store.open(filled) as store:
        store.save(row(run, 0, 13, 0.1, 0.5))
    assert len(read_table(filled, table).runs[1].values[LENGTH].value) == 3


def test_a_row_that_was_answered_meanwhile_is_read_again(path: Path) -> None:
    with Store.open(path) as store:
        run = store.create_run(method="magpie", plan={}, seed=1, target=5, state="stopped")
        for index in range(4):
            sample = Sample(run, index, state="done" if index < 2 else "asked")
            store.save([sample, *[Score(sample.id, "answer.length", 1, index + 1.0, True)] * (index < 2)])
    table = read_table(path)
    with Store.open(path) as store:
        for index in (2, 3):
            sample = Sample(run, index, state="done")
            store.save([sample, Score(sample.id, "answer.length", 1, 1.0, True)])
        store.update_run(run, heartbeat="2026-01-01")
    drafts = {"answer.length": Threshold(2)}
    assert foretold(read_table(path, table), drafts) == foretold(read_table(path), drafts) == {Sample(run, 1).id}


def test_values_that_are_not_finite_are_left_out(filled: Path) -> None:
    with Store.open(filled) as store:
        (run,) = store._connection.execute("SELECT id FROM runs").fetchone()
        for index, value in enumerate((float("inf"), float("-inf"), 1.0, 2.0)):
            sample = Sample(run, 20 + index, state="done")
            store.save([sample, Score(sample.id, "reward", 1, value, None)])
    table = read_table(filled)
    assert (table.axis("reward").least, table.axis("reward").most) == (1.0, 2.0)
    drafts = {"reward": Threshold(1.5)}
    expected = foretold(table, drafts)
    apply(filled, drafts)
    assert kept(filled) == expected == foretold(read_table(filled), {})
    assert read_table(filled).strays == 0


def test_what_is_not_waited_for_any_more_is_not_read_on(filled: Path) -> None:
    errand = Errand()
    with errand.at_work(), ScoreReader(filled) as scores:
        errand.abandoned = True
        endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 5000000) SELECT max(x) FROM c"
        with pytest.raises(StoreError):
            list(scores._rows(endless, ()))


BOUND = st.none() | st.sampled_from([0.0, 0.1, 0.5, 0.7, 1.0, 2.0, 3.0, 9.0, 999.0, 2000.0])
ROWS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2, 3, 9, 10, 1000, 1001]),
        st.sampled_from([0.0, 0.1, 0.5, 0.61, 0.7, 3.0]),
        st.none() | st.sampled_from([0.1, 0.9, 0.975, 1.0]),
        st.sampled_from(["done", "done", "asked", "failed"]),
        st.sampled_from([None, None, "accept", "reject", "undecided"]),
    ),
    max_size=12,
)
MOVES = st.dictionaries(
    st.sampled_from([LENGTH, SIMILAR, REPEATED, "words"]),
    st.tuples(BOUND, BOUND).map(lambda pair: Threshold(*pair)),
    max_size=3,
)


@settings(max_examples=40)
@given(rows=ROWS, moves=st.lists(MOVES, min_size=1, max_size=3))
def test_the_arrays_foretell_what_the_view_says(rows: list[tuple], moves: list[dict[str, Threshold]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.db"
        with Store.open(path) as store:
            runs = [store.create_run(method="magpie", plan={}, seed=1, target=5) for _ in range(2)]
            for index, (length, share, similarity, state, verdict) in enumerate(rows):
                run = runs[index % 2]
                store.save(row(run, index, length, share, similarity, state))
                if verdict:
                    store.save([Review(Sample(run, index).id, verdict)])
        before = standing(path)
        table = read_table(path)
        assert foretold(table, {}) == kept(path)
        for drafts in moves:
            expected = foretold(table, drafts)
            apply(path, drafts)
            table = read_table(path, table)
            assert kept(path) == expected == foretold(table, {})
            assert table.strays == 0
        with Thresholds(path) as thresholds:
            for _ in [move for move in moves if move]:
                thresholds.undo()
            thresholds.apply()
        assert standing(path) == before
