"""Ready topics and how they are chosen."""

from __future__ import annotations

import hashlib
import re

import pytest

from localsynth.errors import NotFound, PlanError
from localsynth.methods.topics import find_topic, parse_topics, topics

CATEGORIES = {
    "Information seeking", "Reasoning", "Planning", "Editing", "Coding & Debugging", "Math", "Role playing",
    "Data analysis", "Creative writing", "Advice seeking", "Brainstorming", "Others",
}  # fmt: skip
HAN = re.compile(r"[一-鿿]")


def test_every_category_of_the_paper_has_a_topic() -> None:
    assert {topic.category for topic in topics()} == CATEGORIES


def test_weights_sum_to_one_and_keep_the_published_ratios() -> None:
    weights = {topic.id: topic.weight for topic in topics()}
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["math"] / weights["planning"] == pytest.approx(2.5)
    assert weights["editing"] / weights["advice"] == pytest.approx(2)


@pytest.mark.parametrize("turns", [1, 3])
def test_both_languages_say_who_asks_and_stay_short(turns: int) -> None:
    english, chinese = topics("en", turns), topics("zh", turns)
    assert [t.id for t in english] == [t.id for t in chinese]
    for topic in english:
        assert "user" in topic.text.lower()
        assert not HAN.search(topic.text)
        assert len(topic.text.split()) <= 65
    for topic in chinese:
        assert "用户" in topic.text
        assert HAN.search(topic.text)
        assert len(topic.text) <= 140
    assert len({t.text for t in english + chinese}) == 2 * len(english)


def test_several_turns_add_one_sentence_and_change_the_hash() -> None:
    for language in ("en", "zh"):
        for one, many in zip(topics(language, 1), topics(language, 4), strict=True):
            assert many.text.startswith(one.text)
            assert len(many.text) > len(one.text) + 15
            assert many.sha256 != one.sha256
    assert ". The conversation" in topics("en", 2)[0].text
    assert topics("en", 2) == topics("en", 5)


def test_the_hash_is_of_the_text_that_is_used() -> None:
    topic = find_topic("math", "zh", 2)
    assert topic.sha256 == hashlib.sha256(topic.text.encode()).hexdigest()
    assert topic.version >= 1


def test_any_language_means_english_and_others_are_refused() -> None:
    assert topics("any") == topics("en")
    with pytest.raises(PlanError, match="'de'") as caught:
        topics("de")
    assert "your own" in caught.value.hint


def test_parse() -> None:
    chosen = parse_topics(" Math , coding:2.5,advice:0 ", "zh", 2)
    assert [(t.id, t.language, w) for t, w in chosen] == [
        ("math", "zh", 1.0),
        ("coding", "zh", 2.5),
        ("advice", "zh", 0.0),
    ]
    assert len(parse_topics("all")) == len(topics())


@pytest.mark.parametrize(
    ("spec", "kind", "word"),
    [
        ("maths", NotFound, "math"),
        ("creative", NotFound, "creative-writing"),
        ("qqq", NotFound, "topics: "),
        ("math:two", PlanError, "math:2"),
        ("math:", PlanError, "math:2"),
        ("math:-1", PlanError, "math:2"),
        ("math:inf", PlanError, "math:2"),
        ("math,math:2", PlanError, "once"),
        ("math:0,coding:0", PlanError, "above 0"),
        (" , ", PlanError, "topics: "),
        ("", PlanError, "topics: "),
    ],
)
def test_bad_input_says_what_to_type(spec: str, kind: type[PlanError | NotFound], word: str) -> None:
    with pytest.raises(kind) as caught:
        parse_topics(spec)
    assert word in caught.value.hint
