"""Stores and rows for the tests of the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localsynth.records import Sample, Sampling, Score, Turn
from localsynth.store import EventRow, Row, Store

ASKING = Sampling(temperature=0.9, top_p=0.95, max_tokens=200, avoid_first=("A:",))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path) as opened:
        yield opened


@pytest.fixture
def run(store: Store) -> str:
    return store.create_run(method="magpie", plan={"topics": ["数学"]}, seed=7, target=20, model="starter")


@pytest.fixture
def pair() -> Callable[..., list[Row]]:
    """The rows of one finished pair; `failed` names a score that fails."""

    def make(run: str, index: int, failed: str = "", question: str = "Why?", answer: str = "So.") -> list[Row]:
        sample = Sample(run, index, state="done", operation="magpie", detail={"topic": "数学"})
        rows: list[Row] = [
            sample,
            Turn(
                sample.id, 0, "user", question, question, model="starter", sampling=ASKING, finish_reason="stop", seed=1
            ),
            Turn(sample.id, 1, "assistant", answer, answer, model="answerer", prompt_tokens=9, logprob=-0.5),
            Score(sample.id, "words", 1, 3.0, True),
            EventRow(run, "finished", {"index": index}),
        ]
        if failed:
            rows.append(Score(sample.id, failed, 1, 0.5, False, "too much", '{"n":1}'))
        return rows

    return make
