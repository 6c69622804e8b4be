"""The filters screen by its keys: nothing is written before enter and yes, and everything that is comes back by z."""

from __future__ import annotations

import threading
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input
from tui_stage import notices, press, settle, shown

from localsynth.config import Plan, plan_data, plan_from, read_plan
from localsynth.config.thresholds import Threshold
from localsynth.engine.run_scores import RunScores
from localsynth.engine.tally import Table
from localsynth.errors import StoreError
from localsynth.records import Sample, Score, Turn
from localsynth.store import Reader, Store
from localsynth.store.thresholds import Change, Thresholds
from localsynth.tui import filtering
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.filtering import Foretold
from localsynth.tui.judging import Read
from localsynth.tui.screens.choose import Choose
from localsynth.tui.screens.confirm import Confirm
from localsynth.tui.screens.field import AskValue

LENGTH, SIMILAR = "instruction.length", "instruction.near_duplicate"


@pytest.fixture
def scored(path: Path) -> str:
    """Forty rows of 1 to 40 words, the two shortest rejected and never answered; every tenth leaks its answer."""
    with Store.open(path) as store:
        run = store.create_run(method="magpie", plan={}, seed=7, target=7, model="m", state="finished")
        for index in range(40):
            sample, words = Sample(run, index, state="done"), float(index + 1)
            fault = "too_short" if words < 3 else "length"
            store.save(
                [
                    sample,
                    Turn(sample.id, 0, "user", f"题 [b]question[/b] {index}", ""),
                    Score(sample.id, f"instruction.{fault}", 1, words, fault == "length", f"{words:.0f} words"),
                ]
            )
            if fault == "length":
                store.save(
                    [
                        Turn(sample.id, 1, "assistant", "Yes.", ""),
                        Score(sample.id, "answer.repetition", 1, index / 100, True),
                    ]
                )
            if index % 10 == 5:
                store.save([Score(sample.id, "instruction.answer_leak", 1, None, False, "answers its own question")])
    return run


def kept(path: Path) -> list[int]:
    with Reader.open(path) as reader:
        return [row.index + 1 for row in reader.samples() if row.kept]


def by_rule(*bounds: int) -> list[int]:
    """The word counts from the first bound to the last, without the rows that leak their answers."""
    return [words for words in range(bounds[0], bounds[1] + 1) if (words - 1) % 10 != 5]


def bare(app: LocalsynthApp) -> str:
    return " ".join(shown(app).replace("│", " ").split())


async def test_a_threshold_is_moved_applied_and_taken_back(path: Path, scored: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await press(pilot, "5")
        assert "34 of 40 kept" in shown(app)
        await press(pilot, "l", "l", "l", "l")
        assert "[low 5]" in shown(app)
        assert "moved: 32 (-2)" in shown(app)
        assert "◆ length" in shown(app)
        assert kept(path) == by_rule(3, 40)
        await press(pilot, "tab", "H", "enter")
        assert app.screen._question.startswith(
            "Apply instruction.length 5 to 30? Then 23 of 40 rows are kept, 11 fewer"
        )
        await press(pilot, "n")
        assert kept(path) == by_rule(3, 40)
        await press(pilot, "enter", "y")
        assert kept(path) == by_rule(5, 30)
        assert f"{len(by_rule(5, 30))} of 40 kept" in shown(app)
        assert "moved" not in shown(app)
        await press(pilot, "z")
        assert kept(path) == by_rule(3, 40)
        assert f"{len(by_rule(3, 40))} of 40 kept" in shown(app)
        await press(pilot, "z")
        assert any("no threshold was set" in notice for notice in notices(app))


async def test_enter_right_after_a_move_asks_with_its_counts(path: Path, scored: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "5")
        await pilot.press("L", "enter")
        await settle(pilot)
        assert isinstance(app.screen, Confirm)
        assert app.screen._question.startswith(
            "Apply instruction.length at least 11? Then 27 of 40 rows are kept, 7 fewer than now."
        )


async def test_rows_without_an_answer_are_counted_before_they_are_let_in(path: Path, scored: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await press(pilot, "5", "e")
        app.screen.query_one(Input).value = "x"
        await press(pilot, "enter")
        assert "Type a number" in shown(app)
        app.screen.query_one(Input).value = "2"
        await press(pilot, "enter")
        assert "moved: 35 (+1)  1 without an answer" in shown(app)
        await press(pilot, "enter", "y")
        assert kept(path) == by_rule(2, 40)
        with Reader.open(path) as reader:
            short = reader.sample(Sample(scored, 1).id).scores[0]
        assert (short.passed, short.reason) == (True, "2 is within the threshold (at least 2)")
        await press(pilot, "0", "enter", "y")
        assert kept(path) == by_rule(3, 40)


async def test_rows_near_the_bound_open_in_review(path: Path, scored: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "5", "x")
        assert any("no bound yet" in notice for notice in notices(app))
        await press(pilot, "L")
        lines = [line.partition("│")[2].strip() for line in shown(app).splitlines()]
        signs = [line.split()[:3] for line in lines if line[:1] in {"✓", "✗"}]
        assert signs == [
            ["✗", str(words), f"1:{words - 1}"] if words < 11 else ["✓", str(words), f"1:{words - 1}"]
            for words in range(8, 14)
        ]
        assert "题 [b]question[/b] 12" in shown(app)
        await press(pilot, "x", "j", "j", "j", "enter")
        assert app.current_mode == "review"
        assert app.screen.list.row.index == 10
        await press(pilot, "5", "escape")
        assert "moved" in shown(app)
        await press(pilot, "escape")
        assert "moved" not in shown(app)


async def test_a_preset_moves_and_what_is_in_force_is_saved_into_a_plan(
    path: Path, scored: str, tmp_path: Path
) -> None:
    plan = tmp_path / "mine.toml"
    plan.write_text("# mine\ntarget = 3\n")
    app = LocalsynthApp(path)
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "5", "w")
        assert any("no threshold to save" in notice for notice in notices(app))
        await press(pilot, "p", "j", "j", "enter")
        assert any("No row here has a value of" in notice for notice in notices(app))
        assert "◆ answer repetition" in shown(app)
        assert f"moved: {len(by_rule(3, 36))}" in shown(app)
        await press(pilot, "w")
        app.screen.query_one(Input).value = str(plan)
        await press(pilot, "enter")
        assert plan.read_text().startswith("# mine\n")
        assert plan_from(read_plan(plan)).thresholds == {"answer.repetition": Threshold(high=0.35)}
        assert "Apply answer.repetition" in bare(app)
        await press(pilot, "y")
        assert kept(path) == by_rule(3, 36)
    with Reader.open(path) as reader:
        assert [row.source for row in reader.thresholds()] == ["steady-text"]


async def test_a_rule_without_a_value_shows_its_reasons(path: Path, scored: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await press(pilot, "5", "G")
        assert "4 answers its own questi" in shown(app)
        await press(pilot, "l", "e", "0")
        assert sum("Only a score with a value" in notice for notice in notices(app)) == 2
        assert "moved" not in shown(app)


async def test_applying_that_was_cut_off_goes_on_by_enter(
    path: Path, scored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localsynth.store.thresholds._PIECE", 10)
    with Thresholds(path) as thresholds:
        thresholds.put([Change(LENGTH, Threshold(30))], "you")
        thresholds.apply(lambda done, total: True)
    app = LocalsynthApp(path)
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "5")
        assert "not all rows are judged: enter does it" in shown(app)
        await press(pilot, "enter")
        assert "z takes" not in app.screen._question
        await press(pilot, "y")
        assert kept(path) == by_rule(30, 40)
        assert "not all rows" not in shown(app)
        assert notices(app)[-1] == "All rows are judged."


async def test_what_could_not_be_applied_is_still_moved(
    path: Path, scored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> bool:
        raise StoreError("the disk is full", "make room")

    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await press(pilot, "5", "L")
        with monkeypatch.context() as patch:
            patch.setattr(filtering, "apply", full)
            await press(pilot, "enter", "y")
        assert any("the disk is full" in notice for notice in notices(app))
        assert app.screen.drafts == {LENGTH: Threshold(11)}
        await press(pilot, "enter", "y")
        assert app.screen.drafts == {}
    assert kept(path) == by_rule(11, 40)


async def test_a_question_that_waits_for_its_counts_is_not_asked_on_another_screen(
    path: Path, scored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, foretell = threading.Event(), filtering.foretell

    def slow(*arguments: Any) -> Foretold:
        counted.wait(60)
        return foretell(*arguments)

    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await press(pilot, "5")
        monkeypatch.setattr(filtering, "foretell", slow)
        await pilot.press("L", "enter", "4")
        counted.set()
        await press(pilot, "5")
        assert not isinstance(app.screen, Confirm)
        assert "moved" in shown(app)


async def test_what_an_earlier_reading_tells_is_not_heard(path: Path, scored: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await press(pilot, "5", "u")
        app.screen.post_message(Read(app.screen._serials["scores"] - 1, Table(), 1, 2))
        await settle(pilot)
        assert app.screen.reading == (0, 0)


async def test_a_threshold_that_only_one_run_has_can_be_drafted_for_all(path: Path, scored: str) -> None:
    with Store.open(path) as store:
        plan = plan_data(Plan(thresholds={LENGTH: Threshold(9)}))
        run = store.create_run(method="magpie", plan=plan, seed=7, target=7, state="finished")
        store.save([Sample(run, 0, state="done"), Score(Sample(run, 0).id, LENGTH, 1, 12.0, True)])
    app = LocalsynthApp(path)
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "5")
        assert "in force: differs by run" in shown(app)
        await press(pilot, "l", "h")
        assert app.screen.drafts == {LENGTH: Threshold(9)}
        await press(pilot, "u", "enter", "y")
        assert app.screen.drafts == {}
        assert "differs by run" not in shown(app)
    assert kept(path) == [*by_rule(9, 40), 1]


async def test_rows_that_are_not_judged_are_counted_off_the_screens_thread(
    path: Path, scored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Thresholds(path) as thresholds:
        thresholds.put([Change(LENGTH, Threshold(30))], "you")
        thresholds.apply()
    with Store.open(path) as store:
        sample = Sample(scored, 41, state="done")
        store.save([sample, Score(sample.id, LENGTH, 1, 20.0, True)])
    counted: list[bool] = []
    strays = RunScores.strays.func

    def count(run: RunScores) -> int:
        counted.append(threading.current_thread() is threading.main_thread())
        return strays(run)

    noted = cached_property(count)
    noted.__set_name__(RunScores, "strays")
    monkeypatch.setattr(RunScores, "strays", noted)
    app = LocalsynthApp(path)
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "5")
        assert "not all rows are judged: enter does it" in shown(app)
        await press(pilot, "enter", "y")
        assert kept(path) == by_rule(30, 40)
        assert "not all rows" not in shown(app)
    assert counted
    assert not any(counted)


async def test_rows_that_come_in_are_counted_and_the_draft_stays(path: Path, scored: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await press(pilot, "5", "L")
        before = len(by_rule(11, 40))
        assert f"moved: {before}" in shown(app)
        with Store.open(path) as store:
            store.update_run(scored, state="running")
            sample = Sample(scored, 41, state="done")
            store.save([sample, Score(sample.id, LENGTH, 1, 20.0, True)])
        app.screen._read_after = 0.0
        app.screen.look()
        await settle(pilot)
        assert "35 of 41 kept" in shown(app)
        assert f"moved: {before + 1}" in shown(app)


async def test_an_empty_store_says_what_writes_scores(path: Path) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await press(pilot, "5", "l", "enter", "w", "x", "0", "e", "z")
        assert "no score in this store yet" in shown(app)
    assert not path.exists()


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_without_colour_the_bound_and_what_it_rejects_are_seen(
    path: Path, scored: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = LocalsynthApp(path)
    async with app.run_test(size=size) as pilot:
        await press(pilot, "5", "L", "tab", "h")
        assert all(sign in shown(app) for sign in "░█▲△◆")
        assert "in force: none" in shown(app)
        assert "tallest" in shown(app)


async def test_a_name_from_another_machine_is_shown_harmless(path: Path) -> None:
    evil = "evil\x1b[31m\u202eabc"
    with Store.open(path) as store:
        run = store.create_run(method="magpie", plan={}, seed=7, target=7, state="finished")
        for index in range(30):
            sample = Sample(run, index, state="done")
            store.save([sample, Score(sample.id, evil, 1, float(index), True)])
    app = LocalsynthApp(path)
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "5", "l")
        assert "\x1b" not in shown(app)
        await press(pilot, "enter")
        assert isinstance(app.screen, Confirm)
        for dialog in (
            AskValue(evil, evil, evil, lambda _: ""),
            Choose(evil, evil, [("a", evil)], "a"),
            Confirm(evil, evil),
        ):
            assert "evil\ufffd[31m\ufffdabc" in shown(app)
            assert not {"\x1b", "\u202e"} & set(shown(app))
            app.push_screen(dialog)
            await pilot.pause()
        assert not {"\x1b", "\u202e"} & set(shown(app))
