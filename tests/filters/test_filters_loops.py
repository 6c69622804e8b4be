"""A loop is found while it is written, at a place that follows from the text alone; clean rows never are."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localsynth.backends.scripted_texts import answer
from localsynth.filters.repetition import LoopWatch, cut_loop, looping

HEAD = "Here is what you asked for, in a few words, as well as I can say it. "
UNITS = ["the same again. ", "ha", "- Item\n", "我不知道。", answer(7, "the Silk Road")]
# The texts that do loop: two rows of zeros (one is called with and answered), and a giggle written eighty times.
LOOPING = {"dpo_en_demo.json.gz": [165], "glaive_toolcall_en_demo.json.gz": [243, 243], "kto_en_demo.json.gz": [65]}


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


@pytest.mark.parametrize("unit", UNITS)
def test_a_loop_is_cut_soon_after_it_is_sure(unit: str) -> None:
    text = HEAD + unit * 1000
    at = cut_loop(text)
    assert at is not None
    assert at <= len(HEAD) + max(384, 3 * len(unit)) + 128 + len(unit)
    found = looping(text[:at])
    assert (found.rule, found.passed) == ("loop", False)
    assert (found.value or 0) >= 3
    assert "times over" in found.reason


@given(st.text("ab \n我", max_size=900), st.text("abcdefg .", min_size=1, max_size=90), st.integers(0, 60), st.data())
def test_the_cut_does_not_depend_on_the_pieces(head: str, unit: str, times: int, data: st.DataObject) -> None:
    text = head + unit * times
    watch, at = LoopWatch(), 0
    while at < len(text):
        size = data.draw(st.integers(1, 400))
        watch.feed(text[at : at + size])
        at += size
    assert watch.cut == cut_loop(text)
    if watch.cut is not None:
        assert cut_loop(text[: watch.cut]) == watch.cut
        assert cut_loop(text[: watch.cut - 1]) is None
        assert cut_loop(text + "something else entirely") == watch.cut


@pytest.mark.parametrize(
    "text",
    [
        "| --- | --- |\n" * 200,
        "=" * 3000,
        "".join(f"{number}. Take the next step and write it down.\n" for number in range(100)),
        "".join(f"| row {number} | {number * 7} | {number * 13} |\n" for number in range(200)),
        "la la la, " * 30,
        "",
    ],
    ids=["ruler", "line", "list", "table", "refrain", "nothing"],
)
def test_what_only_resembles_a_loop_goes_on(text: str) -> None:
    assert cut_loop(text) is None


def test_no_clean_text_is_cut(shared_data: Path) -> None:
    seen, cut = 0, dict[str, list[int]]()
    for file in sorted((shared_data / "formats").glob("*.json.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            rows = json.load(lines)
        for number, row in enumerate(rows):
            for text in strings(row):
                seen += 1
                if cut_loop(text) is not None:
                    cut.setdefault(file.name, []).append(number)
    assert seen > 10_000
    assert cut == LOOPING
