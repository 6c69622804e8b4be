"""A plan in the making: what is written into it, what stays, what is wrong with it."""

from __future__ import annotations

import pytest

from localsynth.config import plan_from
from localsynth.errors import PlanError
from localsynth.tui import plan_words
from localsynth.tui.draft import Draft

MINE = """# mine
target = 5  # few

[gate]
# strict
similarity = 0.9

[[ask.sampling]]
temperature = 1.1 # warm
"""


def test_comments_and_order_survive_a_change() -> None:
    draft = Draft()
    draft.load(MINE)
    draft.put("target", 70)
    draft.put("gate.similarity", 0.95)
    draft.put("limits.minutes", 3.0)
    assert draft.text.startswith(MINE.replace("target = 5 ", "target = 70 ").replace("0.9\n", "0.95\n"))
    assert draft.given("limits.minutes") == 3.0
    assert draft.value("limits.tokens") == 0
    assert draft.given("limits.tokens") is None
    assert draft.fault() is None
    for _ in range(3):
        draft.undo()
    assert draft.text == MINE


def test_lists_of_tables_are_written_and_taken_out() -> None:
    draft = Draft()
    draft.load(MINE)
    draft.change({"ask.sampling": "air", "systems": [{"topic": "math", "weight": 2.0}, {"text": "You are 导师."}]})
    plan = plan_from(draft.tables())
    assert (len(plan.ask.sampling), plan.systems[0].topic, plan.systems[1].text) == (12, "math", "You are 导师.")
    draft.change({"ask.sampling": [{"temperature": 0.5}], "systems": None})
    plan = plan_from(draft.tables())
    assert (plan.ask.sampling[0].temperature, plan.systems) == (0.5, ())
    draft.change({"machine.slots": None})
    assert "machine" not in draft.tables()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("turns = 0", "turns"),
        ("[gate]\nsimilarity = 7", "gate.similarity"),
        ("[[ask.sampling]]\ntop_p = 'x'", "ask.sampling"),
        ("[ask]\nsampling = 'fire'", ""),
        ("tragets = 3", ""),
        ("ask = 3", "ask"),
    ],
)
def test_a_fault_names_its_key(text: str, key: str) -> None:
    draft = Draft()
    draft.load(text)
    fault = draft.fault()
    assert fault is not None
    assert (fault.key, bool(fault.hint)) == (key, True)


def test_a_text_that_is_no_toml_is_kept_and_changed_by_nothing() -> None:
    draft = Draft()
    before = draft.text
    draft.load("target = = 3")
    assert draft.text == "target = = 3"
    assert "line 1" in draft.fault().message
    with pytest.raises(PlanError, match="no TOML"):
        draft.put("target", 4)
    draft.undo()
    assert (draft.text, draft.fault(), draft.can_undo) == (before, None, False)


def test_a_long_plan_is_not_drawn_whole() -> None:
    shown = plan_words.toml("# a comment\n" * 100_000).plain
    assert len(shown) < 30_000
    assert shown.endswith("... and 1,180,000 more characters")
    assert plan_words.toml("a = 1\n").plain == "a = 1"
