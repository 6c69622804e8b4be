"""What a query asks of samples, as SQL.

A narrow condition drives the statement by its own index, a wide one is tested row by row on the way: which of the two
it is, is found by counting up to a bound.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from localsynth.store import fts
from localsynth.store.listing import sample_range

Show = Literal["all", "kept", "rejected", "unreviewed", "unfinished", "failed"]

GROUP = 36  # bits of a sample id below the number that its run's samples share
RARE = 20_000  # rows; so many ids are gathered in some milliseconds
VALUE = "(SELECT o.value FROM scores o WHERE o.sample = s.id AND o.name = ? ORDER BY o.version DESC LIMIT 1)"
_VERDICT = "(SELECT r.verdict FROM reviews r WHERE r.sample = s.id ORDER BY r.id DESC LIMIT 1)"
_TAGS = "(SELECT r.tags FROM reviews r WHERE r.sample = s.id ORDER BY r.id DESC LIMIT 1)"
_KEPT = "(SELECT v.kept FROM verdicts v WHERE v.sample = s.id)"
_RULE = "(SELECT v.rule FROM verdicts v WHERE v.sample = s.id)"
_REVIEWED = "SELECT r.sample FROM reviews r WHERE r.sample BETWEEN ? AND ?"
_FAILING = "SELECT f.sample FROM scores f WHERE f.passed = 0 AND f.sample BETWEEN ? AND ?"
_SCORED = "SELECT o.sample FROM scores o WHERE o.sample >> 36 = ? AND o.name = ? AND o.value BETWEEN ? AND ?"
_FOUND = "SELECT t.sample FROM search f JOIN turns t ON t.id = f.rowid WHERE f.search MATCH ?"
_FOUND_HERE = "SELECT 1 FROM turns t JOIN search f ON f.rowid = t.id WHERE t.sample = s.id AND f.search MATCH ?"


@dataclass(frozen=True, slots=True)
class ScoreRange:
    """Samples whose score `name` lies between two bounds, both included; None is open."""

    name: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """Which samples of a run, and in which order: every condition must hold.

    `rule`: the first failing score. `model`: it wrote one of the turns. `verdict`: a person's latest. `chosen`: none
    but these ids. `order`: the name of a score, "" for the order in which they were asked; samples without that score
    come last.
    """

    run: str
    show: Show = "all"
    search: str = ""
    rule: str | None = None
    topic: str | None = None
    model: str | None = None
    verdict: Literal["accept", "reject"] | None = None
    tag: str | None = None
    scores: tuple[ScoreRange, ...] = ()
    chosen: tuple[int, ...] | None = None
    order: str = ""
    descending: bool = False

    @property
    def narrowed(self) -> bool:
        """Whether anything but the run and the order is asked for."""
        return self != Query(self.run, order=self.order, descending=self.descending)

    @property
    def group(self) -> int:
        """The number that all samples of the run share."""
        return sample_range(self.run)[0] >> GROUP


@dataclass(slots=True)
class Where:
    """Conditions on samples `s` with their values. `rare`: whether a statement gives at most RARE rows."""

    rare: Callable[[str, tuple[object, ...]], bool]
    clauses: list[str] = field(default_factory=list)
    values: list[object] = field(default_factory=list)

    def add(self, clause: str, *values: object) -> None:
        """One more condition."""
        self.clauses.append(clause)
        self.values += values

    def narrow(self, ids: str, *values: object) -> None:
        """A condition that others imply: it is added where so few ids can drive the statement."""
        if self.rare(ids, values):
            self.add(f"s.id IN ({ids})", *values)

    def and_(self, clause: str, *values: object) -> Where:
        """A copy with one more condition, which is tested before the others."""
        return Where(self.rare, [clause, *self.clauses], [*values, *self.values])

    @property
    def sql(self) -> str:
        """All of them."""
        return " AND ".join(self.clauses)


def where(query: Query, rare: Callable[[str, tuple[object, ...]], bool], *, whole: bool = False) -> Where:
    """The conditions of a query. `whole`: every sample of it is wanted, not one page."""
    found, bounds = Where(rare), sample_range(query.run)
    found.add("s.id BETWEEN ? AND ?", *bounds)
    _standing(query, found, bounds)
    if query.topic is not None:
        found.add("s.id >> 36 = ? AND s.topic = ?", query.group, query.topic)
    if query.model is not None:
        wrote = "SELECT 1 FROM turns t WHERE t.sample >> 36 = ? AND t.model = ? AND t.sample = s.id"
        found.add(f"EXISTS ({wrote})", query.group, query.model)
    for wanted in query.scores:
        low = float("-inf") if wanted.low is None else wanted.low
        high = float("inf") if wanted.high is None else wanted.high
        found.add(f"{VALUE} BETWEEN ? AND ?", wanted.name, low, high)
        found.narrow(_SCORED, query.group, wanted.name, low, high)
    if query.chosen is not None:
        found.add("s.id IN (SELECT value FROM json_each(?))", json.dumps(query.chosen))
    if query.search:
        _words(query.search, found, whole=whole)
    return found


def _standing(query: Query, found: Where, bounds: tuple[int, int]) -> None:
    """State, verdict, rule and tag."""
    if query.show == "kept":
        found.add(f"s.state = 'done' AND {_KEPT} = 1")
    elif query.show == "rejected":
        found.add(f"s.state = 'done' AND {_KEPT} = 0")
        found.narrow(f"{_FAILING} UNION ALL {_REVIEWED}", *bounds, *bounds)
    elif query.show == "unreviewed":
        found.add(f"s.state = 'done' AND coalesce({_VERDICT}, 'undecided') = 'undecided'")
    elif query.show != "all":
        states = "= 'failed'" if query.show == "failed" else "IN ('asked', 'ready')"
        # The index of what is open says "<> 'done'" too.
        found.add(f"s.run = ? AND s.state {states} AND s.state <> 'done'", query.run)
    if query.rule is not None:
        found.add(f"{_RULE} = ?", query.rule)
        found.narrow(f"{_FAILING} AND f.name = ?", *bounds, query.rule)
    if query.verdict is not None:
        found.add(f"{_VERDICT} = ?", query.verdict)
        found.narrow(_REVIEWED, *bounds)
    if query.tag is not None:
        tags = f"json_each(iif(json_valid({_TAGS}), {_TAGS}, '[]'))"
        found.add(f"EXISTS (SELECT 1 FROM {tags} WHERE value = ?)", query.tag)
        found.narrow(f"{_REVIEWED} AND r.tags <> '[]'", *bounds)


def _words(search: str, found: Where, *, whole: bool) -> None:
    words = fts.match_query(search)
    if not words:
        found.add("0")
    elif whole or found.rare("SELECT rowid FROM search WHERE search MATCH ?", (words,)):
        found.add(f"s.id IN ({_FOUND})", words)
    else:
        found.add(f"EXISTS ({_FOUND_HERE})", words)
