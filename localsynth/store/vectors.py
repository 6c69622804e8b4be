"""Reading vectors: page by page, which rows have none, and what a map colours its points by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from localsynth.store.connect import faults
from localsynth.store.listing import SampleQueries, sample_range

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FIELD = "instruction"
Facet = Literal["topic", "verdict"]
_BATCH = 500
_GROUP = 36  # bits of a sample id below the number that its run's samples share
_EVERY = (0, (1 << 63) - 1)
_BARE = (
    "s.state = 'done' AND s.id > ? AND s.id BETWEEN ? AND ? AND NOT EXISTS (SELECT 1 FROM embeddings e "
    "WHERE e.sample = s.id AND e.field = ? AND e.encoder IN ({marks})) "
    "AND EXISTS (SELECT 1 FROM turns t WHERE t.sample = s.id AND t.role = 'user')"
)
_FIRST_QUESTION = (
    "(SELECT t.content FROM turns t WHERE t.sample = s.id AND t.role = 'user' ORDER BY t.position LIMIT 1)"
)
_FACETS = {
    "topic": (
        "SELECT id, iif(json_valid(detail), json_extract(detail, '$.topic'), NULL) FROM samples WHERE id >> 36 = ?"
    ),
    "verdict": (
        "SELECT sample, CASE WHEN kept = 1 THEN 'kept' WHEN state = 'done' THEN 'rejected' ELSE state END "
        "FROM verdicts WHERE sample BETWEEN ?1 << 36 AND (?1 << 36) + (1 << 36) - 1"
    ),
}


@dataclass(frozen=True, slots=True)
class VectorPage:
    """Rows of one encoder: sample ids [n] and vectors [n, dim].

    `last`: read on after it; `odd`: vectors left out because their length is another one; `ended`: there is no more.
    """

    samples: NDArray[np.int64]
    vectors: NDArray[np.float16]
    last: int
    odd: int
    ended: bool


class VectorQueries(SampleQueries):
    """The part of Reader that concerns vectors of instructions."""

    def encoders(self, run: str | None = None) -> dict[str, int]:
        """How many rows have a vector by each encoder, the most first."""
        sql = (
            "SELECT encoder, count(*) FROM embeddings WHERE field = ? AND sample BETWEEN ? AND ? "
            "GROUP BY encoder ORDER BY 2 DESC, 1"
        )
        return dict(self._all(sql, (FIELD, *(sample_range(run) if run else _EVERY))))

    def vectors_after(self, encoder: str, dim: int = 0, after: int = 0, limit: int = 8192) -> VectorPage:
        """One page in the order in which vectors were stored; `dim` 0 takes the first row's."""
        import numpy as np

        # Every row up to here is looked at, so that the rows of other encoders are passed over only once.
        (end,) = self._all("SELECT coalesce(max(id), 0) FROM embeddings")[0]
        sql = (
            "SELECT id, sample, vector FROM embeddings WHERE id > ? AND id <= ? AND field = ? AND encoder = ? "
            "ORDER BY id LIMIT ?"
        )
        rows = self._all(sql, (after, end, FIELD, encoder, limit))
        samples, vectors, odd = _matrix([row[1:] for row in rows], dim)
        ended = len(rows) < limit
        return VectorPage(np.array(samples, np.int64), vectors, int(end if ended else rows[-1][0]), odd, ended)

    def vector_at(self, number: int) -> int | None:
        """The sample that the vector with this number is of; None where there is no such vector."""
        rows = self._all("SELECT sample FROM embeddings WHERE id = ?", (number,))
        return int(rows[0][0]) if rows else None

    def vectors_of(self, encoder: str, samples: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
        """The vectors of these samples where they have one: ids [n], sorted, and rows [n, dim]."""
        import numpy as np

        rows: list[tuple[Any, ...]] = []
        for start in range(0, len(samples), _BATCH):
            batch = [int(sample) for sample in samples[start : start + _BATCH]]
            sql = (
                "SELECT sample, vector FROM embeddings WHERE field = ? AND encoder = ? AND sample IN "
                f"({', '.join('?' * len(batch))})"
            )
            rows += self._all(sql, (FIELD, encoder, *batch))
        found, vectors, _ = _matrix(sorted(rows), 0)
        return np.array(found, np.int64), vectors

    def vector_samples(self, encoder: str) -> NDArray[np.int64]:
        """The ids [n] of all rows with a vector by this encoder, sorted; read from an index alone."""
        import numpy as np

        sql = "SELECT sample FROM embeddings WHERE field = ? AND encoder = ? ORDER BY sample"
        with faults(self.path):
            return np.fromiter((row[0] for row in self._connection.execute(sql, (FIELD, encoder))), np.int64)

    def unembedded(
        self, encoders: Sequence[str], run: str | None = None, *, after: int = -1, limit: int = 100
    ) -> list[tuple[int, str]]:
        """(sample, first question) of finished rows without a vector by any of these encoders, by number."""
        sql = f"SELECT s.id, {_FIRST_QUESTION} FROM samples s WHERE {_bare(encoders)} ORDER BY s.id LIMIT ?"
        return self._all(sql, (after, *(sample_range(run) if run else _EVERY), FIELD, *encoders, limit))

    def unembedded_count(self, encoders: Sequence[str], run: str | None = None) -> int:
        """How many rows `unembedded` would give. Looks at every row: about a second for each half million."""
        sql = f"SELECT count(*) FROM samples s WHERE {_bare(encoders)}"
        return int(self._all(sql, (-1, *(sample_range(run) if run else _EVERY), FIELD, *encoders))[0][0])

    def facet(self, facet: Facet, samples: NDArray[np.int64]) -> tuple[list[str], NDArray[np.int32]]:
        """What each of these samples (sorted) is of: names, and codes [n] that index them; -1 for nothing known."""
        import numpy as np

        codes = np.full(len(samples), -1, np.int32)
        names: dict[str, int] = {}
        for group in np.unique(samples >> _GROUP).tolist():
            with faults(self.path):
                rows = self._connection.execute(_FACETS[facet], (group,))
                while batch := rows.fetchmany(8192):
                    known = [row for row in batch if row[1] is not None]
                    ids = np.array([row[0] for row in known], np.int64)
                    found = np.array([names.setdefault(str(row[1]), len(names)) for row in known], np.int32)
                    at, here = _places(samples, ids)
                    codes[at[here]] = found[here]
        return list(names), codes

    def score_names(self, samples: Sequence[int]) -> list[str]:
        """The scores with a number that any of these samples has, those of the most samples first."""
        sql = (
            "SELECT name FROM scores WHERE value IS NOT NULL AND sample IN ({}) "
            "GROUP BY name ORDER BY count(DISTINCT sample) DESC, name"
        )
        marks = ", ".join("?" * len(samples))
        return [name for (name,) in self._all(sql.format(marks), [int(sample) for sample in samples])]

    def score_values(self, name: str, samples: NDArray[np.int64]) -> NDArray[np.float32]:
        """The value of a score, its highest version, for each of these samples (sorted); nan where it has none."""
        import numpy as np

        values = np.full(len(samples), np.nan, np.float32)
        sql = "SELECT sample, version, value FROM scores WHERE sample >> 36 = ? AND name = ? AND value IS NOT NULL"
        for group in np.unique(samples >> _GROUP).tolist():
            with faults(self.path):
                rows = self._connection.execute(sql, (group, name))
                found = np.fromiter(rows, dtype=[("sample", "i8"), ("version", "i8"), ("value", "f4")])
            if len(found) and np.ptp(found["version"]):  # where a sample comes twice the later one is assigned last
                found = found[np.lexsort((found["version"], found["sample"]))]
            at, here = _places(samples, found["sample"])
            values[at[here]] = found["value"][here]
        return values


def _bare(encoders: Sequence[str]) -> str:
    return _BARE.format(marks=", ".join("?" * len(encoders)))


def _places(samples: NDArray[np.int64], ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each id stands among the sorted samples, and whether it does."""
    import numpy as np

    at = np.minimum(np.searchsorted(samples, ids), max(0, len(samples) - 1))
    return at, (samples[at] == ids) if len(samples) else np.zeros(len(ids), np.bool_)


def _matrix(rows: Sequence[tuple[Any, ...]], dim: int) -> tuple[list[int], NDArray[np.float16], int]:
    """Samples and vectors of the rows whose vectors have one length, the first one's for `dim` 0; how many have not."""
    import numpy as np

    width = 2 * dim or next((len(vector) for _, vector in rows if len(vector) >= 2 and len(vector) % 2 == 0), 2)
    good = [row for row in rows if len(row[1]) == width]
    joined = b"".join(vector for _, vector in good)
    vectors = np.frombuffer(joined, "<f2").reshape(len(good), width // 2)
    return [sample for sample, _ in good], vectors, len(rows) - len(good)
