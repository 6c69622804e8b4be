"""Merging what went wrong elsewhere: a shard made twice, an older copy, a spoilt store, a medium that is read-only."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from handed import RUN, Made, content, home_store, kept, number, shard_store

from localsynth.cli.main import main as command
from localsynth.config.thresholds import Threshold
from localsynth.engine.lock import hold
from localsynth.handoff.duplicates import Duplicates
from localsynth.handoff.merge import MergeReport, merge, read_shards
from localsynth.records import Review
from localsynth.store import Reader, Store
from localsynth.store import shards as module
from localsynth.store.thresholds import Change, Thresholds

Do = Callable[..., tuple[int, str]]


@pytest.fixture
def do(capsys: pytest.CaptureFixture[str]) -> Do:
    def run(*arguments: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            command([str(argument) for argument in arguments])
        return int(ended.value.code or 0), capsys.readouterr().err

    return run


def merged(main: Path, *shards: Path) -> MergeReport:
    return merge(main, read_shards(main, shards), lambda what: None)


def change(store: Path, sql: str, *values: object) -> Path:
    with closing(sqlite3.connect(store)) as db:
        db.execute(sql, values)
        db.commit()
    return store


def test_a_shard_that_another_machine_made_again_becomes_whole(tmp_path: Path) -> None:
    main = tmp_path / "main.db"
    first = shard_store(tmp_path / "a.db", 1, 1, [Made(0, "By the first?")], state="running", host="first")
    assert not merged(main, first).whole
    second = shard_store(
        tmp_path / "b.db", 1, 1, [Made(0, "By the second?"), Made(1, "More?")], host="second", total=99
    )
    report = merged(main, second)
    assert (report.whole, report.conflicts, kept(main)) == (True, 1, [0, 1])
    with Reader.open(main) as reader:
        (part,), row = reader.shards(RUN), reader.run(RUN)
    assert (part.state, part.host, row.state) == ("finished", "first", "finished")
    before = content(main)
    assert merged(main, first, second).whole
    assert content(main) == before


def test_more_and_fewer_than_the_target_are_said(tmp_path: Path, do: Do) -> None:
    made = [Made(0, "Zero?"), Made(1, "One?")]
    one = shard_store(tmp_path / "1.db", 1, 1, made, total=2)
    other = shard_store(tmp_path / "2.db", 1, 1, [Made(0, "Nil?", rejected=True), made[1], Made(2, "Two?")], total=2)
    code, err = do("merge", tmp_path / "main.db", one, other)
    assert code == 0
    assert "1 more than the target: a shard was made on two machines" in err
    same = [shard_store(tmp_path / f"s{n}.db", n, 2, [Made(n - 1, "Same?")], total=2) for n in (1, 2)]
    code, err = do("merge", tmp_path / "few.db", *same)
    assert code == 0
    assert "1 fewer than the target: what was rejected here is not made again" in err
    assert f"next: localsynth generate -n 1 --store {tmp_path}/few.db" in err


def test_an_older_copy_sets_nothing_back(tmp_path: Path) -> None:
    main, old = tmp_path / "main.db", tmp_path / "old.db"
    store = shard_store(tmp_path / "1.db", 1, 1, [Made(0, "First?")], state="running")
    module.snapshot(store, old)
    shard_store(store, 1, 1, [Made(1, "Second?")])
    assert merged(main, store).whole
    before = content(main)
    assert merged(main, old).whole
    assert content(main) == before


def test_a_review_made_in_a_shard_after_its_merge_is_taken_once(tmp_path: Path) -> None:
    main = tmp_path / "main.db"
    store = shard_store(tmp_path / "1.db", 1, 1, [Made(0, "First?"), Made(1, "Second?"), Made(2, "Third?")])
    merged(main, store)
    with Store.open(main) as opened:
        opened.save([Review(number(1), "accept")])
    with Store.open(store) as opened:
        opened.save([Review(number(0), "reject"), Review(number(1), "reject")])
    for _ in range(2):
        merged(main, store)
        assert kept(main) == [1, 2], "what a person said at home stands"
    with closing(sqlite3.connect(main)) as db:
        assert db.execute("SELECT count(*) FROM reviews").fetchone() == (2,)


def test_an_export_says_that_rows_were_not_compared(tmp_path: Path, do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    main = tmp_path / "main.db"
    shards = [shard_store(tmp_path / f"{n}.db", n, 2, [Made(n - 1, "Same?")]) for n in (1, 2)]

    def cut_off(self: object, told: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Duplicates, "find", cut_off)
        with pytest.raises(KeyboardInterrupt):
            merged(main, *shards)
    code, err = do("export", tmp_path / "rows.jsonl", "--store", main)
    assert (code, "2 rows come from a merge that was cut off" in err) == (0, True)
    merged(main, *shards)
    code, err = do("export", tmp_path / "rows.jsonl", "--store", main, "--force")
    assert (code, "cut off" in err, "1 rows as" in err) == (0, False, True)


def test_a_merge_says_that_rows_are_not_judged_by_the_thresholds_at_home(tmp_path: Path, do: Do) -> None:
    main = tmp_path / "main.db"
    shards = [shard_store(tmp_path / f"{n}.db", n, 2, [Made(n - 1, f"What is {n}?")]) for n in (1, 2)]
    assert "not judged" not in do("merge", main, shards[0])[1]
    with Thresholds(main) as thresholds:
        thresholds.put([Change("instruction.length", Threshold(4))], "you")
        thresholds.apply()
    said = do("merge", main, shards[1])[1]
    assert (
        f"1 rows are not judged by the thresholds in force in {main}\n  next: localsynth threshold apply --store {main}"
        in said
    )
    do("threshold", "apply", "--store", main)
    assert kept(main) == []
    assert "not judged" not in do("merge", main, *shards)[1]


SPOILT = {
    "a plan of a newer version": ("UPDATE runs SET plan = json_set(plan, '$.newer', 1)", "has a plan that this local"),
    "no plan": ("UPDATE runs SET plan = '{'", "cannot be read"),
    "odd vectors": ("UPDATE embeddings SET vector = x'000102'", "has a vector by all-MiniLM-L6-v2 of 3 bytes"),
    "longer vectors": ("UPDATE embeddings SET vector = x'003C003C003C' WHERE sample = (SELECT max(id) FROM samples)",
                       "of 6 bytes where others have 4"),
    "rows of another shard": ("UPDATE shards SET shard = 2, shards = 2", "has 1 rows that do not belong to shard 2"),
    "an index that is not the row's": ("UPDATE samples SET idx = 7 WHERE idx = 1", "1 rows that do not belong"),
}  # fmt: skip


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_shard_is_refused_before_anything_is_written(what: str, tmp_path: Path, do: Do) -> None:
    sql, words = SPOILT[what]
    main = home_store(tmp_path / "main.db", [Made(0, "Ours?", 5)])
    before = content(main)
    spoilt = change(shard_store(tmp_path / "1.db", 1, 1, [Made(0, "A?", 10), Made(1, "B?", 20)]), sql)
    code, err = do("merge", main, spoilt)
    assert (code, err.count("\n"), words in err) == (5, 2, True), err
    assert content(main) == before


def test_vectors_of_another_length_than_at_home_are_refused(tmp_path: Path, do: Do) -> None:
    main = home_store(tmp_path / "main.db", [Made(0, "Ours?", 5)])
    other = change(shard_store(tmp_path / "1.db", 1, 1, [Made(0, "A?", 10)]), "UPDATE embeddings SET vector = x'003C'")
    code, err = do("merge", main, other)
    assert (code, "of 2 bytes where others have 4" in err) == (5, True)


def test_shards_of_another_number_are_of_another_job(tmp_path: Path, do: Do) -> None:
    three, four = (shard_store(tmp_path / f"{n}.db", n - 2, n, [Made(n - 3, "Why?")]) for n in (3, 4))
    code, err = do("merge", tmp_path / "main.db", three, four)
    assert (code, "is a shard of another plan" in err) == (4, True)


def test_a_missing_shard_is_looked_for_in_the_packed_folder(tmp_path: Path, do: Do) -> None:
    code, err = do("merge", tmp_path / "main.db", tmp_path / "nothing.db")
    assert (code, "packed folder" in err, "generate" in err) == (4, True, False)


def test_a_link_to_the_main_store_is_the_main_store(tmp_path: Path, do: Do) -> None:
    main = home_store(tmp_path / "main.db", [Made(0, "Ours?")])
    (tmp_path / "link.db").symlink_to(main)
    store = shard_store(tmp_path / "1.db", 1, 1, [Made(0, "A?")])
    with hold(main, RUN, "a merge"):
        code, err = do("merge", tmp_path / "link.db", store)
    assert (code, "is at work on" in err) == (4, True)


def test_a_shard_on_a_read_only_medium_is_read_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = shard_store(tmp_path / "1.db", 1, 1, [Made(0, "A?")])
    assert not module.reading(store).endswith("immutable=1")
    monkeypatch.setattr(module.os, "access", lambda path, mode: (path, mode) != (tmp_path, os.W_OK))
    assert module.reading(store).endswith("?mode=ro&immutable=1")
    assert merged(tmp_path / "main.db", store).kept == 1
    log = tmp_path / "1.db-wal"
    log.write_bytes(b"rows")
    assert not module.reading(store).endswith("immutable=1"), "what is in the log would be left out"
