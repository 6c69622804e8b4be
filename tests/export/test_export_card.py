"""The dataset card: right facts, and nothing foreign in it acts as YAML or Markdown."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from localsynth.export import CardModel, CardRun, CardSource, export
from localsynth.export.card import code, licence, quoted


def front(text):
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def test_the_card_tells_what_was_made_and_how(tmp_path, card, row):
    result = export(map(row, range(30)), "openai", tmp_path / "demo.jsonl", card)
    assert result.card == tmp_path / "demo.jsonl.README.md"
    head, body = front(result.card.read_text())
    assert head["license"] == "apache-2.0"
    assert head["language"] == ["en"]
    assert head["size_categories"] == ["n<1K"]
    assert head["configs"] == [{"config_name": "default", "data_files": [{"split": "train", "path": "demo.jsonl"}]}]
    for fact in (
        "30 rows",
        result.sha256,
        "smollm2-135m-instruct",
        "instruction.short` | 4",
        "seed 7",
        "temperature 1.0",
    ):
        assert fact in body
    assert "localsynth export demo.jsonl" in body


def test_the_card_of_a_lora_folder_names_each_split(tmp_path, card, row):
    result = export(map(row, range(30)), "mlx-lora", tmp_path / "lora", card)
    head, _ = front(result.card.read_text())
    assert head["configs"][0]["data_files"] == [
        {"split": "train", "path": "train.jsonl"},
        {"split": "validation", "path": "valid.jsonl"},
        {"split": "test", "path": "test.jsonl"},
    ]


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (["apache-2.0", "apache-2.0"], ("apache-2.0", None)),
        (["apache-2.0", "mit"], ("other", "see-the-models")),
        (["mit", None], ("other", "see-the-models")),
        (["qwen-research"], ("other", "see-the-models")),
        ([], ("other", None)),
    ],
)
def test_an_unknown_or_mixed_licence_is_other(licences, expected):
    assert licence([CardModel(str(i), ("answers",), name) for i, name in enumerate(licences)]) == expected


@given(st.text())
def test_any_text_survives_as_a_yaml_scalar(text):
    value = yaml.safe_load(f"key: {quoted(text)}\nnext: 1\n")
    assert value["next"] == 1
    assert value["key"] == "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)


@given(st.text())
def test_any_text_stays_inside_its_code_span(text):
    span = code(text)
    fence = span[: len(span) - len(span.lstrip("`"))]
    inner = span[len(fence) : -len(fence)]
    assert span.endswith(fence)
    assert "\n" not in span
    assert "\x1b" not in span
    assert fence not in inner.replace("\\|", "|").split(" ")
    assert not any(run == fence for run in __import__("re").findall("`+", inner))


def test_hostile_names_break_neither_the_front_matter_nor_a_table(tmp_path, row):
    evil = 'x"\n---\n# Pwned\n| a | b |\n`` <script>\x1b[31m\u202e'
    source = CardSource(
        title=evil,
        command=f"localsynth export {evil}",
        version="0.1.0",
        runs=(CardRun(1, "01RUN", evil, 7, 1, (), {evil: 3}, source=evil),),
        models=(CardModel(evil, ("answers",), evil, evil, evil),),
        languages=(evil,),
    )
    result = export([row(1)], "openai", tmp_path / "demo.jsonl", lambda: source)
    text = result.card.read_text()
    head, body = front(text)
    assert head["pretty_name"] == evil
    assert head["license"] == "other"
    assert "\n# Pwned" not in text
    assert not any(mark in text for mark in ("\x1b", "\u202e"))
    rules = [line for line in body.splitlines() if line.endswith("| 3 |")]
    assert len(rules) == 1
