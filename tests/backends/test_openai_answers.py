"""Answers of servers are untrusted: whatever JSON comes, there is a completion or a BackendError, never anything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localsynth.backends.http import Http, count
from localsynth.backends.openai.answer import Answer, parts
from localsynth.errors import BackendError
from localsynth.printable import one_line

_huge = st.sampled_from([10**400, -(10**400), 1e308, -1e-308])  # what JSON can spell
_leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | _huge
_json = st.recursive(_leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
_choice = st.fixed_dictionaries(
    {},
    optional={
        "text": _leaves,
        "finish_reason": _leaves,
        "stop_reason": _json,
        "token_ids": _json,
        "logprobs": _json
        | st.fixed_dictionaries({"token_logprobs": _json | st.lists(_leaves, max_size=3)})
        | st.fixed_dictionaries({"content": st.lists(_json | st.fixed_dictionaries({"logprob": _leaves}), max_size=3)}),
    },
)
_answers = st.fixed_dictionaries(
    {},
    optional={
        "model": _json,
        "error": _json,
        "choices": st.lists(_choice | _json, max_size=2) | _json,
        "usage": st.fixed_dictionaries({"prompt_tokens": _json, "completion_tokens": _json}) | _json,
    },
)


@settings(deadline=None)
@given(st.lists(_answers, max_size=3))
def test_whatever_comes(answers: list[dict[str, Any]]):
    answer = Answer(10, one_line)
    try:
        said = "".join(answer.add(json.loads(json.dumps(one))) for one in answers)
    except BackendError:
        return
    assert said == answer.text
    answer.text.encode()
    assert all(value is None or 0 <= value < 2**31 for value in (answer.prompt_tokens, answer.completion_tokens))
    assert all(-9999.0 <= value <= 0.0 for value in answer.logprobs)
    assert all(isinstance(number, int) for number in answer.ids or ())
    assert isinstance(answer.reason, int | str | None)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"data: {}", b": ping", b"", b"data: [DONE]"]), max_size=6))
async def test_whatever_lines_come(lines: list[bytes]):
    async def stream():
        for line in lines:
            yield line

    try:
        found = [part async for part in parts(stream())]
    except BackendError:
        return
    assert b"data: [DONE]" in [line.strip() for line in lines]
    assert all(isinstance(part, dict) for part in found)


@pytest.mark.parametrize(
    "body", [b"[" * 200_000, b"\xff\xfe", b"null", b"{}", b'{"detail":[{"msg":"\x1b[31mno"}]}', b"<html>x"]
)
def test_words_of_errors_are_one_safe_line(body: bytes):
    http = object.__new__(Http)
    http._key = None
    said = http.words(body)
    assert len(said) <= 200
    assert said.isprintable()


def test_a_logprob_of_400_digits():
    answer = Answer(10, one_line)
    said = ", ".join(["-" + "9" * 400, "9" * 400, "-0.5", "NaN", "-Infinity"])
    answer.add(json.loads(f'{{"choices":[{{"text":"x","logprobs":{{"token_logprobs":[{said}]}}}}]}}'))
    assert answer.logprobs == [-9999.0, 0.0, -0.5, -9999.0]


@pytest.mark.parametrize("part", [{"text": "ab"}, {"text": "", "token_ids": [5]}, {"text": "", "token_ids": [5] * 40}])
def test_a_stream_that_goes_on_is_cut_off_soon(part: dict[str, Any]):
    answer, most = Answer(5, one_line), 2 * 5 + 64
    with pytest.raises(BackendError, match="behind the 5 tokens") as caught:
        [answer.add({"choices": [part]}) for _ in range(most + 1)]
    assert not caught.value.retryable


def test_an_answer_that_is_far_too_long():
    with pytest.raises(BackendError, match="behind the 5 tokens"):
        Answer(5, one_line).add({"choices": [{"text": "x" * 10_000, "finish_reason": "length"}]})


def test_parts_are_taken_in_without_copying_what_came_before():
    answer = Answer(1000, one_line)
    answer.add({"choices": [{"text": "a", "token_ids": [1]}]})
    ids = answer.ids
    answer.add({"choices": [{"text": "b", "token_ids": [2]}]})
    assert answer.ids is ids
    assert (ids, answer.text) == ([1, 2], "ab")


def test_half_a_surrogate_pair_is_no_text():
    answer = Answer(10, one_line)
    answer.add(json.loads('{"choices":[{"text":"a\\ud83d","finish_reason":"length"}]}'))
    assert answer.text == "a?"


@pytest.mark.parametrize("value", [-1, 2**31, True, 1.0, "3", None, 10**400])
def test_what_is_no_count(value: object):
    assert count(value) is None
