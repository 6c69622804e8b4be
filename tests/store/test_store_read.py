"""Verdicts, counts, pages, names that people type, and what resume asks."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localsynth.errors import NotFound
from localsynth.records import Review, Sample, Score, Turn, sample_id
from localsynth.store import Counts, EventRow, Reader, Store

STATES = st.sampled_from(["asked", "ready", "done", "failed"])
SCORES = st.lists(
    st.tuples(st.sampled_from(["loop", "leak", "words"]), st.integers(1, 3), st.sampled_from([None, True, False])),
    max_size=6,
)
VERDICTS = st.lists(st.sampled_from(["accept", "reject", "undecided"]), max_size=3)


def judge(state: str, scores: list, verdicts: list) -> tuple[bool, str | None, str]:
    """The definition of kept, written again without SQL."""
    latest: dict[str, tuple[int, bool | None, int]] = {}
    for position, (name, version, passed) in enumerate(scores):
        if name not in latest or version >= latest[name][0]:
            latest[name] = (version, passed, position)
    failing = sorted((position, name) for name, (_, passed, position) in latest.items() if passed is False)
    rule = failing[0][1] if failing else None
    last = verdicts[-1] if verdicts else "undecided"
    kept = state == "done" and (last == "accept" or (last == "undecided" and rule is None))
    return kept, rule, "rule" if last == "undecided" else "review"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(STATES, SCORES, VERDICTS), min_size=1, max_size=12))
def test_kept_follows_from_scores_and_reviews(tmp_path_factory, cases) -> None:
    path = tmp_path_factory.mktemp("verdicts") / "rows.db"
    with Store.open(path) as store, Reader.open(path) as reader:
        run = store.create_run(method="magpie", plan={}, seed=0, target=1)
        saved = []
        for index, (state, scores, verdicts) in enumerate(cases):
            sample = Sample(run, index, state=state)
            saved += [sample, Turn(sample.id, 0, "user", str(index), str(index))]
            saved += [Score(sample.id, name, version, None, passed) for name, version, passed in scores]
            saved += [Review(sample.id, verdict) for verdict in verdicts]
        store.save(saved)
        # The same score saved again counts as judged again: the order is that of the last word on each.
        expected = [judge(state, _last_words(scores), verdicts) for state, scores, verdicts in cases]
        rows = reader.samples(run, limit=100)
        assert [(row.kept, row.rule, row.by) for row in rows] == expected
        states = Counter(state for state, _, _ in cases)
        rules = Counter(
            rule or "review" for (state, _, _), (kept, rule, _) in zip(cases, expected, strict=True)
            if state == "done" and not kept
        )  # fmt: skip
        counts = reader.counts(run)
        assert (counts.kept, counts.rejected) == (sum(kept for kept, _, _ in expected), rules.total())
        assert counts.by_rule == rules
        assert (counts.asked, counts.ready, counts.failed) == tuple(
            states[name] for name in ("asked", "ready", "failed")
        )
        kept_rows = [index for index, (kept, _, _) in enumerate(expected) if kept]
        assert [row.index for row in reader.dataset(run)] == kept_rows
        assert [row.index for row in reader.samples(run, kept=True)] == kept_rows


def _last_words(scores: list) -> list:
    last: dict[tuple[str, int], tuple[str, int, bool | None]] = {}
    for name, version, passed in scores:
        last.pop((name, version), None)
        last[name, version] = (name, version, passed)
    return list(last.values())


def test_a_person_with_sqlite3_reads_the_same(store: Store, run: str, path: Path, pair) -> None:
    store.save([*pair(run, 0, question="机器 \x1b[1m"), *pair(run, 1, failed="loop")])
    plain = sqlite3.connect(path)
    try:
        ((messages, model, answered),) = plain.execute("SELECT messages, model, answered FROM dataset").fetchall()
    finally:
        plain.close()
    assert json.loads(messages) == [
        {"role": "user", "content": "机器 \x1b[1m"},
        {"role": "assistant", "content": "So."},
    ]
    assert (model, answered) == ("answerer", 1)


def test_instructions_without_answers_are_told_apart(store: Store, run: str, path: Path, pair) -> None:
    alone = Sample(run, 1, state="done")
    store.save([*pair(run, 0), alone, Turn(alone.id, 0, "user", "Only this?", "Only this?")])
    with Reader.open(path) as reader:
        assert [(row.index, row.answered, len(row.messages)) for row in reader.dataset()] == [
            (0, True, 2),
            (1, False, 1),
        ]
        assert [row.index for row in reader.dataset(answered=True)] == [0]
        assert [row.index for row in reader.dataset(run, answered=False)] == [1]


def test_pages_join_up_across_runs(store: Store, path: Path, pair) -> None:
    runs = [store.create_run(method="magpie", plan={}, seed=n, target=1) for n in range(3)]
    for position, run in enumerate(runs):
        store.save([row for index in range(4) for row in pair(run, index, failed="loop" if index == position else "")])
    everything = [(run, index) for run in runs for index in range(4)]
    with Reader.open(path) as reader:
        for order, expected in (("oldest", everything), ("newest", everything[::-1])):
            for limit in (1, 3, 4, 5, 100):
                seen, after = [], None
                while page := reader.samples(order=order, limit=limit, after=after):
                    assert len(page) <= limit
                    seen += [(row.run, row.index) for row in page]
                    after = page[-1].id
                assert seen == expected
        assert [(row.run, row.index) for row in reader.samples(kept=False)] == list(zip(runs, range(3), strict=True))
        assert [row.index for row in reader.samples(runs[2], rule="loop")] == [2]
        assert reader.samples(rule="words") == []
        assert reader.sample_ids(runs[1], kept=True).tolist() == [sample_id(runs[1], index) for index in (0, 2, 3)]
        assert [row.id for row in reader.rows([sample_id(runs[0], 3), 5, sample_id(runs[0], 1)])] == [
            sample_id(runs[0], 3),
            sample_id(runs[0], 1),
        ]


def test_people_name_runs_and_rows(store: Store, run: str, path: Path, pair) -> None:
    newest = store.create_run(method="magpie", plan={}, seed=1, target=1, name="poems")
    again = Sample(newest, 17, attempt=2, state="done")
    store.save([*pair(run, 17), *pair(newest, 17), again])
    with Reader.open(path) as reader:
        assert reader.run().id == newest
        assert reader.run("1").id == run
        assert reader.run("poems").id == newest
        assert reader.run(run.lower()).id == run
        assert reader.resolve_sample("17") == again.id
        assert reader.resolve_sample("17.0") == sample_id(newest, 17)
        assert reader.resolve_sample("1:17") == sample_id(run, 17)
        assert reader.resolve_sample(f"{run}:17.0") == sample_id(run, 17)
        assert reader.resolve_sample(str(again.id)) == again.id
        for name in (
            "",
            "x",
            "18",
            "17.1",
            "1:",
            ":",
            "9:17",
            "-1",
            "1e3",
            "²",
            "17.²",
            "9" * 40,
            "1:17.99999999999999",
        ):
            with pytest.raises(NotFound):
                reader.resolve_sample(name)
        for name in ("3", "nothing", "%", "0", "²", "9" * 30):
            with pytest.raises(NotFound):
                reader.run(name)
        with pytest.raises(NotFound, match="2 runs begin"):
            reader.run(run[:4])
        with pytest.raises(NotFound):
            reader.sample(3)


def test_what_resume_takes_up(store: Store, run: str, path: Path) -> None:
    def sample(index: int, state: str, attempt: int = 0) -> list:
        row = Sample(run, index, attempt, state=state)
        return [row, Turn(row.id, 0, "user", f"{state} {index}.{attempt}", "raw")]

    with Reader.open(path) as reader:
        assert reader.unfinished(run).highest == -1
        store.save([*sample(0, "done"), *sample(2, "asked"), *sample(3, "ready"), *sample(4, "failed")])
        store.save([*sample(4, "done", 1), *sample(7, "failed"), *sample(7, "failed", 1)])
        left = reader.unfinished(run)
    assert (left.highest, left.missing) == (7, (1, 5, 6))
    assert [row.instruction for row in left.asked] == ["asked 2.0"]
    assert [row.instruction for row in left.ready] == ["ready 3.0"]
    assert [row.instruction for row in left.failed] == ["failed 7.1"]


def test_events_are_read_from_where_one_stopped(store: Store, run: str, path: Path, pair) -> None:
    store.save([row for index in range(5) for row in pair(run, index)])
    with Reader.open(path) as reader:
        first = reader.events(run, limit=3)
        rest = reader.events(run, after=first[-1].id)
    assert [event.data["index"] for event in (*first, *rest)] == [0, 1, 2, 3, 4]
    assert all(event.kind == "finished" and event.at for event in first)


def test_a_stream_of_the_data_set_does_not_stop_the_writer(store: Store, run: str, path: Path, pair) -> None:
    store.save([row for index in range(50) for row in pair(run, index)])
    with Reader.open(path) as reader:
        stream = reader.dataset(run)
        assert next(stream).index == 0
        store.save(pair(run, 50))
        assert sum(1 for _ in stream) == 49  # a snapshot: what came later is not in it
        assert sum(1 for _ in reader.dataset(run)) == 51


def test_what_waits_for_a_person(store: Store, run: str, path: Path, pair) -> None:
    store.save([row for index in range(4) for row in pair(run, index, failed="loop" if index == 3 else "")])
    store.save(
        [Sample(run, 4, state="asked"), Review(sample_id(run, 0), "accept"), Review(sample_id(run, 1), "reject")]
    )
    store.save([Review(sample_id(run, 1), "undecided"), Review(sample_id(run, 3), "accept")])
    with Reader.open(path) as reader:
        assert [row.index for row in reader.samples(run, reviewed=True)] == [0, 3]
        assert [row.index for row in reader.samples(run, reviewed=False)] == [1, 2]
        assert [row.index for row in reader.samples(run, reviewed=False, order="newest", limit=1)] == [2]
        assert reader.counts(run).by_rule == {}
        assert reader.counts(run).kept == 4


def test_a_run_without_samples_counts_nothing(store: Store, run: str, path: Path) -> None:
    with Reader.open(path) as reader:
        assert reader.counts(run) == Counts()
        assert reader.samples(run) == []
        assert list(reader.dataset(run)) == []


def test_events_of_one_kind_and_the_last_of_the_others(store: Store, run: str, path: Path) -> None:
    other = store.create_run(method="magpie", plan={}, seed=1, target=1)
    store.save([EventRow(run, "Pace" if n % 2 else "Retried", {"n": n}) for n in range(20)])
    store.save([EventRow(other, "Pace", {"n": 99})])
    with Reader.open(path) as reader:
        first = reader.events(run, limit=4, kind="Pace")
        rest = reader.events(run, after=first[-1].id, kind="Pace")
        last = reader.last_events(run, 3, but="Pace")
    assert [event.data["n"] for event in first + rest] == list(range(1, 20, 2))
    assert [event.data["n"] for event in last] == [14, 16, 18]
