"""Which rows a list shows and in which order, in words."""

from __future__ import annotations

from localsynth.printable import one_line
from localsynth.store import Query, ScoreRange
from localsynth.store.ranking import ORDER


def conditions(query: Query) -> list[str]:
    """What a filter asks for, a few words each."""
    named = {"verdict": query.verdict, "rule": query.rule, "topic": query.topic, "model": query.model, "tag": query.tag}
    found = [f"{name} {one_line(value, 30)}" for name, value in named.items() if value is not None]
    return found + [f"{one_line(each.name, 30)} {range_text(each)}" for each in query.scores]


def range_text(wanted: ScoreRange) -> str:
    """A range of a score as it is typed: "0.2..0.8", an open end left out."""
    low = "" if wanted.low is None else f"{wanted.low:g}"
    high = "" if wanted.high is None else f"{wanted.high:g}"
    return f"{low}..{high}"


def order_name(query: Query) -> str:
    """The order of a list."""
    if not query.order:
        return "newest first" if query.descending else "as they were asked"
    if query.order == ORDER and query.descending:
        return "most useful to review next"
    return f"{one_line(query.order, 40)}, {'highest' if query.descending else 'lowest'} first"


def nothing(query: Query) -> str:
    """What an empty list says."""
    if query.search:
        return "Nothing is found. escape ends it."
    if conditions(query):
        return "No row is so. f changes the filter, escape ends it."
    return {
        "all": "No row yet.",
        "kept": "Nothing is kept yet.",
        "rejected": "Nothing is rejected.",
        "unreviewed": "All are reviewed.",
        "unfinished": "Nothing is unfinished.",
        "failed": "Nothing failed.",
    }[query.show]
