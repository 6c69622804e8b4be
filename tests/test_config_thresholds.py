"""Thresholds as words, as part of a plan, and as lines in a person's own plan.toml."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localsynth.config import Plan, plan_data, plan_from, read_plan
from localsynth.config.plan_file import save_thresholds
from localsynth.config.thresholds import CHARACTERS, Threshold, measure, measure_of
from localsynth.embedding.encoders import CharNgramEncoder
from localsynth.engine.plan_toml import plan_toml
from localsynth.errors import PlanError
from localsynth.filters.gate import check_instruction

MINE = """\
# mine
target = 5  # five

[thresholds]
# short ones
instruction.length = { low = 2 }
"answer.length" = { low = 1 }  # never empty

[gate]
similarity = 0.9  # stricter
"""


def test_bounds_are_included_and_said() -> None:
    bounds = Threshold(3, 0.5e3)
    assert [bounds.passes(value) for value in (2.999, 3, 500, 500.001)] == [False, True, True, False]
    assert bounds.words() == "3 to 500"
    assert bounds.reason(2) == "2 is below 3"
    assert bounds.reason(501) == "501 is above 500"
    assert Threshold(high=0.975).words() == "at most 0.975"
    assert Threshold().open


@given(st.floats(allow_nan=False), st.none() | st.floats(allow_nan=False), st.none() | st.floats(allow_nan=False))
def test_the_reason_says_what_passes_says(value: float, low: float | None, high: float | None) -> None:
    bounds = Threshold(low, high)
    assert bounds.passes(value) == ("within" in bounds.reason(value))


def test_faults_hold_the_value_of_what_they_are_faults_of() -> None:
    assert measure("instruction.length").faults == ("instruction.too_short", "instruction.too_long")
    assert measure_of("instruction.too_short", 1.0) == "instruction.length"
    assert measure_of("answer_2.loop", 0.7) == "answer_2.repetition"
    assert measure_of("answer_2.loop", 4.0) == "answer_2.loop"
    assert measure_of("words", 4.0) == "words"


@pytest.mark.parametrize(
    "text", ["Hi", "word " * 3000, "so it goes on and on and " * 3 + "so it goes " * 40, "?!#$%^&*" * 20 + "a"]
)
def test_every_fault_with_a_measure_comes_from_the_gate(text: str) -> None:
    last = check_instruction(text)[-1]
    assert last.passed is False
    assert measure_of(last.rule, last.value) in {"length", "repetition", "symbol_ratio", "loop"}


def test_the_encoder_without_one_limit_is_the_one_that_is_meant() -> None:
    assert CharNgramEncoder.name == CHARACTERS


def test_a_plan_carries_thresholds_there_and_back(tmp_path: Path) -> None:
    nested = plan_from({"thresholds": {"instruction": {"length": {"low": 3}}, "answer.length": {"high": 9}}})
    assert nested.thresholds == {"instruction.length": Threshold(3), "answer.length": Threshold(None, 9)}
    assert plan_from(plan_data(nested)) == nested
    path = tmp_path / "plan.toml"
    path.write_text(plan_toml(nested))
    assert plan_from(read_plan(path)) == nested


@pytest.mark.parametrize(
    ("thresholds", "said"),
    [
        ({"a": {}}, "must have a low, a high or both"),
        ({"a": {"low": "x"}}, "thresholds.a.low must be a number"),
        ({"a": {"lo": 1}}, "unknown key 'thresholds.a.lo'"),
        ({"a": {"low": 2, "high": 1}}, "has its low above its high"),
        ({"instruction.too_short": {"low": 1}}, "is part of instruction.length"),
        (3, "thresholds must be a table"),
    ],
)
def test_a_wrong_threshold_is_named(thresholds: object, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        plan_from({"thresholds": thresholds})


def test_saving_keeps_what_a_person_wrote(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(MINE)
    save_thresholds(path, {"instruction.length": Threshold(3, 200.5), "answer.length": Threshold(4)})
    text = path.read_text()
    for line in MINE.splitlines():
        comment = line.partition("#")[2]
        assert comment in text
    assert '"instruction.length" = {low = 3, high = 200.5}' in text
    plan = plan_from(read_plan(path))
    assert plan.thresholds == {"instruction.length": Threshold(3, 200.5), "answer.length": Threshold(4)}
    assert (plan.target, plan.gate.similarity) == (5, 0.9)


def test_an_open_threshold_is_taken_out_and_a_new_file_is_made(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    save_thresholds(path, {"answer.length": Threshold(4)})
    assert plan_from(read_plan(path)) == plan_from({"thresholds": {"answer.length": {"low": 4}}})
    save_thresholds(path, {"answer.length": Threshold()})
    assert plan_from(read_plan(path)) == Plan()
    assert [file.name for file in tmp_path.iterdir()] == ["plan.toml"]


@pytest.mark.parametrize("text", ["target = ", "targe = 5", "thresholds = 3"])
def test_a_file_that_is_no_plan_stays_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(PlanError):
        save_thresholds(path, {"answer.length": Threshold(4)})
    assert path.read_text() == text


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot write"):
        save_thresholds(tmp_path / "none" / "plan.toml", {"answer.length": Threshold(4)})
