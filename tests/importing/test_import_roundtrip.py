"""What is exported comes back the same, whatever the texts are."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localsynth.export import CardSource, ExportRow, export, find, formats
from localsynth.importing import ImportedRow, read

# Any text with a visible character, without lone surrogates (those are replaced on the way out).
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(str.strip),
    st.sampled_from([
        "NUL \x00 inside", "\x1b[31mred\x1b[0m", "[bold]markup[/bold]", "<|im_start|>user\n", "机器学习，过拟合？", "a\u2028b\u2029c\x85d",
        '{"messages": []}', "tabs\tand\r\nreturns", "\ufeffmark", "ends with space ", "\n\nbegins with lines",
    ]),
)  # fmt: skip


@st.composite
def talks(draw, answered=True):
    """An optional system turn, then user and assistant turns."""
    system = [("system", draw(TEXT))] if draw(st.booleans()) else []
    pairs = draw(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3))
    messages = [turn for question, answer in pairs for turn in (("user", question), ("assistant", answer))]
    if not answered and draw(st.booleans()):
        messages.pop()
    return (*system, *messages)


def card():
    return CardSource("t", "c", "0")


def there_and_back(fmt, conversations, **options):
    rows = [
        ExportRow(i, "01RUN", i, messages, thinking=options.get("thinking", ()))
        for i, messages in enumerate(conversations)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"out{find(fmt).suffix}"
        export(rows, fmt, path, card, include_thinking="thinking" in options)
        found = list(read(path))
    assert all(isinstance(item, ImportedRow) for item in found)
    return found


def contents(row):
    return tuple((message.role, message.content) for message in row.messages)


QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("fmt", [name for name in formats() if name != "mlx-lora"])
@QUICK
@given(conversations=st.lists(talks(), min_size=1, max_size=4))
def test_answered_rows(fmt, conversations):
    assert [contents(row) for row in there_and_back(fmt, conversations)] == conversations


@pytest.mark.parametrize("fmt", ["openai", "sharegpt", "magpie", "parquet"])
@QUICK
@given(conversations=st.lists(talks(answered=False), min_size=1, max_size=4))
def test_rows_that_end_with_a_question(fmt, conversations):
    assert [contents(row) for row in there_and_back(fmt, conversations)] == conversations


@QUICK
@given(
    conversations=st.lists(
        talks(),
        min_size=2,
        max_size=8,
        unique_by=lambda talk: next(t for r, t in talk if r == "user").split()[0].casefold(),
    )
)
def test_a_lora_folder(conversations):
    assert sorted(contents(row) for row in there_and_back("mlx-lora", conversations)) == sorted(conversations)


@pytest.mark.parametrize("fmt", ["openai", "sharegpt", "trl", "magpie"])
def test_reasoning_comes_back_apart(fmt):
    talk = (("user", "Why?"), ("assistant", "So."))
    (row,) = there_and_back(fmt, [talk], thinking=(None, "Hm.\n\nI see."))
    assert contents(row) == talk
    assert row.messages[1].thinking == "Hm.\n\nI see."


@pytest.mark.parametrize("fmt", ["openai", "alpaca", "magpie", "parquet"])
def test_texts_of_a_megabyte(fmt):
    talk = (("user", "汉字" * 500_000), ("assistant", "\x00\x1b" * 500_000))
    (row,) = there_and_back(fmt, [talk])
    assert contents(row) == talk


def test_magpie_rows_keep_their_seed_and_sampling_beside_them():
    (row,) = there_and_back("magpie", [(("user", "Why?"), ("assistant", "So."))])
    assert row.extra["gen_input_configs"].keys() == {"temperature", "top_p", "input_generator", "seed"}
    assert "instruction" not in row.extra
