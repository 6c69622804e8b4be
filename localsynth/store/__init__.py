"""One SQLite file holds everything: the only code that writes SQL. `Store` and `Journal` write, `Reader` reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localsynth.store.conditions import Query, ScoreRange, Show
from localsynth.store.queries import Reader
from localsynth.store.rows import (
    Control,
    Counts,
    DatasetRow,
    EventRow,
    ExportRow,
    InstructionKey,
    Message,
    Progress,
    ReviewRow,
    RunRow,
    SampleRow,
    ShardRow,
    Unfinished,
)
from localsynth.store.schema import schema_markdown
from localsynth.store.selecting import Facets, Key
from localsynth.store.store import Row, Store

if TYPE_CHECKING:
    from localsynth.store.journal import Journal

__all__ = [
    "Control",
    "Counts",
    "DatasetRow",
    "EventRow",
    "ExportRow",
    "Facets",
    "InstructionKey",
    "Journal",
    "Key",
    "Message",
    "Progress",
    "Query",
    "Reader",
    "ReviewRow",
    "Row",
    "RunRow",
    "SampleRow",
    "ScoreRange",
    "ShardRow",
    "Show",
    "Store",
    "Unfinished",
    "schema_markdown",
]


def __getattr__(name: str) -> Any:
    if name == "Journal":  # asyncio takes longer to import than the rest of a command that only reads
        from localsynth.store.journal import Journal

        return Journal
    raise AttributeError(name)
