"""One SQLite file holds everything: the only code that writes SQL. `Store` and `Journal` write, `Reader` reads."""

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
    Unfinished,
)
from localsynth.store.store import Row, Store

__all__ = [
    "Control",
    "Counts",
    "DatasetRow",
    "EventRow",
    "ExportRow",
    "InstructionKey",
    "Message",
    "Progress",
    "Reader",
    "ReviewRow",
    "Row",
    "RunRow",
    "SampleRow",
    "Store",
    "Unfinished",
]
