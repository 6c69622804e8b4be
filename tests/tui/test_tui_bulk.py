"""Many rows at once, by keys: counted, shown, written, taken back; and what to review next."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.widgets import Button, Input
from tui_stage import fill, notices, pair, press, settle, shown

from localsynth.engine import bulk_review
from localsynth.errors import StoreError
from localsynth.filters.agreement import Agreement
from localsynth.records import Embedding, Review, Sample
from localsynth.store import Reader, SampleRow, Store
from localsynth.store.bulk import BulkReviews
from localsynth.tui import bulk_screen, pages
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.ranking_screen import words
from localsynth.tui.screens.bulk import BulkDialog
from localsynth.tui.screens.confirm import Confirm
from localsynth.tui.screens.replace import ReplaceDialog
from localsynth.tui.screens.working import Working
from localsynth.tui.widgets.tick import Tick

Verdicts = Callable[[str, int], list[str]]
Stored = Callable[[str, int], SampleRow]


def standing(path: Path, run: str, rows: int = 10) -> list[str]:
    """The latest verdict of each row, "" for none."""
    with Reader.open(path) as reader:
        found = reader.rows([Sample(run, index).id for index in range(rows)])
    return [row.review.verdict if row.review else "" for row in found]


def text_of(app: LocalsynthApp, name: str) -> str:
    return str(app.screen.query_one(f"#{name}").render())


async def test_reject_what_the_filter_shows_and_take_it_back(path: Path, run: str, reviews: Verdicts) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "slash", *"rivers", "enter", "B")
        assert isinstance(app.screen, BulkDialog)
        assert "2 rows: all that the list shows" in shown(app)
        assert "Name three rivers of Europe." in shown(app)
        assert "2 will change" in text_of(app, "reach")
        assert not any(standing(path, run))
        await press(pilot, "j", "enter")
        assert standing(path, run) == [""] * 5 + ["reject"] * 2 + [""] * 3
        assert any("2 rows rejected. z takes it back." in notice for notice in notices(app))
        await press(pilot, "z")
        assert set(standing(path, run)) == {"", "undecided"}
        assert any("2 rows are as they were." in notice for notice in notices(app))
        await press(pilot, "z")
        assert any("nothing to take back" in notice for notice in notices(app))


async def test_a_selection_is_what_is_meant(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "j", "space", "j", "space", "B")
        assert "2 rows: those that you selected" in shown(app)
        await press(pilot, "enter")
        assert standing(path, run) == ["", "accept", "", "accept", *[""] * 6]


async def test_what_a_person_said_stays_unless_told_otherwise(path: Path, run: str) -> None:
    with Store.open(path) as store:
        store.save([Review(Sample(run, 0).id, "reject", "bad"), Review(Sample(run, 1).id, "accept")])
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "B")
        assert "8 will change; 1 left as you said; 1 so already" in text_of(app, "reach")
        await press(pilot, "o")
        assert "9 will change; 1 so already" in text_of(app, "reach")
        await press(pilot, "o", "enter")
        assert standing(path, run) == ["reject", *["accept"] * 9]
        await press(pilot, "B", "j", "j", "enter")
        assert set(standing(path, run)) == {"undecided"}
        await press(pilot, "z", "z")
        assert standing(path, run) == ["reject", "accept", *["undecided"] * 8]


async def test_a_tag_and_a_note_for_all(path: Path, run: str, stored: Stored) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "B", "j", "j", "j", "enter")
        assert isinstance(app.focused, Input)
        await press(pilot, "enter")
        assert "type the tag first" in text_of(app, "reach")
        await press(pilot, *"axj", "comma", "b", "enter")
        assert (stored(run, 3).review.tags, stored(run, 3).review.verdict) == (("axj", "b"), "undecided")
        await press(pilot, "B", "escape")
        assert not isinstance(app.screen, BulkDialog)
        await press(pilot, "B", "G", "enter", *"why", "enter")
        assert (stored(run, 9).review.note, stored(run, 9).review.tags) == ("why", ("axj", "b"))


async def test_an_edit_is_made_again_in_all_rows_like_it(path: Path, run: str, stored: Stored) -> None:
    with Store.open(path) as store:
        store.save(pair(run, 10, "Rivers?", "Danube and Rhine.", ""))
        store.save([Review(Sample(run, 5).id, "accept", edits={1: "Danube, Rhein, Elbe."})])
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", *"jjjjj", "R")
        assert isinstance(app.screen, ReplaceDialog)
        assert (app.screen.query_one("#find").value, app.screen.query_one("#put").value) == ("Rhine", "Rhein")
        assert "1 of 11 rows would change" in text_of(app, "found")
        assert "- Danube and Rhine." in shown(app)
        assert "+ Danube and Rhein." in shown(app)
        assert not stored(run, 10).review
        assert isinstance(app.focused, Button)
        await press(pilot, "enter")
        assert stored(run, 10).response == "Danube and Rhein."
        assert stored(run, 10).review.verdict == "undecided"
        await press(pilot, "z")
        assert stored(run, 10).response == "Danube and Rhine."
        assert stored(run, 5).response == "Danube, Rhein, Elbe."


async def test_replace_by_expression_in_questions(path: Path, run: str, stored: Stored) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "R", *"(((", "enter")
        app.screen.query_one("#regex", Tick).value = True
        await press(pilot, "enter")
        assert "this regular expression is wrong" in text_of(app, "found")
        app.screen.query_one("#find", Input).value = r"(\w+) rivers"
        app.screen.query_one("#put", Input).value = r"\1 (3) rivers"
        for name, value in (("user", True), ("assistant", False)):
            app.screen.query_one(f"#{name}", Tick).value = value
        await press(pilot, "enter")
        assert "2 of 10 rows would change" in text_of(app, "found")
        await press(pilot, "enter")
        assert stored(run, 6).instruction == "Name three (3) rivers of Europe!"


async def test_a_long_job_is_shown_and_stopped(
    path: Path, run: str, monkeypatch: pytest.MonkeyPatch, stored: Stored
) -> None:
    monkeypatch.setattr(bulk_screen, "_AT_ONCE", 3)
    monkeypatch.setattr(bulk_review, "CHUNK", 2)
    app, apply = LocalsynthApp(path), BulkReviews.apply

    def slow(self: BulkReviews, ids: object, action: object, batch: str) -> object:
        found = apply(self, ids, action, batch)
        app.call_from_thread(
            lambda: [screen.action_stop() for screen in app.screen_stack if isinstance(screen, Working)]
        )
        return found

    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "B")
        monkeypatch.setattr(BulkReviews, "apply", slow)
        await press(pilot, "enter")
        assert not isinstance(app.screen, Working)
        assert standing(path, run) == ["accept"] * 2 + [""] * 8
        assert any("Stopped: 2 rows accepted. z takes it back." in notice for notice in notices(app))
        await press(pilot, "z")
        assert standing(path, run)[:2] == ["undecided"] * 2


async def test_a_full_disk_in_the_middle_is_told(path: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_review, "CHUNK", 4)
    app, apply = LocalsynthApp(path), BulkReviews.apply

    def full(self: BulkReviews, ids: object, action: object, batch: str) -> object:
        if Sample(run, 0).id not in ids:
            raise StoreError("the disk is full", "free some space")
        return apply(self, ids, action, batch)

    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "B")
        monkeypatch.setattr(BulkReviews, "apply", full)
        await press(pilot, "enter")
        told = next(notice for notice in notices(app) if "the disk is full" in notice)
        assert "4 rows accepted. z takes it back (4 of 10 rows seen)" in told
        assert "free some space" in told
        assert standing(path, run) == ["accept"] * 4 + [""] * 6


async def test_taking_back_is_shown_and_stopped(path: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_screen, "_AT_ONCE", 3)
    monkeypatch.setattr(bulk_review, "CHUNK", 2)
    app, undo, seen = LocalsynthApp(path), BulkReviews.undo, []

    def slow(self: BulkReviews, batch: str, ids: object) -> object:
        found = undo(self, batch, ids)
        app.call_from_thread(
            lambda: [seen.append(screen.action_stop()) for screen in app.screen_stack if isinstance(screen, Working)]
        )
        return found

    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "B", "enter")
        monkeypatch.setattr(BulkReviews, "undo", slow)
        await press(pilot, "z")
        assert len(seen) == 1
        assert standing(path, run) == ["undecided"] * 2 + ["accept"] * 8
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "z")
        assert "8 rows at once (accept, " in " ".join(shown(app).split())
        await press(pilot, "y")
        assert len(seen) == 2
        assert standing(path, run) == ["undecided"] * 4 + ["accept"] * 6


async def test_a_batch_of_another_name_can_be_taken_back(path: Path, run: str) -> None:
    with Store.open(path) as store:
        store.save([Review(Sample(run, 0).id, "accept", batch="theirs\x1b[31m")])
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "z")
        assert isinstance(app.screen, Confirm)
        assert "theirs" in shown(app)
        await press(pilot, "y")
        assert standing(path, run)[0] == "undecided"


async def test_a_fault_of_our_own_ends_the_job(path: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_job: object) -> None:
        raise TypeError("not foreseen")

    monkeypatch.setattr(bulk_screen, "_AT_ONCE", 3)
    monkeypatch.setattr(bulk_screen, "carry_out", fail)
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "B", "enter")
        assert any("TypeError: not foreseen" in notice for notice in notices(app))
        assert not isinstance(app.screen, Working)
        await press(pilot, "x")
        assert standing(path, run)[0] == "reject"


async def test_what_an_earlier_session_did_can_be_taken_back(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "B", "enter")
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "z")
        assert isinstance(app.screen, Confirm)
        await press(pilot, "y")
        assert set(standing(path, run)) == {"undecided"}


@pytest.fixture
def long_run(path: Path) -> str:
    """Rows of two kinds, told apart by their vectors; the last 49 are decided by kind."""
    with Store.open(path) as store:
        run = fill(store, rows=0)
        for index in range(120):
            kind = b"\x00\x3c\x00\x00" if index % 2 else b"\x00\x00\x00\x3c"
            sample = Sample(run, index).id
            store.save(pair(run, index, f"question {index}", "answer", ""))
            store.save([Embedding(sample, "instruction", "minilm", "", kind)])
            if index > 70:
                store.save([Review(sample, "accept" if index % 2 else "reject")])
    return run


async def test_what_to_review_next(path: Path, long_run: str, stored: Stored) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "u")
        assert any("49 decisions so far: ranking needs 50" in notice for notice in notices(app))
        await press(pilot, "x", "u")
        assert any("it agrees with 100 %" in notice for notice in notices(app))
        listed = app.screen.window.rows
        scores = [
            next(score for score in stored(long_run, row.index).scores if score.name == "review_next")
            for row in listed[:5]
        ]
        assert len(listed) == 70
        assert all(score.passed is None for score in scores)
        assert [score.value for score in scores] == sorted((score.value for score in scores), reverse=True)
        assert {row.index % 2 for row in listed[:2]} == {0, 1}


async def test_it_learns_again_after_more_decisions(path: Path, long_run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "4")
        await pilot.press(*"xa" * 12)
        await settle(pilot)
        assert app.screen._ranking is None
        await press(pilot, "x")
        assert app.screen._ranking.agreement.decisions in {73, 74}  # the last one is just being saved
        assert any("Ranked anew: u shows it." in notice for notice in notices(app))
        with Reader.open(path) as reader:
            assert not [score for score in reader.sample(Sample(long_run, 80).id).scores if score.name == "review_next"]


def test_no_better_than_a_constant_is_said() -> None:
    poor = words(Agreement(decisions=60, accepted=45, agreed=46, caught=3))
    assert poor.startswith(
        "Not better than always saying accept, which is right in 75 %: it agrees with 77 % (65 to 86 %)"
    )
    good = words(Agreement(decisions=200, accepted=100, agreed=180, caught=88))
    assert "agrees with 90 % (85 to 93 %) of 200 held-out decisions, always saying accept with 50 %" in good
    assert "it finds 88 of your 100 rejections" in good


async def test_nothing_is_said_of_rows_that_are_being_written(
    path: Path, run: str, monkeypatch: pytest.MonkeyPatch, stored: Stored
) -> None:
    begun, gate, real = threading.Event(), threading.Event(), bulk_screen.carry_out

    def held(*job: object) -> object:
        begun.set()
        gate.wait(60)
        return real(*job)

    monkeypatch.setattr(bulk_screen, "carry_out", held)
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "x", "B", *"jjj", "enter", *"odd")
        await pilot.press("enter")
        await asyncio.to_thread(begun.wait, 60)
        await pilot.press("z", "B", "R", "a", "n")
        assert app.screen is app.screen_stack[0]
        assert standing(path, run) == ["reject", *[""] * 9]
        assert all("Many rows are being written" in notice for notice in notices(app))
        gate.set()
        await settle(pilot)
        await press(pilot, "a")
        assert (stored(run, 1).review.verdict, stored(run, 1).review.tags) == ("accept", ("odd",))


async def test_nothing_is_said_of_rows_that_are_not_read_again_yet(
    path: Path, run: str, monkeypatch: pytest.MonkeyPatch, stored: Stored
) -> None:
    gate, real = threading.Event(), pages.refresh

    def held(*job: object) -> object:
        gate.wait(60)
        return real(*job)

    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "B", *"jjj", "enter", *"odd")
        monkeypatch.setattr(pages, "refresh", held)
        await pilot.press("enter")
        async with asyncio.timeout(60):
            while not any("10 rows tagged" in notice for notice in notices(app)):
                await pilot.pause()
        await pilot.press("a", "z", "z")
        gate.set()
        await settle(pilot)
        assert {stored(run, index).review.tags for index in range(10)} == {("odd",)}
        await press(pilot, "a", "z", "z")
        assert {stored(run, index).review.tags for index in range(10)} == {()}
