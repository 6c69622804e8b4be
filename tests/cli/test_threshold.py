"""`localsynth threshold`: the same as the filters screen, for scripts, and what an export says of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localsynth.cli.main import main
from localsynth.config import Plan, plan_data, plan_from, read_plan
from localsynth.config.thresholds import Threshold
from localsynth.engine.tally import unjudged
from localsynth.records import Ruling, Sample, Score, Turn
from localsynth.store import Reader, Store

LENGTH = "instruction.length"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Twenty rows of 1 to 20 words; the two shortest are rejected and have no answer."""
    path = tmp_path / "rows.db"
    with Store.open(path) as opened:
        run = opened.create_run(method="magpie", plan={}, seed=7, target=7, state="finished", model="m")
        for words in range(1, 21):
            sample = Sample(run, words, state="done")
            fault = "too_short" if words < 3 else "length"
            opened.save(
                [
                    sample,
                    Turn(sample.id, 0, "user", "a question", ""),
                    Score(sample.id, f"instruction.{fault}", 1, float(words), fault == "length", f"{words} words"),
                ]
            )
            if fault == "length":
                opened.save([Turn(sample.id, 1, "assistant", "Yes.", "")])
    return path


@pytest.fixture
def call(store: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `localsynth threshold ARGUMENTS` on the store: code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        place = () if arguments[0] == "presets" else ("--store", store)
        with pytest.raises(SystemExit) as left:
            main([str(part) for part in ("threshold", *arguments, *place)])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return run


def kept(store: Path) -> list[int]:
    with Reader.open(store) as reader:
        return [row.index for row in reader.samples() if row.kept]


def test_set_count_undo_and_clear(store: Path, call: Callable[..., Any]) -> None:
    assert call("set", LENGTH, "--low", 5, "--high", 12, "--dry-run") == (0, "8\n", "8 of 20 rows are kept, -10\n")
    assert len(kept(store)) == 18
    assert call("set", LENGTH, "--low", 5, "--high", 12)[1] == "8\n"
    assert kept(store) == list(range(5, 13))
    code, out, _ = call("list", "--json")
    assert code == 0
    assert json.loads(out) == {
        "done": 20, "kept": 8, "not_judged": 0, "scores": [
            {
                "score": LENGTH, "least": 3.0 - 2.0, "most": 20.0, "low": 5.0, "high": 12.0, "differs_by_run": False,
                "rejected": 12,
            }
        ],
    }  # fmt: skip
    assert "5 to 12" in call("list")[1]
    assert call("undo")[:2] == (0, "18\n")
    assert call("undo")[0] == 2
    call("set", LENGTH, "--low", 15)
    _, out, _ = call("clear", "--json")
    assert json.loads(out)["kept"] == 18
    assert len(kept(store)) == 18


def test_a_looser_bound_tells_of_rows_without_an_answer(store: Path, call: Callable[..., Any]) -> None:
    _, out, said = call("set", LENGTH, "--low", 2)
    assert out == "19\n"
    assert "1 rows that were rejected have no answer" in said


def test_a_plan_takes_the_bounds_and_the_store_stays(store: Path, tmp_path: Path, call: Callable[..., Any]) -> None:
    plan = tmp_path / "plan.toml"
    code, out, _ = call("set", "--preset", "full-answers", "--plan", plan)
    assert (code, out) == (0, f"{plan}\n")
    assert plan_from(read_plan(plan)).thresholds == {"answer.length": Threshold(10)}
    with Reader.open(store) as reader:
        assert not reader.thresholds()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("set",), "name a score with --low"),
        (("set", LENGTH), "name a score with --low"),
        (("set", "--preset", "full-answers", "--low", 3), "a preset has bounds of its own"),
        (("set", "--preset", "full-answer"), "did you mean full-answers?"),
        (("set", "instruction.too_short", "--low", 1), f"did you mean {LENGTH}?"),
        (("set", "zzz", "--low", 1), "localsynth threshold list"),
        (("set", LENGTH, "--low", 3, "--high", 2), "is above its high bound"),
        (("set", LENGTH, "--low", "nan"), "a bound is a finite number"),
        (("set", LENGTH, "--low", 3, "--high", "inf", "--plan", "plan.toml"), "a bound is a finite number"),
    ],
)
def test_what_cannot_be_set_is_said(
    store: Path, call: Callable[..., Any], arguments: tuple[object, ...], said: str
) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert len(kept(store)) == 18


def test_rows_that_came_in_later_are_judged_by_apply(store: Path, call: Callable[..., Any]) -> None:
    call("set", LENGTH, "--low", 5)
    with Reader.open(store) as reader:
        run = reader.run().id
    with Store.open(store) as opened:
        sample = Sample(run, 30, state="done")
        opened.save([sample, Score(sample.id, LENGTH, 1, 4.0, True)])
    assert "1 rows are not judged" in call("list")[2]
    assert call("apply")[1] == "16\n"
    assert "not judged" not in call("list")[2]


@pytest.mark.parametrize("mended", [("apply",), ("clear",), ("clear", LENGTH)])
def test_rows_that_another_store_had_overruled_come_back(
    store: Path, call: Callable[..., Any], mended: tuple[str, ...]
) -> None:
    with Reader.open(store) as reader:
        run = reader.run().id
    with Store.open(store) as opened:  # as a merge brings them: its rulings, not its thresholds
        for index in (30, 31):
            sample = Sample(run, index, state="done")
            opened.save([sample, Score(sample.id, LENGTH, 1, 4.0, False, "4 is below 5")])
            opened.save([Ruling(sample.id, LENGTH, 1, True, "4 words")])
    assert "2 rows are not judged" in call("list")[2]
    assert call(*mended)[1] == "20\n"
    assert "not judged" not in call("list")[2]
    assert json.loads(call("list", "--json")[1])["not_judged"] == 0


def test_an_export_says_how_many_rows_are_not_judged_as_its_card_says(
    store: Path, call: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def export() -> str:
        with pytest.raises(SystemExit) as left:
            main(["export", str(tmp_path / "out.jsonl"), "--force", "--store", str(store)])
        assert not left.value.code
        return capsys.readouterr().err

    call("set", LENGTH, "--low", 5)
    assert "not judged" not in export()
    with Reader.open(store) as reader:
        run = reader.run().id
    with Store.open(store) as opened:
        sample = Sample(run, 30, state="done")
        opened.save([sample, Score(sample.id, LENGTH, 1, 4.0, True), Turn(sample.id, 0, "user", "a question", "")])
        other = opened.create_run(method="magpie", plan={}, seed=7, target=7)
    assert unjudged(store, other) == 0
    said = export()
    assert "1 rows are not judged by the thresholds in force, which the card names" in said
    assert f"localsynth threshold apply --store {store}" in said
    call("apply")
    assert "not judged" not in export()


def test_bounds_that_differ_by_run_are_said_to(store: Path, call: Callable[..., Any]) -> None:
    call("set", LENGTH, "--low", 5)
    with Store.open(store) as opened:
        plan = plan_data(Plan(thresholds={LENGTH: Threshold(10)}))
        run = opened.create_run(method="magpie", plan=plan, seed=7, target=7, state="finished")
        opened.save([Sample(run, 0, state="done"), Score(Sample(run, 0).id, LENGTH, 1, 12.0, True)])
    assert "differs by run" in call("list")[1]
    assert json.loads(call("list", "--json")[1])["scores"][0]["differs_by_run"] is True
    call("set", LENGTH, "--low", 7)
    assert "at least 7" in call("list")[1]


def test_presets_are_listed_with_their_sources(call: Callable[..., Any]) -> None:
    text = call("presets")[1]
    assert "magpie-duplicates" in text
    assert "arXiv 2406.08464" in text
    found = json.loads(call("presets", "--json")[1])
    assert found[0]["thresholds"] == {"instruction.near_duplicate": {"low": None, "high": 0.975}}


def test_an_export_names_the_thresholds_on_its_card(
    store: Path, tmp_path: Path, call: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def card() -> str:
        with pytest.raises(SystemExit):
            main(["export", str(tmp_path / "out.jsonl"), "--store", str(store), "--force"])
        capsys.readouterr()
        return (tmp_path / "out.jsonl.README.md").read_text()

    assert "## Thresholds" not in card()
    call("set", LENGTH, "--low", 5)
    assert "| `instruction.length` | at least 5 |" in card()
