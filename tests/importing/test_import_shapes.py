"""The shapes of public data sets, each as its card or paper documents it."""

from __future__ import annotations

import json

import pytest

from localsynth.importing import BadLine, read
from localsynth.importing.base import Unfit, UnknownShape
from localsynth.importing.shapes import parse

U, A = "user", "assistant"
ASK = {"role": "user", "content": "q"}
REPLY = {"role": "assistant", "content": "a"}


def turns(record):
    return [(message.role, message.content) for message in parse(record, "f", 1).messages]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"messages": [ASK, REPLY]}, [(U, "q"), (A, "a")]),
        ({"messages": [{"role": "developer", "content": "s"}, ASK]}, [("system", "s"), (U, "q")]),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}]}, [(U, "q")]),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, [(U, "q"), (A, "a")]),
        ({"system": "s", "conversations": [{"from": "human", "value": "q"}]}, [("system", "s"), (U, "q")]),
        ({"id": "1", "data": ["q", "a", "q2", "a2"]}, [(U, "q"), (A, "a"), (U, "q2"), (A, "a2")]),
        ({"instruction": "q", "input": "", "output": "a"}, [(U, "q"), (A, "a")]),
        ({"instruction": "q", "input": "more", "output": "a"}, [(U, "q\nmore"), (A, "a")]),
        ({"instruction": "q"}, [(U, "q")]),
        ({"instruction": "q", "response": None}, [(U, "q")]),
        ({"instruction": "q", "output": "a", "history": [["h", "i"]], "system": "s"},
         [("system", "s"), (U, "h"), (A, "i"), (U, "q"), (A, "a")]),
        ({"input": "q", "output": "a"}, [(U, "q"), (A, "a")]),
        ({"question": "q", "answer": "a"}, [(U, "q"), (A, "a")]),
        ({"prompt": "q", "completion": "a"}, [(U, "q"), (A, "a")]),
        ({"prompt": [ASK], "completion": [REPLY]}, [(U, "q"), (A, "a")]),
        ({"prompt": [ASK], "completion": None}, [(U, "q")]),
        ({"conversation": [{"system": "s", "input": "q", "output": "a"}, {"input": "r", "output": "b"}]},
         [("system", "s"), (U, "q"), (A, "a"), (U, "r"), (A, "b")]),
        ({"instruction": "Human:你好\nAssistant:您好！\nHuman:推荐一本书\nAssistant:", "input": "", "output": "《三体》"},
         [(U, "你好"), (A, "您好！"), (U, "推荐一本书"), (A, "《三体》")]),
        ({"instruction": "Explain how Human: and Assistant: labels work", "output": "a"},
         [(U, "Explain how Human: and Assistant: labels work"), (A, "a")]),
        ({"instruction": "Sort.", "instances": [{"input": "3 1", "output": "1 3"}], "is_classification": False},
         [(U, "Sort.\n3 1"), (A, "1 3")]),
    ],
)  # fmt: skip
def test_known_shapes(record, expected):
    assert turns(record) == expected


def test_wildchat_keeps_model_and_language_beside_the_turns():
    record = {
        "conversation_hash": "x", "model": "gpt-4", "language": "Chinese", "toxic": False, "redacted": False,
        "conversation": [{"role": "user", "content": "q", "country": "CN"}, {"role": "assistant", "content": "a"}],
    }  # fmt: skip
    row = parse(record, "f", 1)
    assert row.answered
    assert (row.extra["model"], row.extra["language"], row.extra["toxic"]) == ("gpt-4", "Chinese", False)


@pytest.mark.parametrize(
    "record",
    [
        {"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "a"}, "rejected": {"from": "gpt", "value": "b"}},
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"instruction": "q", "input": "", "chosen": "a", "rejected": "b"},
        {"prompt": [ASK], "chosen": [REPLY], "rejected": [{"role": "assistant", "content": "b"}]},
        {"chosen": [ASK, REPLY], "rejected": [ASK, {"role": "assistant", "content": "b"}]},
        {"prompt": "q", "messages": [ASK, REPLY], "chosen": [ASK, REPLY], "rejected": [ASK, {"role": "assistant", "content": "b"}]},
    ],
)  # fmt: skip
def test_preferences_end_with_the_chosen_answer(record):
    row = parse(record, "f", 1)
    assert [(message.role, message.content) for message in row.messages] == [(U, "q"), (A, "a")]
    assert (row.chosen, row.rejected) == ("a", "b")


@pytest.mark.parametrize(
    ("record", "label"),
    [
        ({"messages": [ASK, REPLY], "label": False}, False),
        ({"instruction": "q", "output": "a", "kto_tag": True}, True),
        ({"prompt": [ASK], "completion": [REPLY], "label": True}, True),
        ({"messages": [ASK, REPLY], "label": "sports"}, None),
    ],
)
def test_labels_are_true_or_false_or_none(record, label):
    row = parse(record, "f", 1)
    assert row.label is label
    assert ("label" in row.extra) == (record.get("label") == "sports")


def test_tool_calls_stay_as_the_text_that_chat_templates_write():
    record = {
        "conversations": [
            {"from": "human", "value": "q"},
            {"from": "function_call", "value": '{"name": "f"}'},
            {"from": "observation", "value": "42"},
            {"from": "gpt", "value": "It is 42."},
        ],
        "tools": '[{"name": "f"}]',
    }
    row = parse(record, "f", 1)
    assert [message.role for message in row.messages] == [U, A, U, A]
    assert row.messages[1].content == '<tool_call>\n{"name": "f"}\n</tool_call>'
    assert row.messages[2].content == "<tool_response>\n42\n</tool_response>"
    assert row.messages[2].raw == "42"
    assert row.extra == {"tools": '[{"name": "f"}]'}


def test_openai_tool_calls_in_parallel_are_answered_in_one_turn():
    calls = [{"id": "1", "function": {"name": "f", "arguments": "{}"}}, {"id": "2", "function": {"name": "g"}}]
    record = {
        "messages": [
            ASK,
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "content": "1"},
            {"role": "tool", "content": "2"},
            REPLY,
        ]
    }
    found = turns(record)
    assert [role for role, _ in found] == [U, A, U, A]
    assert found[1][1].count("<tool_call>") == 2
    assert json.loads(found[1][1].split("\n")[1]) == {"name": "f", "arguments": "{}"}
    assert found[2][1].count("<tool_response>") == 2


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"messages": [REPLY]}, "no user turn"),
        ({"messages": []}, "no turns"),
        ({"messages": ["text"]}, "turn 1 is not an object"),
        ({"messages": [{"role": "narrator", "content": "x"}]}, "unknown role 'narrator'"),
        ({"messages": [ASK, {"role": "assistant", "content": None}]}, "turn 2 has no text"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, "other than text"),
        ({"instruction": "  ", "output": "a"}, "no user turn"),
        ({"instruction": "q", "output": 3}, "output is not a text"),
        ({"instruction": "q", "output": "a", "history": [["x"]]}, "history"),
        ({"prompt": "q", "chosen": "", "rejected": "b"}, "no turns|empty"),
    ],
)
def test_rows_without_use_say_why(record, reason):
    with pytest.raises(Unfit, match=reason):
        parse(record, "f", 1)


@pytest.mark.parametrize("record", [{"a": 1, "text": "x"}, [], "text", 3, None])
def test_unknown_shapes_are_told_apart(record):
    with pytest.raises(UnknownShape):
        parse(record, "f", 1)


@pytest.mark.parametrize(
    ("file", "rows", "pairs", "labelled_bad", "turns_at_most"),
    [
        ("alpaca_en_demo", 999, 0, 0, 2),
        ("alpaca_zh_demo", 1000, 0, 0, 2),
        ("dpo_en_demo", 300, 300, 0, 14),
        ("glaive_toolcall_en_demo", 300, 0, 0, None),
        ("instruction-data", 1100, 0, 0, 2),
        ("kto_en_demo", 300, 0, 150, None),
    ],
)
def test_real_files_import_whole(shared_data, file, rows, pairs, labelled_bad, turns_at_most):
    found = list(read(shared_data / "formats" / f"{file}.json.gz"))
    assert not any(isinstance(item, BadLine) for item in found)
    assert len(found) == rows
    assert sum(row.rejected is not None for row in found) == pairs
    assert sum(row.label is False for row in found) == labelled_bad
    assert all(row.answered for row in found)
    assert turns_at_most is None or max(len(row.messages) for row in found) <= turns_at_most
    assert len({row.line for row in found}) == rows
