"""Merging shards: once, in any order, without duplicates; and one clear line for what cannot be merged."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from handed import ENCODER, RUN, Made, content, home_store, kept, number, reasons, shard_store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from old_store import to_version_2, version

from localsynth.cli.main import main as command
from localsynth.engine.lock import hold
from localsynth.handoff.merge import MergeReport, merge, read_shards
from localsynth.store import Reader, Store
from localsynth.store.migrations import VERSION
from localsynth.tui.watching import Watcher

DRIVER = Path(__file__).with_name("merge_driver.py")


def merged(main: Path, *shards: Path) -> MergeReport:
    return merge(main, read_shards(main, shards), lambda what: None)


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        command([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Three shards of four rows. The same text at 1 and 5, near ones at 3 and 10, one rejected with the text of 8."""
    made = {
        1: [Made(0, "Why is snow white?", 0), Made(3, "How do whales sleep?", 40), Made(6, "What is rain?", 80),
            Made(9, "Who wrote Faust?", 120, rejected=True)],
        2: [Made(1, "Where do swifts sleep?", 160), Made(4, "Name a prime.", 200), Made(7, "What is hail?", 240),
            Made(10, "How do the whales sleep?", 44)],
        3: [Made(2, "Who paints ships?", 280), Made(5, "where do swifts sleep", 161), Made(8, "Who wrote Faust?", 320),
            Made(11, "Still open", 350, state="ready")],
    }  # fmt: skip
    return [shard_store(tmp_path / f"{shard}.db", shard, 3, rows) for shard, rows in made.items()]


def test_every_finished_row_once_and_the_duplicates_named(three: list[Path], tmp_path: Path) -> None:
    report = merged(tmp_path / "main.db", *three)
    assert (report.kept, report.exact, report.near, report.conflicts, report.rejected) == (8, 1, 1, 0, 3)
    assert [shard.new for shard in report.shards] == [4, 4, 3]
    assert report.whole
    found = reasons(tmp_path / "main.db")
    assert found[5] == "the same text as 1:1"
    assert re.fullmatch(rf"0\.99\d like 1:3, limit 0\.975, by {ENCODER}", found[10])
    # What a rule rejected takes nobody's place: 8 says the same as 9, and stays.
    assert kept(tmp_path / "main.db") == [0, 1, 2, 3, 4, 6, 7, 8]


def test_again_changes_nothing(three: list[Path], tmp_path: Path) -> None:
    main = tmp_path / "main.db"
    merged(main, *three)
    before = content(main)
    report = merged(main, *three)
    assert content(main) == before
    assert [(shard.new, shard.known) for shard in report.shards] == [(0, 4), (0, 4), (0, 3)]
    assert (report.kept, report.exact, report.near) == (8, 1, 1)


def test_rows_keep_where_and_with_what_they_were_made(three: list[Path], tmp_path: Path) -> None:
    merged(tmp_path / "main.db", *three)
    with Reader.open(tmp_path / "main.db") as reader:
        parts, row = reader.shards(RUN), reader.run(RUN)
        said = reader.events(RUN)
    assert [(part.host, part.sha256, part.versions["ask"]["backend"]) for part in parts] == [
        (f"host{n}", f"hash{n}", f"scripted {n}") for n in (1, 2, 3)
    ]
    assert (row.state, row.started, row.error, row.target) == ("finished", "2026-01-01", None, 99)
    assert {event.data["shard"] for event in said} == {1, 2, 3}
    assert len(said) == 12


def test_what_home_made_itself_stands(three: list[Path], tmp_path: Path) -> None:
    home = home_store(tmp_path / "home.db", [Made(0, "Name a prime!", 10), Made(1, "About hail", 241)])
    assert merged(home, *three).exact == 2
    assert reasons(home)[4] == "the same text as 1:0"
    assert reasons(home)[7].startswith("1.000 like 1:1")
    with Reader.open(home) as reader:
        assert reader.counts(reader.run("1").id).kept == 2


def test_growing_shards_are_merged_as_they_grow(tmp_path: Path) -> None:
    main = tmp_path / "main.db"
    one = shard_store(tmp_path / "1.db", 1, 2, [Made(0, "First?"), Made(2, "Second?", state="asked")], state="running")
    report = merged(main, one)
    assert (report.kept, report.missing, report.unfinished, report.whole) == (1, (2,), (1,), False)
    shard_store(one, 1, 2, [Made(2, "Second?")])
    two = shard_store(tmp_path / "2.db", 2, 2, [Made(1, "second")])
    report = merged(main, one, two)
    assert report.whole
    # The fixed order: index 1 stands although index 2's shard was merged before.
    assert kept(main) == [0, 1]
    assert reasons(main) == {2: "the same text as 1:1"}
    with Reader.open(main) as reader:
        assert [event.data["index"] for event in reader.events(RUN) if event.data["shard"] == 1] == [0, 2, 2]


def test_the_list_of_runs_sees_what_is_merged_later(tmp_path: Path) -> None:
    main, watcher = tmp_path / "main.db", Watcher(tmp_path / "main.db")
    for shard, question in ((1, "First?"), (2, "Second?")):
        merged(main, shard_store(tmp_path / f"{shard}.db", shard, 3, [Made(shard - 1, question)]))
        (view,) = watcher.runs({})
        assert (view.state, view.progress.kept) == ("stopped", shard)
        assert watcher.run(RUN, {}).progress.kept == shard


def test_an_earlier_row_that_comes_late_takes_its_place_back(tmp_path: Path) -> None:
    main = tmp_path / "main.db"
    late = shard_store(tmp_path / "2.db", 2, 3, [Made(1, "Same?"), Made(4, "Other?")])
    later = shard_store(tmp_path / "3.db", 3, 3, [Made(2, "same")])
    merged(main, late, later)
    assert reasons(main) == {2: "the same text as 1:1"}
    merged(main, shard_store(tmp_path / "1.db", 1, 3, [Made(0, "SAME")]))
    assert reasons(main) == {1: "the same text as 1:0", 2: "the same text as 1:0"}


def test_a_person_can_overrule_a_merge(three: list[Path], tmp_path: Path) -> None:
    from localsynth.records import Review

    main = tmp_path / "main.db"
    merged(main, *three)
    with Store.open(main) as store:
        store.save([Review(number(5), "accept")])
    merged(main, *three)
    assert 5 in kept(main)


def test_other_words_for_the_same_row_are_a_conflict_and_change_nothing(three: list[Path], tmp_path: Path) -> None:
    main, twin = tmp_path / "main.db", tmp_path / "twin.db"
    merged(main, *three)
    before = content(main)
    shard_store(twin, 1, 3, [Made(0, "Why is snow white?", 0), Made(3, "Another question?", 40)], host="elsewhere")
    report = merged(main, twin)
    assert (report.shards[0].known, report.conflicts, report.shards[0].conflicting) == (2, 1, (number(3),))
    after = content(main)
    assert (after["turns"], after["shards"]) == (before["turns"], before["shards"])
    assert kept(main) == [0, 1, 2, 3, 4, 6, 7, 8]


def test_near_duplicates_by_characters_have_the_limit_of_their_length(tmp_path: Path) -> None:
    from localsynth.embedding.encoders import CharNgramEncoder
    from localsynth.records import Embedding

    encoder = CharNgramEncoder()
    texts = ["请用简单的语言解释什么是机器学习，并举一个例子。", "请用简单的语言解释什么是机器学习，并举一个例子吧。",
             "请写一首关于秋天的短诗。"]  # fmt: skip
    shards = []
    for index, (text, vector) in enumerate(zip(texts, encoder.encode(texts), strict=True)):
        path = shard_store(tmp_path / f"{index}.db", index + 1, 3, [Made(index, text)])
        with Store.open(path) as store:
            store.save([Embedding(number(index), "instruction", encoder.name, "", vector.astype("<f2").tobytes())])
        shards.append(path)
    assert merged(tmp_path / "main.db", *shards).near == 1
    assert "limit 0.900, by char-2-4" in reasons(tmp_path / "main.db")[1]


def test_a_shard_of_nothing_but_rejected_rows_is_merged(tmp_path: Path) -> None:
    made = [Made(index, "Again?", 5.0, rejected=True) for index in (0, 1)]
    report = merged(tmp_path / "main.db", shard_store(tmp_path / "1.db", 1, 1, made))
    assert (report.kept, report.rejected, report.exact, report.near) == (0, 2, 0, 0)


WORDS = st.sampled_from(["sun", "Sun!", "moon", "stars", "rain", "snow"])
ROW = st.tuples(WORDS, st.one_of(st.none(), st.integers(0, 60).map(lambda n: n * 3.0)), st.booleans())


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(ROW, min_size=4, max_size=14),
    home=st.lists(ROW, max_size=3),
    order=st.permutations(range(3)),
    cuts=st.lists(st.integers(1, 3), max_size=3),
)
def test_the_order_of_merging_never_changes_what_is_merged(rows, home, order, cuts, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("order")
    made = [Made(index, f"{word}?", angle, rejected) for index, (word, angle, rejected) in enumerate(rows)]
    mine = [Made(index, f"{word}?", angle) for index, (word, angle, _) in enumerate(home)]
    shards = [shard_store(folder / f"{n}.db", n + 1, 3, [row for row in made if row.index % 3 == n]) for n in range(3)]
    home_store(folder / "one.db", mine)
    shutil.copy(folder / "one.db", folder / "other.db")
    merged(folder / "one.db", *shards)
    for cut in cuts:
        merged(folder / "other.db", *[shards[at] for at in order[:cut]])
    merged(folder / "other.db", *[shards[at] for at in reversed(order)])
    assert content(folder / "one.db") == content(folder / "other.db")


POINTS = ["begin", "copy 1", "copy 3", "note", "near", "scores", "end", "index"]


@pytest.mark.parametrize("point", POINTS)
def test_killed_in_the_middle_and_run_again_it_ends_the_same(point: str, three: list[Path], tmp_path: Path) -> None:
    calm, main = tmp_path / "calm.db", tmp_path / "main.db"
    for store in (calm, main):
        home_store(store, [Made(0, "Name a prime!", 10)])
    shutil.copy(calm, main)
    merged(calm, *three)
    process = subprocess.run(
        [sys.executable, str(DRIVER), "merge", str(main), *map(str, three)],
        env=os.environ | {"KILL_AT": point}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert process.returncode == -signal.SIGKILL, process.stderr
    merged(main, *three)
    assert content(main) == content(calm)
    with closing(sqlite3.connect(main)) as db:
        assert db.execute("SELECT count(*) FROM search WHERE search MATCH 'whales'").fetchone() == (2,)


def test_a_store_is_not_merged_into_itself(three: list[Path], capsys) -> None:
    code, _, err = run("merge", three[0], three[0], capsys=capsys)
    assert (code, err.count("\n")) == (5, 2)
    assert f"{three[0]} cannot be merged into itself" in err


def test_a_shard_takes_in_no_other_shard(three: list[Path], capsys) -> None:
    code, _, err = run("merge", three[0], three[1], capsys=capsys)
    assert code == 4
    assert f"{three[0]} is itself a shard of this job" in err


def test_two_merges_at_once_are_one_too_many(three: list[Path], tmp_path: Path, capsys) -> None:
    main = tmp_path / "main.db"
    with hold(main, RUN, "a merge"):
        code, _, err = run("merge", main, *three, capsys=capsys)
    assert code == 4
    assert f"a merge (process {os.getpid()}) is at work on {main}" in err
    assert not main.exists()


def test_a_shard_of_another_plan_is_refused(three: list[Path], tmp_path: Path, capsys) -> None:
    other = shard_store(tmp_path / "other.db", 2, 3, [Made(1, "Who?")], job="another")
    code, _, err = run("merge", tmp_path / "main.db", three[0], other, capsys=capsys)
    assert code == 4
    assert "is a shard of another plan than" in err
    merged(tmp_path / "main.db", three[0])
    before = content(tmp_path / "main.db")
    code, _, err = run("merge", tmp_path / "main.db", other, capsys=capsys)
    assert code == 4
    assert "has shards of this run from another plan" in err
    assert content(tmp_path / "main.db") == before


def test_what_is_no_shard_is_refused(tmp_path: Path, three: list[Path], capsys) -> None:
    home = home_store(tmp_path / "home.db", [Made(0, "Why?")])
    code, _, err = run("merge", tmp_path / "main.db", home, capsys=capsys)
    assert code == 5
    assert f"{home} is no shard of a job" in err
    merged(tmp_path / "main.db", *three)
    code, _, err = run("merge", tmp_path / "new.db", tmp_path / "main.db", capsys=capsys)
    assert code == 5
    code, _, err = run("merge", tmp_path / "new.db", tmp_path / "nothing.db", capsys=capsys)
    assert code == 4
    assert "there is no store at" in err


def test_a_store_of_a_newer_version_is_refused(three: list[Path], tmp_path: Path, capsys) -> None:
    with closing(sqlite3.connect(three[1])) as db:
        db.execute("PRAGMA user_version = 99")
    code, _, err = run("merge", tmp_path / "main.db", *three, capsys=capsys)
    assert code == 4
    assert f"{three[1]} has store version 99" in err
    assert not (tmp_path / "main.db").exists()


def test_stores_of_an_older_version_are_brought_up_to_date(three: list[Path], tmp_path: Path, capsys) -> None:
    main = tmp_path / "main.db"
    merged(main, three[0])
    for path in (main, *three[1:]):
        to_version_2(path)
    assert run("merge", main, *three[1:], capsys=capsys)[0] == 0
    assert {version(path) for path in (main, *three)} == {VERSION}
    assert kept(main) == [0, 1, 2, 3, 4, 6, 7, 8]


def test_missing_and_unfinished_shards_are_named(three: list[Path], tmp_path: Path, capsys) -> None:
    shard_store(three[0], 1, 3, [], state="stopped")
    code, out, err = run("merge", tmp_path / "main.db", three[0], three[2], capsys=capsys)
    assert code == 6
    assert "missing: shard 2" in err
    assert "not finished: shard 1" in err
    assert out == ""


def test_the_report_as_json(three: list[Path], tmp_path: Path, capsys) -> None:
    code, out, _ = run("merge", tmp_path / "main.db", *three, "--json", capsys=capsys)
    said = json.loads(out)
    assert code == 0
    assert (said["kept"], said["exact"], said["near"], said["conflicts"], said["whole"]) == (8, 1, 1, 0, True)
    assert said["shards"][2]["new"] == 3


def test_the_order_on_the_command_line_says_nothing(three: list[Path], tmp_path: Path) -> None:
    shuffled = three.copy()
    random.Random(3).shuffle(shuffled)
    assert [file.shard.shard for file in read_shards(tmp_path / "main.db", shuffled)] == [1, 2, 3]


def test_a_run_that_was_handed_over_does_not_go_on_at_home(three: list[Path], tmp_path: Path, capsys) -> None:
    main = tmp_path / "main.db"
    merged(main, three[0])
    code, _, err = run("resume", "--store", main, capsys=capsys)
    assert code == 2
    assert "run 1 is a job of 3 shards" in err
