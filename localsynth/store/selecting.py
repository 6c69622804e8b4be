"""Samples by a Query: its pages in any order, read by key; its ids; its count; and what it can ask for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from localsynth.store import fts
from localsynth.store.conditions import GROUP, RARE, VALUE, Query, Where, where
from localsynth.store.connect import faults
from localsynth.store.listing import SampleQueries, sample_range

Key = tuple[float | None, int]

_FEW = 1000  # samples that are put in order where they are read
_NEWEST = "NOT EXISTS (SELECT 1 FROM scores n WHERE n.sample = o.sample AND n.name = o.name AND n.version > o.version)"


@dataclass(frozen=True, slots=True)
class Facets:
    """What the samples of a run can be asked for. `scores`: the lowest and the highest value of each name."""

    topics: tuple[str, ...]
    models: tuple[str, ...]
    tags: tuple[str, ...]
    rules: tuple[str, ...]
    scores: dict[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _From:
    """Where a page begins, and how it goes on: behind the key `after`, or with it."""

    limit: int
    after: Key | None
    down: bool
    including: bool

    @property
    def sign(self) -> str:
        return f"{'<' if self.down else '>'}{'=' if self.including else ''}"

    @property
    def way(self) -> str:
        return "DESC" if self.down else ""


class SelectionQueries(SampleQueries):
    """The part of Reader that answers a Query."""

    def page(
        self, query: Query, *, limit: int, after: Key | None = None, backwards: bool = False, including: bool = False
    ) -> list[Key]:
        """Keys of up to `limit` samples in the query's order, from its beginning or behind the key `after`.

        `backwards`: the other way round, from the end; `including`: the row of `after` too. A key is (value of the
        ordering score, id): all that is needed to go on from there.
        """
        wanted, down = self._where(query), query.descending != backwards
        if not query.order:
            return self._by_id(wanted, _From(limit, after, down, including))
        if query.narrowed and (few := self._few(query, wanted)) is not None:
            if after is not None:
                edge, sign = _place(query, after), -1 if backwards else 1
                few = [key for key in few if sign * _compare(_place(query, key), edge) >= (0 if including else 1)]
            return few[::-1][:limit] if backwards else few[:limit]
        parts = [False, True] if backwards else [True, False]  # whether the samples have the ordering score
        if after is not None:
            parts = parts[parts.index(after[0] is not None) :]
        found: list[Key] = []
        for scored in parts:
            room = limit - len(found)
            if room > 0 and scored:
                found += self._by_score(query, wanted, _From(room, after, down, including))
            elif room > 0:
                rest = wanted.and_(f"{VALUE} IS NULL", query.order)
                found += self._by_id(rest, _From(room, after, backwards, including))
            after = None
        return found

    def key(self, query: Query, sample: int) -> Key:
        """The key of a sample in the query's order, whether it is part of it or not."""
        if not query.order:
            return None, sample
        return self._all(f"SELECT {VALUE} FROM (SELECT ? AS id) s", (query.order, sample))[0][0], sample

    def query_ids(self, query: Query) -> Iterator[int]:
        """The ids of all samples of a query, oldest first, read as they are consumed."""
        wanted = self._where(query, whole=True)
        sql = f"SELECT s.id FROM samples s WHERE {wanted.sql} ORDER BY s.id"
        with faults(self.path):
            for (number,) in self._connection.execute(sql, wanted.values):
                yield number

    def query_count(self, query: Query) -> int:
        """How many samples a query has."""
        if not query.narrowed:
            return int(self._all("SELECT count(*) FROM samples WHERE run = ?", (query.run,))[0][0])
        wanted = self._where(query, whole=True)
        return int(self._all(f"SELECT count(*) FROM samples s WHERE {wanted.sql}", wanted.values)[0][0])

    def facets(self, run: str) -> Facets:
        """What there is to ask for. Costs a step per distinct value, and a pass over tags and failing scores."""
        bounds = sample_range(run)
        group = bounds[0] >> GROUP
        names = self._distinct("scores", "name", "sample >> 36", group, "value IS NOT NULL")
        tags = (
            "SELECT DISTINCT j.value FROM reviews r, json_each(iif(json_valid(r.tags), r.tags, '[]')) j "
            "WHERE r.tags <> '[]' AND r.sample BETWEEN ? AND ? ORDER BY 1"
        )
        rules = "SELECT DISTINCT name FROM scores WHERE passed = 0 AND sample BETWEEN ? AND ? ORDER BY 1"
        return Facets(
            self._distinct("samples", "topic", "id >> 36", group, "topic IS NOT NULL"),
            self._distinct("turns", "model", "sample >> 36", group, "model IS NOT NULL"),
            tuple(str(name) for (name,) in self._all(tags, bounds)),
            tuple(str(name) for (name,) in self._all(rules, bounds)),
            {name: self._span(group, name) for name in names},
        )

    def _distinct(self, table: str, column: str, key: str, group: int, extra: str = "1") -> tuple[str, ...]:
        # From one value to the next in the index: as many steps as there are values, not as there are rows.
        least = f"SELECT min({column}) FROM {table} WHERE {key} = ?1 AND {extra}"
        sql = (
            f"WITH RECURSIVE each(value) AS ({least} UNION ALL SELECT ({least} AND {column} > each.value) "
            "FROM each WHERE each.value IS NOT NULL) SELECT value FROM each WHERE value IS NOT NULL"
        )
        return tuple(str(row[0]) for row in self._all(sql, (group,)))

    def _span(self, group: int, name: str) -> tuple[float, float]:
        condition = "FROM scores WHERE sample >> 36 = ?1 AND name = ?2 AND value IS NOT NULL"
        sql = f"SELECT (SELECT min(value) {condition}), (SELECT max(value) {condition})"
        (low, high) = self._all(sql, (group, name))[0]
        return float(low), float(high)

    def _few(self, query: Query, wanted: Where) -> list[Key] | None:
        """All keys of a query in its order, None where they are many: then the order's own index is the way."""
        sql = f"SELECT {VALUE}, s.id FROM samples s WHERE {wanted.sql} LIMIT {_FEW + 1}"
        keys = self._all(sql, (query.order, *wanted.values))
        if len(keys) > _FEW:
            return None
        return sorted(keys, key=partial(_place, query))

    def _by_id(self, wanted: Where, start: _From) -> list[Key]:
        if start.after is not None:
            wanted = wanted.and_(f"s.id {start.sign} ?", start.after[1])
        sql = f"SELECT s.id FROM samples s WHERE {wanted.sql} ORDER BY s.id {start.way} LIMIT ?"
        return [(None, row[0]) for row in self._all(sql, (*wanted.values, start.limit))]

    def _by_score(self, query: Query, wanted: Where, start: _From) -> list[Key]:
        if start.after is not None:
            wanted = wanted.and_(f"(o.value, o.sample) {start.sign} (?, ?)", *start.after)
        for each in query.scores:
            if each.name == query.order and each.low is not None:
                wanted = wanted.and_("o.value >= ?", each.low)
            if each.name == query.order and each.high is not None:
                wanted = wanted.and_("o.value <= ?", each.high)
        # CROSS JOIN: the order of the index is the order that is wanted.
        sql = (
            "SELECT o.value, o.sample FROM scores o CROSS JOIN samples s ON s.id = o.sample "
            f"WHERE o.sample >> 36 = ? AND o.name = ? AND o.value IS NOT NULL AND {_NEWEST} AND {wanted.sql} "
            f"ORDER BY o.value {start.way}, o.sample {start.way} LIMIT ?"
        )
        return list(self._all(sql, (query.group, query.order, *wanted.values, start.limit)))

    def _where(self, query: Query, *, whole: bool = False) -> Where:
        if query.search:
            fts.catch_up(self.path, self._connection)
        return where(query, self._rare, whole=whole)

    def _rare(self, rows: str, values: tuple[object, ...]) -> bool:
        counted = f"SELECT count(*) FROM (SELECT 1 FROM ({rows}) LIMIT {RARE + 1})"
        return int(self._all(counted, values)[0][0]) <= RARE


def _place(query: Query, key: Key) -> tuple[float, float, int]:
    """Where a key stands in the query's order: compares as the order goes."""
    value, sample = key
    if value is None:
        return 1, 0, sample
    return (0, -value, -sample) if query.descending else (0, value, sample)


def _compare(one: tuple[float, float, int], other: tuple[float, float, int]) -> int:
    return (one > other) - (one < other)
