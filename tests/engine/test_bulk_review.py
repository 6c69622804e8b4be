"""Bulk jobs on a store: chunks, progress, cancelling, faults in the middle, and an expression that never ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from array import array
from pathlib import Path

import pytest

from localsynth.engine import bulk_review
from localsynth.engine.bulk_review import Work, carry_out, find, gather, last_batch, replace_in, survey, take_back
from localsynth.engine.substituting import Substituter
from localsynth.errors import DataError, LocalsynthError, StoreError
from localsynth.filters.substitution import Substitution
from localsynth.records import Review, Sample, Turn
from localsynth.store import Query, Reader, Store
from localsynth.store.bulk import BulkAction, BulkReviews, Reach

ROWS = 50
HOSTILE = Substitution(r"(a+)+$", "", regex=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.db"


@pytest.fixture
def run(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(bulk_review, "CHUNK", 8)
    monkeypatch.setattr(bulk_review, "_TEXTS", 8)
    with Store.open(path) as store:
        run = store.create_run(method="magpie", plan={}, seed=0, target=ROWS)
        for index in range(ROWS):
            sample = Sample(run, index, state="done")
            answer = f"As an AI, I say {index}." if index % 2 else f"I say {index}."
            store.save(
                [sample, Turn(sample.id, 0, "user", "As an AI?", ""), Turn(sample.id, 1, "assistant", answer, "")]
            )
    return run


def verdicts(path: Path, run: str) -> list[str]:
    with Reader.open(path) as reader:
        rows = reader.rows([Sample(run, index).id for index in range(ROWS)])
    return [row.review.verdict if row.review else "" for row in rows]


def answers(path: Path, run: str) -> list[str]:
    with Reader.open(path) as reader:
        return [row.response for row in reader.rows([Sample(run, index).id for index in range(ROWS)])]


def test_what_was_counted_is_what_changes(path: Path, run: str) -> None:
    with Store.open(path) as store:
        store.save([Review(Sample(run, 3).id, "accept")])
    ids, action, work = gather(path, Query(run), Work()), BulkAction("reject"), Work()
    plan = survey(path, ids, action, work)
    assert (plan.reach, work.done, work.total) == (Reach(ROWS - 1, 1), ROWS, ROWS)
    with Store.open(path) as store:
        store.save([Sample(run, ROWS, state="done")])
    done = carry_out(path, ids, action, "b", work)
    assert (done.reach, done.whole, done.fault) == (plan.reach, True, None)
    assert verdicts(path, run) == ["accept" if index == 3 else "reject" for index in range(ROWS)]
    assert last_batch(path, run) == "b"
    back = take_back(path, "b", Work())
    assert (back.reach, back.whole) == (Reach(ROWS - 1, 0), True)
    assert set(verdicts(path, run)) == {"accept", "undecided"}
    assert last_batch(path, run) is None


class Stopping(Work):
    """Cancelled when so much is done."""

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "done" and value >= 16:
            self.cancel()


def test_cancelled_half_way_begun_again_and_taken_back(path: Path, run: str) -> None:
    ids, action = gather(path, Query(run), Work()), BulkAction("reject")
    half = carry_out(path, ids, action, "one", Stopping())
    assert (half.reach, half.done, half.whole) == (Reach(16, 0), 16, False)
    assert verdicts(path, run) == ["reject"] * 16 + [""] * (ROWS - 16)
    rest = carry_out(path, ids, action, "two", Work())
    assert rest.reach == Reach(ROWS - 16, 0)
    part = take_back(path, "two", Stopping())
    assert part.done == 16
    assert last_batch(path, run) == "two"
    assert take_back(path, "two", Work()).reach == Reach(ROWS - 32, 0)
    assert verdicts(path, run)[:17] == ["reject"] * 16 + ["undecided"]


def test_a_fault_in_the_middle_says_what_is_done(path: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, apply = gather(path, Query(run), Work()), BulkReviews.apply

    def full(self: BulkReviews, chunk: array[int], action: BulkAction, batch: str) -> Reach:
        if chunk[0] == ids[24]:
            raise StoreError("the disk is full", "free some space")
        return apply(self, chunk, action, batch)

    monkeypatch.setattr(BulkReviews, "apply", full)
    done = carry_out(path, ids, BulkAction("accept"), "b", Work())
    assert (done.reach, done.done, done.fault.message) == (Reach(24, 0), 24, "the disk is full")
    assert verdicts(path, run) == ["accept"] * 24 + [""] * (ROWS - 24)


KILLED = """
import sys, threading
from pathlib import Path
from localsynth.engine import bulk_review
from localsynth.store.bulk import BulkAction, BulkReviews

bulk_review.CHUNK, apply, path = 8, BulkReviews.apply, Path(sys.argv[1])

def told(self, ids, action, batch):
    if self.latest() >= 16:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("UPDATE reviews SET verdict = 'accept'")
        print("now", flush=True)
        threading.Event().wait()
    return apply(self, ids, action, batch)

BulkReviews.apply = told
ids = bulk_review.gather(path, bulk_review.Query(sys.argv[2]), bulk_review.Work())
bulk_review.carry_out(path, ids, BulkAction("reject"), "b 2026 x", bulk_review.Work())
"""


def test_a_killed_process_leaves_whole_chunks(path: Path, run: str) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path), run], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"now\n"
        child.kill()
    assert verdicts(path, run) == ["reject"] * 16 + [""] * (ROWS - 16)
    assert last_batch(path, run) == "b 2026 x"
    ids = gather(path, Query(run), Work())
    assert carry_out(path, ids, BulkAction("reject"), "c", Work()).reach == Reach(ROWS - 16, 0)
    assert take_back(path, "b 2026 x", Work()).reach == Reach(16, 0)
    assert verdicts(path, run) == ["undecided"] * 16 + ["reject"] * (ROWS - 16)


def test_replace_in_answers_alone_and_back(path: Path, run: str) -> None:
    ids, wanted = gather(path, Query(run), Work()), Substitution("As an AI, ", "")
    work = Work()
    found = find(path, ids, wanted, ["assistant"], work)
    assert list(found.ids) == [Sample(run, index).id for index in range(1, ROWS, 2)]
    assert work.found == len(found.ids)
    assert [(each.before, each.after) for each in found.examples][:2] == [
        ("As an AI, I say 1.", "I say 1."),
        ("As an AI, I say 3.", "I say 3."),
    ]
    assert len(found.examples) == 3
    done = replace_in(path, found.ids, wanted, ["assistant"], batch="e", work=Work())
    assert (done.reach, done.whole) == (Reach(ROWS // 2, 0), True)
    assert answers(path, run) == [f"I say {index}." for index in range(ROWS)]
    assert not find(path, ids, wanted, ["assistant"], Work()).ids
    assert len(find(path, ids, Substitution("as an ai", "", ignore_case=True), ["user"], Work()).ids) == ROWS
    take_back(path, "e", Work())
    assert answers(path, run)[1] == "As an AI, I say 1."


def test_a_hostile_expression_is_ended(path: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(path) as store:
        store.save([Turn(Sample(run, 20).id, 1, "assistant", "a" * 60 + "!", "")])
    ids = gather(path, Query(run), Work())
    monkeypatch.setattr(Substituter.__init__, "__defaults__", (0.5,))
    with pytest.raises(DataError, match=r"takes longer than 0\.5 seconds") as raised:
        find(path, ids, HOSTILE, ["assistant"], Work())
    assert "simpler" in raised.value.hint
    done = replace_in(path, ids, HOSTILE, ["assistant"], batch="e", work=Work())
    assert (done.whole, done.reach.changed) == (False, 0)
    assert done.done <= 16
    assert "takes longer" in done.fault.message


def test_a_hostile_expression_is_cancelled() -> None:
    with Substituter(HOSTILE, lambda: True, 600) as substituter:
        assert substituter.apply(["a" * 60 + "!"]) is None
        process = substituter._process
    assert process.returncode is not None


def test_a_process_that_does_not_read_is_cancelled() -> None:
    with Substituter(Substitution("a", "b"), lambda: True, 600) as substituter:
        substituter._process.send_signal(signal.SIGSTOP)
        assert substituter.apply(["a" * 1_000_000]) is None


def test_a_process_that_is_gone_is_said() -> None:
    with Substituter(Substitution("a", "b"), lambda: False) as substituter:
        assert substituter.apply(["a", "c"]) == ["b", None]
        substituter._process.kill()
        with pytest.raises(LocalsynthError, match="has ended"):
            substituter.apply(["a"])
