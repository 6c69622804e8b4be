"""Review by keys: edits here and in an editor, tags, notes, selection, filter, order, the other answer, damaged rows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from textual.widgets import Input, TextArea
from tui_stage import PAIRS, fill, notices, press, settle, shown

from localsynth.engine import answer_again
from localsynth.engine.answer_again import Attempt
from localsynth.engine.lock import hold
from localsynth.errors import DataError
from localsynth.records import Review, Sample, Score, Turn
from localsynth.store import Query, Reader, SampleRow, Store
from localsynth.tui import pages, turns_file
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.launcher import Launcher
from localsynth.tui.spelling import spelled, unspelled
from localsynth.tui.widgets.conversation import View, conversation

Stored = Callable[[str, int], SampleRow]


def listed(app: LocalsynthApp) -> list[int]:
    """The indices in the window of the list."""
    return [row.index for row in app.screen_stack[0].window.rows]


async def test_edit_tag_and_note_in_place_and_take_each_back(path: Path, run: str, stored: Stored) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "e")
        app.screen.query(TextArea).last().text = "A model that fits noise. Use more data."
        await press(pilot, "ctrl+s")
        assert stored(run, 0).review.edits == {1: "A model that fits noise. Use more data."}
        assert "edited by you" in shown(app)
        await press(pilot, "D")
        assert "[- or regularise-]" in shown(app)
        await press(pilot, "t")
        app.screen.query_one(Input).value = "good, too  short,good"
        await press(pilot, "enter")
        await press(pilot, "t", *"new", "enter")
        assert stored(run, 0).review.tags == ("good", "too short", "new")
        await press(pilot, "z", "n", *"fine", "enter", "a")
        review = stored(run, 0).review
        assert (review.verdict, review.note, review.tags) == ("accept", "fine", ("good", "too short"))
        assert review.edits == {1: "A model that fits noise. Use more data."}
        await press(pilot, "z", "z")
        review = stored(run, 0).review
        assert (review.verdict, review.note, review.tags) == ("undecided", None, ("good", "too short"))
        await press(pilot, "z", "z")
        review = stored(run, 0).review
        assert (review.edits, review.tags, len(stored(run, 0).reviews)) == ({}, (), 10)


async def test_what_was_typed_in_the_editor_is_not_thrown_away_unasked(path: Path, run: str, stored: Stored) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "e", "escape")
        assert app.screen is app.screen_stack[0]
        await press(pilot, "e", *"more", "escape")
        assert "Throw away what you changed" in shown(app)
        await press(pilot, "n", "ctrl+s")
        assert "more" in stored(run, 0).review.edits[1]


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets $EDITOR to a shell line in which $1 is the file."""
    monkeypatch.setattr(LocalsynthApp, "suspend", lambda _: nullcontext())
    monkeypatch.delenv("VISUAL", raising=False)

    def make(line: str) -> None:
        script = tmp_path / "an editor"
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)
        monkeypatch.setenv("EDITOR", f"'{script}'")

    return make


async def test_an_editor_that_fails_or_spoils_the_file_changes_nothing_and_loses_nothing(
    path: Path, run: str, stored: Stored, editor: Callable[[str], None]
) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "4")
        for line, said in (
            ("exit 3", "ended with an error (3)"),
            (': > "$1"', "empty file"),
            ("true", "Nothing was changed"),
            ('echo "A new answer." > "$1"', "must stay as they are"),
        ):
            editor(line)
            await press(pilot, "E")
            assert any(said in notice for notice in notices(app)), line
        assert stored(run, 0).reviews == ()
        # What the last one left is opened again: it was not lost with its file. An empty file gives it up.
        editor('grep -q "A new answer." "$1" && : > "$1"')
        await press(pilot, "E")
        editor("true")
        await press(pilot, "E")
        assert notices(app)[-1] == "Nothing was changed."
        editor('echo "A new answer." > "$1"')
        await press(pilot, "E")
        editor('grep -q "A new answer." "$1" && printf "%s\\n" "%%% turn 0: user %%%" "Why?" "%%% turn 1: assistant %%%" '
               '"So." > "$1"')  # fmt: skip
        await press(pilot, "E")
        assert stored(run, 0).review.edits == {0: "Why?", 1: "So."}


async def test_filter_by_topic_and_range_with_a_count_then_clear(path: Path, run: str) -> None:
    with Store.open(path) as store:
        store.save([Review(Sample(run, 2).id, "reject", tags=("odd",))])
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "f", "G", "enter")
        await press(pilot, *"6..", "enter")
        long = [index for index, (question, *_) in enumerate(PAIRS) if len(question.split()) >= 6]
        assert f"{len(long)} rows" in shown(app)
        await press(pilot, "f")
        assert listed(app) == long
        assert "words 6.." in shown(app)
        await press(pilot, "f", "c", "f")
        assert listed(app) == list(range(10))
        await press(pilot, "f")
        await press(pilot, *"jjjjj", "enter", "j", "enter")
        assert "1 row" in shown(app)
        await press(pilot, "f")
        assert listed(app) == [2]
        await press(pilot, "escape")
        assert listed(app) == list(range(10))


async def test_what_is_taken_back_in_another_run_is_named(path: Path, run: str, stored: Stored) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "x")
        with Store.open(path) as store:
            app.run_id = fill(store)
        app.screen.look()
        await settle(pilot)
        await press(pilot, "z")
        assert stored(run, 0).review.verdict == "undecided"
        assert any("In run 1, which is not shown here: the verdict of row 0 is" in notice for notice in notices(app))


async def test_a_range_whose_begin_has_left_the_list_is_told(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "v", "slash", *"rivers", "enter", "v", "j")
        assert any("The row where v began is not in the list any more" in notice for notice in notices(app))
        assert app.screen.list.marked == {Sample(run, 0).id, Sample(run, 5).id}
        await press(pilot, "v")
        assert app.screen.list.marked == {Sample(run, index).id for index in (0, 5, 6)}


async def test_any_score_orders_the_list_and_new_rows_find_their_place(path: Path, run: str) -> None:
    with Store.open(path) as store:
        store.save([Score(Sample(run, index).id, "quality", 1, value, None) for index, value in ((3, 0.1), (7, 0.9))])
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "o")
        app.screen.query_one("ChoiceList").highlighted = 7
        await press(pilot, "enter")
        assert "quality, highest first" in shown(app)
        assert listed(app) == [7, 3, 0, 1, 2, 4, 5, 6, 8, 9]
        with Store.open(path) as store:
            store.save([Score(Sample(run, 5).id, "quality", 1, 0.5, None)])
    window = pages.first(path, Query(run, order="quality"))
    with Store.open(path) as store:
        store.save([Score(Sample(run, 1).id, "quality", 1, 0.2, None), Sample(run, 10, state="done")])
        store.save([Score(Sample(run, 10).id, "quality", 1, 0.6, None)])
    # A row keeps its place while it is looked at; one that was not there yet comes where it belongs.
    assert [row.index for row in pages.refresh(path, window).rows] == [3, 5, 10, 7, 0, 1, 2, 4, 6, 8, 9]


async def test_rows_are_selected_one_by_one_and_by_range(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "space", "j", "v", "j", "j", "v")
        screen = app.screen_stack[0]
        assert list(screen.selection()) == [Sample(run, index).id for index in (0, 2, 3, 4)]
        assert "4 selected" in shown(app)
        assert sum("▌" in line for line in shown(app).splitlines()) == 4
        await press(pilot, "escape")
        assert list(screen.selection()) == []


async def test_a_damaged_row_shows_its_fault_and_is_passed_over(path: Path, run: str, stored: Stored) -> None:
    with Store.open(path) as store:
        store._connection.execute("UPDATE samples SET detail = '{oops' WHERE idx = 1")
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "j")
        assert "DAMAGED: detail:" in shown(app)
        await press(pilot, "e")
        assert any("is damaged in the store" in notice for notice in notices(app))
        await press(pilot, "x", "a")
        assert [stored(run, index).review.verdict for index in (1, 2)] == ["reject", "accept"]


def limit(app: LocalsynthApp, most: int) -> None:
    """Let the file of the store grow to so many pages and no further; it never shrinks."""
    verdicts = app.screen._verdicts
    verdicts._thread.submit(lambda: verdicts._store._connection.execute(f"PRAGMA max_page_count = {most}")).result()


async def test_a_full_disk_loses_no_verdict_silently_and_undo_stays_right(path: Path, run: str, stored: Stored) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "a")
        limit(app, 1)
        await press(pilot, "n")
        app.screen.query_one(Input).value = "long " * 20_000
        await press(pilot, "enter")
        assert any("not saved: the disk is full" in notice for notice in notices(app))
        assert stored(run, 1).review is None
        assert "note: long" not in shown(app)
        limit(app, 1_000_000)
        await press(pilot, "x", "z", "z")
        assert stored(run, 0).review.verdict == "undecided"
        assert stored(run, 1).review.verdict == "undecided"


async def test_another_answer_stands_beside_the_old_one_and_is_taken_or_left(
    path: Path, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(path) as store:
        run = fill(store, rows=3)
        again = store.create_run(method="imported", plan={}, seed=1, target=1, name=f"again-{Sample(run, 0).id}")
        rows = [*(row for row in _answer(again))]
        store.save(rows)
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        app.run_id = run
        await press(pilot, "4")
        assert "Another answer, by other-model" in shown(app)
        await press(pilot, "c")
        assert stored(run, 0).review.edits == {1: "The other answer."}
        assert "it stands in the row now" in shown(app)
        await press(pilot, "z")
        assert stored(run, 0).review.edits == {}
        await press(pilot, "j", "c")
        assert any("no other answer here" in notice for notice in notices(app))


def _answer(run: str) -> list:
    sample = Sample(run, 0, state="done")
    texts = (("user", PAIRS[0][0]), ("assistant", "The other answer."))
    return [
        sample, *(Turn(sample.id, n, role, text, text, model="other-model") for n, (role, text) in enumerate(texts))
    ]  # fmt: skip


def test_a_row_is_answered_again_by_a_run_that_differs_in_nothing_else(path: Path) -> None:
    from localsynth.config import plan_from

    with Store.open(path) as store:
        plan = {"answer": {"model": "big.gguf", "sampling": [{"temperature": 0.0, "max_tokens": 99}]}, "turns": 2}
        run = fill(store, rows=1, name="first")
        store.update_run(run, plan=plan)
    again = answer_again.create(path, Sample(run, 0).id)
    with Reader.open(path) as reader:
        made = plan_from(reader.run(again).plan)
    assert (made.method, made.target, made.turns, made.answer.model) == ("imported", 1, 1, "big.gguf")
    assert (made.answer.sampling[0].max_tokens, made.answer.sampling[0].temperature) == (99, 0.8)
    assert PAIRS[0][0] in Path(made.instructions).read_text()
    assert not answer_again.look(path, again, starting=True).over
    assert answer_again.answers(path, Sample(run, 0).id) == ()


def test_turns_survive_the_way_to_the_editor_and_back(path: Path, run: str, stored: Stored) -> None:
    with Store.open(path) as store:
        texts = {0: "%%% turn 1: user %%%\nx\u202e\x1b[2J", 1: "two\n\n"}
        store.save([Review(Sample(run, 0).id, "accept", edits=texts)])
    row = stored(run, 0)
    written = turns_file.write(row)
    assert not set(written) & set("\u202e\x1b")
    assert turns_file.read(row, written) == texts
    for text in ("a\x00b⟦U+41⟧", "plain", "⟦U+", "\ud800\u200b"):
        assert unspelled(spelled(text)) == text


def test_markdown_is_shown_as_text_that_does_nothing(path: Path, run: str, stored: Stored) -> None:
    answer = (
        "# T\n\n**b** [l](http://x.y) [k](javascript:x) <b>h</b> `c`\n\n```python\nx = 1  # [red]\n```\n\n1. one\n   - two\n\n"
        "| a | 中 |\n|---|---|\n| 文文 | d |\n\n![i](a.png) \u202eend\x1b[2J"
    )
    with Store.open(path) as store:
        store.save([Review(Sample(run, 0).id, "accept", edits={1: answer})])
    content = conversation(stored(run, 0))
    lines = content.plain.splitlines()
    for line in ("# T", "b l (http://x.y) [k](javascript:x) <b>h</b> `c`", "▏ x = 1  # [red]", "1. one", "   • two", "a    │ 中",
                 "文文 │ d ", "i (a.png) \ufffdend\ufffd[2J"):  # fmt: skip
        assert line in lines, line
    assert not any("@" in str(span.style) or "link" in str(span.style) for span in content.spans)
    assert (
        answer.replace("\u202e", "⟦U+202E⟧").replace("\x1b", "⟦U+1B⟧")
        in conversation(stored(run, 0), View(source=True)).plain
    )


async def test_a_row_is_not_answered_again_while_a_run_is_at_work(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    with hold(path, run):
        async with app.run_test(size=(120, 40)) as pilot:
            await settle(pilot)
            await press(pilot, "4", "r")
            assert any("at work" in notice for notice in notices(app))
    with Reader.open(path) as reader:
        assert len(reader.runs()) == 1


def test_a_row_with_a_system_turn_is_not_answered_without_it(path: Path) -> None:
    with Store.open(path) as store:
        run = store.create_run(method="magpie", plan={"system_in_answer": True}, seed=1, target=1)
        sample = Sample(run, 0, state="done")
        turns = enumerate(("system", "user", "assistant"))
        store.save([sample, *(Turn(sample.id, at, role, role, role) for at, role in turns)])
    with pytest.raises(DataError, match="has a system turn"):
        answer_again.create(path, sample.id)


async def test_a_key_pressed_twice_has_one_answer_written(
    path: Path, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, made, starting = threading.Event(), [], {}

    def create(store: Path, sample: int) -> str:
        assert go.wait(60)
        made.append(sample)
        return "run"

    app = LocalsynthApp(path)
    monkeypatch.setattr(answer_again, "create", create)
    monkeypatch.setattr(answer_again, "look", lambda _, run, starting: Attempt(run, over=False, answered=False))
    monkeypatch.setattr(Launcher, "start", lambda _, run: starting.update({run: ""}))
    monkeypatch.setattr(Launcher, "starting", lambda _: starting)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "4")
        await pilot.press("r", "r")
        go.set()
        await settle(pilot)
        assert len(made) == 1
        await press(pilot, "r")
        assert any("a run is being started" in notice for notice in notices(app))
        assert len(made) == 1
