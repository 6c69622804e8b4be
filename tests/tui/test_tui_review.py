from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets import Static
from tui_stage import ESCAPES, MARKUP, PAIRS, fill, notices, pair, press, settle, shown

from localsynth.engine.lock import hold
from localsynth.errors import StoreError
from localsynth.records import Review, Sample, Score, Turn
from localsynth.store import Reader, Row, SampleRow, Store
from localsynth.tui import pages
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.widgets.conversation import conversation
from localsynth.tui.widgets.finds import marked
from localsynth.tui.widgets.pane import ConversationPane
from localsynth.tui.widgets.sample_list import SampleList

Verdicts = Callable[[str, int], list[str]]
Stored = Callable[[str, int], SampleRow]


def cursor(app: LocalsynthApp) -> int | None:
    """The index of the row under the cursor."""
    row = app.screen.query_one(SampleList).row
    return row.index if row else None


def listed(app: LocalsynthApp) -> list[int]:
    """The indices in the window of the list."""
    window = app.screen.window
    return [row.index for row in window.rows] if window else []


def right(app: LocalsynthApp) -> str:
    """The words of the right pane, wherever its lines break."""
    return " ".join(" ".join(line.split("│")[-1] for line in shown(app).splitlines()).split())


async def test_accept_reject_undo(path: Path, run: str, reviews: Verdicts, stored: Stored) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "a", "x", "x")
        assert cursor(app) == 3
        assert "you: 1 ✓ 2 ✗" in shown(app)
        assert "✓•0" in shown(app)
        assert "✗•1" in shown(app)
        assert [reviews(run, index) for index in range(4)] == [["accept"], ["reject"], ["reject"], []]
        assert [stored(run, index).kept for index in range(4)] == [True, False, False, True]
        await press(pilot, "z")
        assert cursor(app) == 2
        assert reviews(run, 2) == ["reject", "undecided"]
        assert stored(run, 2).kept
        await press(pilot, "z", "z")
        assert cursor(app) == 0
        assert reviews(run, 0) == ["accept", "undecided"]
        await press(pilot, "z")
        assert any("nothing to take back" in notice for notice in notices(app))
        assert [len(reviews(run, index)) for index in range(3)] == [2, 2, 2]


async def test_a_person_overrules_a_rule(path: Path, run: str, stored: Stored) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "f", "enter", "j", "j", "enter", "f")
        assert listed(app) == [4, 6, 8]
        assert "showing rejected" in shown(app)
        assert "REJECTED by rule loops" in shown(app)
        assert "✗ loops 0.97: too much of the same" in shown(app)
        await press(pilot, "a", "k")
        assert "ACCEPTED by you; rule loops had rejected it" in shown(app)
        assert stored(run, 4).kept
        assert listed(app) == [4, 6, 8]
        await press(pilot, "f", "c", "f")
        assert listed(app) == list(range(10))


async def test_a_verdict_keeps_note_and_edits_and_undo_brings_the_former_back(
    path: Path, run: str, stored: Stored
) -> None:
    sample = Sample(run, 0).id
    with Store.open(path) as store:
        store.save([Review(sample, "reject", "too short", {1: "A better answer."})])
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "4")
        assert "A better answer." in shown(app)
        assert "note: too short" in shown(app)
        await press(pilot, "a")
        review = stored(run, 0).review
        assert (review.verdict, review.note, review.edits) == ("accept", "too short", {1: "A better answer."})
        await press(pilot, "z")
        review = stored(run, 0).review
        assert (review.verdict, review.note, review.edits) == ("reject", "too short", {1: "A better answer."})


async def test_typing_in_the_search_reviews_nothing(path: Path, run: str, reviews: Verdicts) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "slash", *"axzfgG1", "space", "q")
        assert app.screen.query_one("#search").value == "axzfgG1 q"
        assert app.current_mode == "review"
        await press(pilot, "enter")
        assert "Nothing is found" in shown(app)
        await press(pilot, "a", "x", "z")
        assert not any(reviews(run, index) for index in range(10))
        await press(pilot, "slash", *["backspace"] * 12, *"rivers", "enter")
        assert listed(app) == [5, 6]
        assert "found by rivers" in shown(app)
        await press(pilot, "j", "escape")
        assert cursor(app) == 6
        assert listed(app) == list(range(10))


def marks(app: LocalsynthApp) -> list[str]:
    """What is marked as found in the row on the right."""
    text = app.screen.query_one("#text", Static).content
    return [text.plain[span.start : span.end] for span in text.spans if span.style == "reverse bold"]


async def test_what_a_search_finds_is_marked_in_the_row(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "slash", *"RIVERS dan*", "enter")
        assert listed(app) == []
        await press(pilot, "slash", *["backspace"] * 12, *"europe", "enter")
        assert marks(app) == ["Europe"]
        await press(pilot, "j")
        assert marks(app) == ["Europe"]
        await press(pilot, "escape")
        assert marks(app) == []


def test_marks_of_a_search() -> None:
    def found(text: str, search: str) -> list[str]:
        return [text[span.start : span.end] for span in marked(text, search).spans]

    assert found("Sort, sorting and SORT.", "sort") == ["Sort", "SORT"]
    assert found("Sort, sorting and SORT.", "sort*") == ["Sort", "sort", "SORT"]
    assert found("in place, in a place", '"in place"') == ["in place"]
    assert found("过拟合是Python吗", "拟合 python") == ["拟合", "Python"]
    assert found("a [b] (", "( [ b") == ["b"]
    assert found("anything", '"" * (') == []


async def test_y_copies_the_row_under_the_cursor(path: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = LocalsynthApp(path)
    copied: list[str] = []
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        monkeypatch.setattr(app, "copy_to_clipboard", copied.append)
        await press(pilot, "4", "j", "y")
        assert isinstance(app.focused, SampleList)
        assert copied == [f"user:\n{PAIRS[1][0]}\n\nassistant:\n{PAIRS[1][1]}"]


async def test_rows_that_are_wanted_while_others_are_read_come_later(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "slash", *"rivers", "enter", "j")
        screen, read = app.screen, threading.Event()
        screen.open(pages.Query(run), at=screen.list.row.id)
        await pilot.pause()
        opened = pages.first(path, pages.Query(run), at=screen.list.row.id)
        # The reading of every second is at work when the list is there and wants the rows above.
        screen.ask("rows", lambda: (False, None) if read.wait(90) else None, screen._take)
        screen._opened(opened, 0)
        await pilot.pause()
        assert listed(app) == [6, 7, 8, 9]
        read.set()
        await settle(pilot)
        assert listed(app) == list(range(10))
        assert cursor(app) == 6


async def test_chinese_is_found_and_shown(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "slash")
        app.screen.query_one("#search").value = "过拟合"
        await press(pilot, "enter")
        assert listed(app) == [1]
        assert "过拟合是指模型记住了训练数据中的噪声" in shown(app)
        strips = app.screen._compositor.render_strips()
        assert {strip.cell_length for strip in strips} == {80}


async def test_model_text_is_shown_as_it_is(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(160, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "j", "j")
        assert MARKUP in shown(app)
        assert "[bold]not bold[/bold] [link=x]y[/link]" in shown(app)
        await press(pilot, "j")
        assert "Clear \ufffd[2J\ufffd[31mthe\ufffd]0;title\ufffd screen \ufffdtxet\ufffd\ufffd!" in shown(app)
        assert not set("\x1b\x07\x00\u202e\u202c") & set(shown(app))
        assert ESCAPES not in shown(app)


async def test_the_whole_row_is_there(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 50)) as pilot:
        await settle(pilot)
        await press(pilot, "4")
        text = shown(app)
        for part in (PAIRS[0][0], PAIRS[0][1], "User", "Assistant", "thinking: First I think.", "topic: general"):
            assert part in text
        assert "seed 1000, 24 + 12 tokens, ended by itself" in right(app)
        assert "Then I answer." not in text.split("thinking: ")[1].splitlines()[1]
        await press(pilot, "T")
        assert "thinking: " not in shown(app)
        assert "Then I answer." in shown(app)


async def test_many_turns_and_rows_in_work(path: Path, reviews: Verdicts) -> None:
    with Store.open(path) as store:
        run = fill(store, rows=1)
        talk, asked, failed = (
            Sample(run, 1, state="done"),
            Sample(run, 2),
            Sample(run, 3, state="failed", error="no [b]room[/b]"),
        )
        roles = ("system", "user", "assistant", "user", "assistant")
        store.save([talk, asked, failed, Turn(asked.id, 0, "user", "Half a", "Half a")])
        store.save([Turn(talk.id, n, role, f"turn {n}", f"turn {n}") for n, role in enumerate(roles)])
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "j")
        assert [f"turn {n}" in shown(app) for n in range(5)] == [True] * 5
        await press(pilot, "j")
        assert "UNFINISHED" in shown(app)
        await press(pilot, "a", "x", "j")
        assert "FAILED no [b]room[/b]" in shown(app)
        await press(pilot, "a")
        assert not any(reviews(run, index) for index in range(4))
        assert "1 unfinished" in shown(app)


async def test_focus_and_reading_on(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "G")
        assert cursor(app) == 9
        pane = app.screen.query_one(ConversationPane)
        assert isinstance(app.focused, SampleList)
        await press(pilot, "right")
        assert pane.scroll_offset.y > 10
        await press(pilot, "left", "tab", "j")
        assert app.focused is pane
        assert pane.scroll_offset.y == 1
        assert cursor(app) == 9
        await press(pilot, "tab", "g")
        assert isinstance(app.focused, SampleList)
        assert cursor(app) == 0
        assert pane.scroll_offset.y == 0


@pytest.fixture
def long_run(path: Path) -> str:
    with Store.open(path) as store:
        run = store.create_run(method="magpie", plan={}, seed=1, target=900, state="finished")
        rows = [row for index in range(900) for row in pair(run, index, f"question {index}", "answer", "")]
        store.save(rows)
    return run


async def test_a_long_run_is_read_by_windows(path: Path, long_run: str, reviews: Verdicts) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4")
        assert len(listed(app)) == pages.PAGE
        await press(pilot, *["ctrl+d"] * 9)
        assert cursor(app) == 90
        assert listed(app) == list(range(200))
        await press(pilot, "G")
        assert cursor(app) == 899
        assert "question 899" in shown(app)
        await press(pilot, "x", "ctrl+u", "k")
        assert reviews(long_run, 899) == ["reject"]
        await press(pilot, "g")
        assert cursor(app) == 0
        await press(pilot, "z")
        assert cursor(app) == 899
        assert reviews(long_run, 899) == ["reject", "undecided"]


def test_windows_reach_every_row_both_ways(path: Path, long_run: str) -> None:
    query = pages.Query(long_run)
    window = pages.first(path, query)
    seen = [row.index for row in window.rows]
    while not window.at_end:
        window = pages.grow(path, window, down=True)
        seen += [row.index for row in window.rows if row.index > seen[-1]]
        assert len(window.rows) <= 500
    assert seen == list(range(900))
    assert not window.at_start
    while not window.at_start:
        window = pages.grow(path, window, down=False)
        assert len(window.rows) <= 500
    assert [row.index for row in window.rows] == list(range(500))
    assert not window.at_end


def sample_row(run: str, index: int, state: str = "done", score: float | None = None) -> list[Row]:
    sample = Sample(run, index, state=state)
    rows: list[Row] = [sample, Turn(sample.id, 0, "user", f"q{index}", "")]
    return rows if score is None else [*rows, Score(sample.id, "quality", 1, score, None)]


def test_no_row_comes_twice_when_the_last_one_leaves_the_query(path: Path) -> None:
    with Store.open(path) as store:
        run = store.create_run(method="magpie", plan={}, seed=1, target=400)
        store.save([row for index in range(300) for row in sample_row(run, index, "ready")])
        window = pages.first(path, pages.Query(run, "unfinished"))
        store.save([Sample(run, index, state="done") for index in range(90, 100)])
    window = pages.refresh(path, window)
    assert [row.index for row in window.rows] == list(range(100))
    window = pages.grow(path, window, down=True)
    assert [row.index for row in window.rows] == list(range(200))


@pytest.mark.parametrize("moved", [5, 99])
def test_no_row_comes_twice_when_one_moves_in_the_order(path: Path, moved: int) -> None:
    with Store.open(path) as store:
        run = store.create_run(method="magpie", plan={}, seed=1, target=400)
        store.save([row for index in range(300) for row in sample_row(run, index, score=float(index))])
        window = pages.first(path, pages.Query(run, order="quality"))
        store.save([Score(Sample(run, moved).id, "quality", 2, 150.5, None)])
    window = pages.refresh(path, window)
    assert [row.index for row in window.rows] == list(range(100))
    window = pages.grow(path, window, down=True)
    assert [row.index for row in window.rows] == list(range(199))


async def test_the_cursor_keeps_its_place_when_its_row_is_gone(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", *"jjjjj")
        window = app.screen.window
        app.screen._follow(
            replace(window, rows=window.rows[:5] + window.rows[6:], keys=window.keys[:5] + window.keys[6:])
        )
        assert cursor(app) == 6


def test_rows_that_come_in_between_push_out_none_that_is_known(path: Path) -> None:
    with Store.open(path) as store:
        run = store.create_run(method="magpie", plan={}, seed=1, target=2000)
        store.save([row for index in range(0, 1000, 2) for row in sample_row(run, index)])
        window = pages.first(path, pages.Query(run, "kept"))
        while not window.at_end:
            window = pages.grow(path, window, down=True)
        assert len(window.rows) == 500
        store.save([row for index in (901, 951, 1000, 1001) for row in sample_row(run, index)])
    after = pages.refresh(path, window)
    assert {row.id for row in window.rows} <= {row.id for row in after.rows}
    assert [row.index for row in after.rows][-1] == 998
    assert not after.at_end


@pytest.mark.parametrize("show", pages.SHOWS)
def test_a_window_opens_anywhere(path: Path, long_run: str, show: pages.Show) -> None:
    query = pages.Query(long_run, show)
    middle = pages.first(path, query, at=Sample(long_run, 450).id)
    none = show in {"rejected", "unfinished", "failed"}
    expected = [] if none else list(range(450, 550))
    assert [row.index for row in middle.rows] == expected
    beyond = pages.first(path, query, at=Sample(long_run, 5000).id)
    assert [row.index for row in beyond.rows] == ([] if none else list(range(800, 900)))


def test_unreviewed_means_done_and_without_a_verdict(path: Path, run: str) -> None:
    with Store.open(path) as store:
        store.save([Sample(run, 10), Review(Sample(run, 0).id, "accept"), Review(Sample(run, 1).id, "reject")])
        store.save([Review(Sample(run, 1).id, "undecided"), Review(Sample(run, 2).id, "reject")])
    rows = pages.first(path, pages.Query(run, "unreviewed")).rows
    assert [row.index for row in rows] == [1, 3, 4, 5, 6, 7, 8, 9]
    with Reader.open(path) as reader:
        assert [row.index for row in reader.samples(run, reviewed=True)] == [0, 2]
        assert reader.review_counts(run) == {"accept": 1, "reject": 1, "undecided": 1}


async def test_new_rows_come_in_and_the_cursor_stays(path: Path) -> None:
    with Store.open(path) as store:
        run = fill(store, "running", rows=4)
    app = LocalsynthApp(path)
    with hold(path, run):
        async with app.run_test(size=(120, 30)) as pilot:
            await settle(pilot)
            await press(pilot, "4", "f", "enter", "j", "enter", "f", "G")
            assert cursor(app) == 3
            with Store.open(path) as store:
                store.save([*pair(run, 7, "late", "answer", ""), *pair(run, 5, "early", "answer", "")])
            app.screen.look()
            await settle(pilot)
            assert listed(app) == [0, 1, 2, 3, 5, 7]
            assert cursor(app) == 3
            with Store.open(path) as store:
                store.save(pair(run, 6, "between", "answer", ""))
            app.screen.look()
            await settle(pilot)
            assert listed(app) == [0, 1, 2, 3, 5, 6, 7]
            assert cursor(app) == 3
            await press(pilot, "x")
            assert cursor(app) == 5


async def test_another_run_is_another_list(path: Path) -> None:
    with Store.open(path) as store:
        fill(store, rows=3)
        fill(store, rows=5)
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "4")
        assert ("Run 2" in shown(app), listed(app)) == (True, [0, 1, 2, 3, 4])
        await press(pilot, "1", "j", "r")
        assert ("Run 1" in shown(app), listed(app)) == (True, [0, 1, 2])


async def test_a_verdict_that_cannot_be_saved_is_taken_off_the_screen(
    path: Path, run: str, reviews: Verdicts, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "4")

        def full(store: Store, rows: object) -> None:
            raise StoreError("the disk is full", "free some space")

        monkeypatch.setattr(Store, "save", full)
        await press(pilot, "x")
        assert any("not saved: the disk is full\nfree some space" in notice for notice in notices(app))
        assert reviews(run, 0) == []
        assert "✓ 0" in shown(app)
        await press(pilot, "z")
        assert any("nothing to take back" in notice for notice in notices(app))


async def test_a_verdict_on_its_way_is_saved_when_the_screen_is_left(path: Path, run: str, reviews: Verdicts) -> None:
    app = LocalsynthApp(path)
    async with app.run_test() as pilot:
        await settle(pilot)
        await press(pilot, "4")
        await pilot.press("x", "a", "q")
    assert (reviews(run, 0), reviews(run, 1)) == (["reject"], ["accept"])
    assert app.farewell == []


async def test_a_verdict_lost_on_the_way_out_is_told(path: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = LocalsynthApp(path)
    go = threading.Event()

    def full(store: Store, rows: object) -> None:
        assert go.wait(60)
        raise TypeError("a fault of our own")

    async with app.run_test() as pilot:
        await settle(pilot)
        await press(pilot, "4")
        monkeypatch.setattr(Store, "save", full)
        await pilot.press("x", "q")
        await pilot.pause()
        assert "Leaving as soon as this is written: a verdict." in notices(app)
        go.set()
    assert app.writes.lost == ["not done: a verdict: TypeError: a fault of our own"]


async def test_leaving_waits_for_nobody_who_reads(path: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    closed, close = threading.Event(), Store.close

    def noted(store: Store, *, wait: bool = True) -> None:
        asked.append(wait)
        close(store, wait=wait)
        closed.set()

    app = LocalsynthApp(path)
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM turns").fetchone()
        async with app.run_test() as pilot:
            await settle(pilot)
            await press(pilot, "4", "x")
            monkeypatch.setattr(Store, "close", noted)
            await pilot.press("q")
        assert closed.wait(60)
    assert asked == [False]


async def test_escape_in_the_search_leaves_the_cell_of_the_map(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        app.chosen = [Sample(run, index).id for index in (0, 1, 2)]
        await press(pilot, "4", "slash", *"overfitting", "enter")
        assert listed(app) == [0]
        await press(pilot, "slash", "escape")
        assert listed(app) == [0, 1, 2]
        await press(pilot, "slash", "escape")
        assert listed(app) == [0, 1, 2]
        await press(pilot, "escape")
        assert len(listed(app)) == len(PAIRS)


async def test_a_list_that_could_not_be_read_once_is_read_again(
    path: Path, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "4")

        def locked(*_: object) -> None:
            raise StoreError("the store is locked", "wait")

        with Store.open(path) as store, monkeypatch.context() as patch:
            store.save(pair(run, len(PAIRS), "new", "row", ""))
            patch.setattr(pages, "refresh", locked)
            app.screen._stale = True
            app.screen.look()
            await settle(pilot)
            assert app.screen._stale
        app.screen.look()
        await settle(pilot)
        assert listed(app)[-1] == len(PAIRS)


async def test_a_click_chooses_a_row(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "4")
        await pilot.click(SampleList, offset=(8, 5))
        await settle(pilot)
        assert cursor(app) == 5
        await pilot.click(SampleList, offset=(8, 20))
        await settle(pilot)
        assert cursor(app) == 5


def test_a_megabyte_in_one_line_is_cut_and_says_so(path: Path, run: str, stored: Stored) -> None:
    with Store.open(path) as store:
        store.save(pair(run, 0, "x" * 1_000_000, "\x1b" * 1_000_000, ""))
    text = conversation(stored(run, 0)).plain
    assert len(text) < 50_000
    assert text.count("[980,000 more characters: `localsynth show` prints them all]") == 2
    assert "\x1b" not in text
