"""Find and replace: what an edit teaches, what is found, and what is refused."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localsynth.errors import DataError
from localsynth.filters.substitution import LONGEST, Substitution, derive, described, serve


def result(wanted: Substitution, text: str) -> str | None:
    return wanted.apply(wanted.compiled(), text)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("As an AI, I think so.", "I think so.", ("As an AI, ", "")),
        ("The color is red.", "The colour is red.", ("color", "colour")),
        ("Hello world", "Hello, world", ("Hello", "Hello,")),
        ("world", "Hello world", ("world", "Hello world")),
        ("one  two", "one two", ("one  ", "one ")),
        ("机器学习很好", "机器学习很好。", ("机器学习很好", "机器学习很好。")),
        ("same", "same", None),
        ("", "new", None),
        ("gone", "", ("gone", "")),
        ("a b c b d", "a x c x d", ("b", "x")),
        ("a " * 5000 + "b", "a " * 5000 + "c", ("b", "c")),
        ("a " * 5000, "b " * 5000, None),
    ],
)
def test_the_smallest_difference(before: str, after: str, expected: tuple[str, str] | None) -> None:
    assert derive(before, after) == expected


words = st.text(alphabet="ab .,\n 好", max_size=30)


@given(words, words)
def test_a_derived_replacement_changes_the_text_it_came_from(before: str, after: str) -> None:
    found = derive(before, after)
    if before == after or not before:
        assert found is None
    elif found is not None:
        find, put = found
        assert find in before
        assert put in after
        assert find != put
        assert result(Substitution(find, put), before) is not None


@given(words.filter(bool), words, words)
def test_plain_text_is_no_expression(find: str, put: str, text: str) -> None:
    changed = result(Substitution(find, put), text)
    assert (text if changed is None else changed) == text.replace(find, put)


def test_nothing_in_plain_text_is_special() -> None:
    assert result(Substitution("a.c", r"\1 \g<0> \n"), "abc a.c") == r"abc \1 \g<0> \n"
    assert result(Substitution(r"(\w+), (\w+)", r"\2 \1", regex=True), "Doe, Jo") == "Jo Doe"
    assert result(Substitution("AI", "model", ignore_case=True), "an ai") == "an model"
    assert result(Substitution("none", "x"), "text") is None
    assert result(Substitution("x", "x"), "x") is None


@pytest.mark.parametrize(
    ("find", "put"),
    [("", "x"), ("(", ""), ("a", r"\1"), ("a", r"\g<name>"), ("a{99999999999}", ""), ("[z-a]", "")],
)
def test_what_cannot_be_found_is_refused(find: str, put: str) -> None:
    with pytest.raises(DataError) as raised:
        Substitution(find, put, regex=True).compiled()
    assert raised.value.hint


def test_an_expression_is_checked_without_being_run() -> None:
    for_ever = Substitution(r"(?P<first>x)?(y)?(?:|){90}(?!)", r"\2\g<first>\g<0>\1", regex=True)
    assert for_ever.compiled().groups == 2


def test_long_texts_are_left_as_they_are() -> None:
    assert result(Substitution("x", "y"), "x" * (LONGEST + 1)) is None
    assert result(Substitution("x", "y" * 100), "x" * LONGEST) is None
    assert result(Substitution("x", "y"), "x" * LONGEST) == "y" * LONGEST


def test_the_process_answers_line_by_line() -> None:
    wanted, sink = Substitution("a", "\ud800\n"), io.StringIO()
    serve(io.StringIO(described(wanted) + json.dumps(["xa", "b"]) + "\n" + json.dumps([]) + "\n"), sink)
    assert [json.loads(line) for line in sink.getvalue().splitlines()] == [["x\ud800\n", None], []]
