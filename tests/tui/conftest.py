"""A store with a finished run, and what the database has of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from tui_stage import fill

from localsynth.records import Sample
from localsynth.store import Reader, SampleRow, Store
from localsynth.tui import browsing


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Review counts after every verdict, however slow a busy machine counts."""
    monkeypatch.setattr(browsing, "_QUICK", math.inf)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.db"


@pytest.fixture
def run(path: Path) -> str:
    """A finished run in the store at `path`."""
    with Store.open(path) as store:
        return fill(store)


@pytest.fixture
def stored(path: Path) -> Callable[[str, int], SampleRow]:
    """One sample as the database has it."""

    def read(run: str, index: int) -> SampleRow:
        with Reader.open(path) as reader:
            return reader.sample(Sample(run, index).id)

    return read


@pytest.fixture
def reviews(stored: Callable[[str, int], SampleRow]) -> Callable[[str, int], list[str]]:
    """The verdicts of one sample, oldest first."""
    return lambda run, index: [review.verdict for review in stored(run, index).reviews]
