"""The presets: bounds that a plan can hold, on scores that the gate writes, with a source for every figure."""

from __future__ import annotations

import dataclasses

import pytest

from localsynth.config import GatePlan, Plan, plan_data, plan_from
from localsynth.config.thresholds import Threshold
from localsynth.errors import NotFound
from localsynth.filters.gate import check_answer, check_instruction
from localsynth.filters.presets import find_preset, presets


def test_every_preset_is_a_plans_and_names_scores_that_exist() -> None:
    written = {f"instruction.{each.rule}" for each in check_instruction("Why is the sky blue at noon?")}
    written |= {f"answer.{each.rule}" for each in check_answer("It scatters light.", question="Why?")}
    written.add("instruction.near_duplicate")
    for preset in presets():
        assert preset.title
        assert len(preset.source) > 20
        assert set(preset.thresholds) <= written, preset.id
        plan_from(plan_data(dataclasses.replace(Plan(), thresholds=preset.thresholds)))
    assert len({preset.id for preset in presets()}) == len(presets())


def test_the_papers_distance_is_the_gates_cosine() -> None:
    assert find_preset("magpie-duplicates").thresholds == {
        "instruction.near_duplicate": Threshold(high=GatePlan().similarity)
    }
    assert GatePlan().similarity == 1 - 0.05 / 2


def test_a_wrong_name_is_told_a_near_one() -> None:
    with pytest.raises(NotFound) as found:
        find_preset("magpie-duplicate")
    assert found.value.hint == "did you mean magpie-duplicates?"
    with pytest.raises(NotFound) as found:
        find_preset("zzz")
    assert "steady-text" in found.value.hint
