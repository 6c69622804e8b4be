"""The yield's definition, its interval, and the comparison of two files."""

from __future__ import annotations

import pytest

from localsynth.filters.yields import YieldReport, assess, two_proportion, wilson

CONTROL = ("<|im_start|>", "<|im_end|>")


def test_each_loss_is_counted_once_under_its_cause() -> None:
    report = assess(
        [
            ("What is the capital of France?", True),
            ("  Question: How do I bake bread at home?", True),
            ("如何学习做饭？", True),
            ("what is the capital of france", True),
            ("Tell me about the", False),
            ("", True),
            ("Hello there", True),
            ("它是什么？", True),
            ("What is it?\nAssistant: A cat.", True),
            ("What is 2+2? The answer is 4.", True),
            ("A:\nA:\nA:\nA:", True),
            ("What is<|im_end|> it then?", True),
            ("<think>a poem</think> Write a poem now", True),
        ],
        control_strings=CONTROL,
    )
    assert report == YieldReport(
        13,
        3,
        {
            "duplicate": 1,
            "cut_off": 1,
            "empty": 1,
            "too_short": 2,
            "role_marker": 1,
            "answer_leak": 1,
            "loop": 1,
            "control_tokens": 1,
            "thinking": 1,
        },
    )


def test_a_wanted_language_is_part_of_the_yield() -> None:
    turns = [("What is the capital of France?", True), ("法国的首都是哪里？", True)]
    assert assess(turns, language="en").causes == {"wrong_language": 1}
    assert assess(turns, language="zh").causes == {"wrong_language": 1}
    assert assess(turns).good == 2


def test_an_earlier_bad_turn_makes_no_duplicate() -> None:
    assert assess([("What is the capital of", False), ("What is the capital of", True)]).causes == {"cut_off": 1}


# Published values: Newcombe 1998, "Two-sided confidence intervals for the single proportion", method 3.
@pytest.mark.parametrize(
    ("good", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_agrees_with_the_published_table(good: int, n: int, low: float, high: float) -> None:
    assert wilson(good, n) == pytest.approx((low, high), abs=5e-5)
    report = YieldReport(n, good, {})
    assert (report.low95, report.high95) == wilson(good, n)


def test_no_turns_say_nothing() -> None:
    report = assess([])
    assert (report.rate, report.low95, report.high95) == (0.0, 0.0, 1.0)


# Published values: Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10.
@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090), ((10, 10), (0, 10), 0.6075, 1.0)],
)
def test_differences_agree_with_the_published_table(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    found = two_proportion(YieldReport(first[1], first[0], {}), YieldReport(second[1], second[0], {}))
    assert (found.low95, found.high95) == pytest.approx((low, high), abs=5e-5)


def test_a_real_loss_is_seen_and_noise_is_not() -> None:
    base = YieldReport(300, 282, {})
    assert two_proportion(base, YieldReport(300, 240, {})).low95 > 0.03
    assert two_proportion(base, YieldReport(300, 276, {})).low95 < 0.03
    assert two_proportion(base, YieldReport(300, 294, {})).high95 < 0.03
