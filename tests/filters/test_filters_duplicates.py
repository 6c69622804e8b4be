"""Exact keys: what a reader calls the same, and what only looks alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localsynth.filters.duplicates import exact_duplicate, instruction_key, normalise


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is rust?", "what  is\nRUST"),
        ("What is rust?", "What is rust？"),
        ("Ｗｈａｔ is rust", "What is rust."),
        ("解释过拟合。", "解释过拟合"),
        ("Say “hi” to Ann's cat!", 'say "hi" to Ann’s cat'),
        ("Write a poem!!", "Write a poem"),
    ],
)
def test_the_same_question(one: str, other: str) -> None:
    assert instruction_key(one) == instruction_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2+2", "2-2"),
        ("What is 2+2?", "What is 2+3?"),
        ("Compute 5!", "Compute 5"),
        ("Compute n!", "Compute n"),
        ("Expand x²", "Expand x2"),
        ("Name H₂", "Name H2"),
        ("What does a[i] mean", "What does a(i) mean"),
        ("x <= y", "x >= y"),
        ("", "a"),
        ("?", "!"),
        ("写一首关于喜悦的诗", "写一首关于季节的诗"),
    ],
)
def test_different_questions(one: str, other: str) -> None:
    assert instruction_key(one) != instruction_key(other)


@given(st.text())
def test_a_key_fits_sqlite_and_normalising_is_stable(text: str) -> None:
    assert -(2**63) <= instruction_key(text) < 2**63
    assert instruction_key(text) == instruction_key(f"  {text}\n")
    normalise(text).strip()


def test_keys_do_not_change_between_versions() -> None:
    assert instruction_key("What is rust?") == KNOWN


def test_the_finding_names_the_other_sample() -> None:
    finding = exact_duplicate("2:41")
    assert (finding.rule, finding.passed, finding.reason) == ("duplicate", False, "the same text as 2:41")


KNOWN = 8581251640194752052
