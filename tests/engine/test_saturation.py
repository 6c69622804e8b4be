"""What is said of a prompt that is used up follows from what the plan does already."""

from __future__ import annotations

import pytest

from localsynth.config import plan_from
from localsynth.engine.saturation import saturation

HOT = {"sampling": [{"temperature": 1.25}]}


@pytest.mark.parametrize(
    ("share", "plan", "parts"),
    [
        (0.6, {}, ["60 %", "used up", "with topics, a higher temperature or another model finds more"]),
        (0.3, {}, ["30 %", "before long", "will find more"]),
        (0.6, {"systems": [{"topic": "code"}], "ask": HOT}, ["with other topics or another model"]),
        (0.6, {"method": "imported", "instructions": "x"}, ["the file repeats itself"]),
    ],
)
def test_the_advice_fits_the_plan(share: float, plan: dict, parts: list[str]) -> None:
    said = saturation(share, plan_from(plan))
    assert all(part in said for part in parts), said


def test_few_duplicates_are_no_news() -> None:
    assert saturation(None, plan_from({})) == saturation(0.2, plan_from({})) == ""
