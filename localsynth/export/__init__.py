"""Writing the data set for trainers: one file per format, a card beside each export."""

from localsynth.export.base import ExportResult, ExportRow, Format
from localsynth.export.card import CardModel, CardRun, CardSource
from localsynth.export.registry import check_target, export, find, formats, line, splits

__all__ = [
    "CardModel",
    "CardRun",
    "CardSource",
    "ExportResult",
    "ExportRow",
    "Format",
    "check_target",
    "export",
    "find",
    "formats",
    "line",
    "splits",
]
