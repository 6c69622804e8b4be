"""Rows to export, and a card for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from localsynth.export import CardModel, CardRun, CardSource, ExportRow
from localsynth.records import Sampling

HOSTILE = "NUL \x00, escape \x1b[31m, <|im_end|>, [bold]markup[/bold], ```\n---\nlicense: mit\n---, \u2028\u2029\x85, 中文 😀 \"'\\"


def make_row(index: int, **changes: object) -> ExportRow:
    fields: dict[str, object] = {
        "id": 1000 + index,
        "run": "01RUN",
        "index": index,
        "messages": (("user", f"Question {index}?"), ("assistant", f"Answer {index}.")),
        "model": "asker",
        "answer_model": "answerer",
        "sampling": {"ask": Sampling(temperature=1.1, top_p=0.995), "answer": Sampling(temperature=0.0)},
        "seeds": (index, index + 1),
        "scores": {"instruction.length": 2.0, "noted": None},
        "language": "en",
    }
    return ExportRow(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def row() -> Callable[..., ExportRow]:
    return make_row


@pytest.fixture
def rows() -> list[ExportRow]:
    """Thirty rows: single turns, two turns under a system prompt, hostile texts, one of a megabyte."""
    long = (("system", "Be brief."), ("user", "One?"), ("assistant", "1"), ("user", "Two?"), ("assistant", "2"))
    odd = (("user", HOSTILE), ("assistant", HOSTILE[::-1]))
    huge = (("user", "机器学习" * 250_000), ("assistant", "x" * 1_000_000))
    return [
        make_row(0, messages=long),
        make_row(1, messages=odd),
        make_row(2, messages=huge),
        *map(make_row, range(3, 30)),
    ]


@pytest.fixture
def card() -> Callable[[], CardSource]:
    return lambda: CardSource(
        title="demo.jsonl",
        command="localsynth export demo.jsonl",
        version="0.1.0",
        runs=(CardRun(1, "01RUN", "magpie", 7, 30, ("ask: temperature 1.0",), {"instruction.short": 4}),),
        models=(CardModel("smollm2-135m-instruct", ("instructions", "answers"), "apache-2.0"),),
        languages=("en",),
    )
