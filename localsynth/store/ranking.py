"""What a ranking learns from and looks at, and where its order is kept: as a score that only informs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localsynth.records import Score
from localsynth.store.connect import faults, open_writer, transaction
from localsynth.store.encode import text
from localsynth.store.listing import SampleQueries, sample_range
from localsynth.store.vectors import FIELD

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ORDER = "review_next"
_ATTEMPTS = 4  # bits of a sample id below the number that tells rows of a run apart
_BLOCKS = 200
_SOME = "SELECT value FROM json_each(?)"
_GROUP = 36  # bits of a sample id below the number that its run's samples share
# A verdict that came with a bulk action is no decision about this row, unless a person had said the same by hand.
_DECISIONS = """
SELECT r.sample, r.verdict FROM reviews r
WHERE r.sample BETWEEN ? AND ? AND r.verdict IN ('accept', 'reject')
AND NOT EXISTS (SELECT 1 FROM reviews n WHERE n.sample = r.sample AND n.id > r.id)
AND EXISTS (SELECT 1 FROM reviews o WHERE o.sample = r.sample AND o.verdict = r.verdict AND o.batch IS NULL)
ORDER BY r.id DESC LIMIT ?
"""
_UNDECIDED = """
SELECT s.id FROM samples s WHERE s.id BETWEEN ? AND ? AND s.state = 'done' AND coalesce(
  (SELECT r.verdict FROM reviews r WHERE r.sample = s.id ORDER BY r.id DESC LIMIT 1), 'undecided') = 'undecided'
ORDER BY s.id LIMIT ?
"""


class RankingQueries(SampleQueries):
    """The part of Reader that a ranking needs."""

    def decisions(self, run: str, limit: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The latest verdicts that a person gave row by row: sample ids [n], oldest first, and who is accepted."""
        import numpy as np

        rows = self._all(_DECISIONS, (*sample_range(run), limit))[::-1]
        accepted = np.array([verdict == "accept" for _, verdict in rows], dtype=np.bool_)
        return np.array([sample for sample, _ in rows], dtype=np.int64), accepted

    def undecided(self, run: str, limit: int, turn: int = 0) -> NDArray[np.int64]:
        """The ids [n], sorted, of finished rows without a verdict: all, or `limit` spread evenly over a longer run.

        Another `turn` takes others. It costs what it reads, however long the run is.
        """
        import numpy as np

        bounds = sample_range(run)
        (first, last) = self._all("SELECT min(id), max(id) FROM samples WHERE id BETWEEN ? AND ?", bounds)[0]
        if first is None:
            return np.empty(0, dtype=np.int64)
        places = ((last - first) >> _ATTEMPTS) + 1
        blocks = 1 if places <= limit else min(_BLOCKS, limit)
        found: list[int] = []
        for block in range(blocks):
            begin, end = (first + (places * step // blocks << _ATTEMPTS) for step in (block, block + 1))
            wide, room = end - begin >> _ATTEMPTS, limit * (block + 1) // blocks - limit * block // blocks
            middle = begin + (turn * room % max(1, wide) << _ATTEMPTS)
            ids = [row[0] for row in self._all(_UNDECIDED, (middle, end - 1, room))]
            if len(ids) < room:
                ids += [row[0] for row in self._all(_UNDECIDED, (begin, middle - 1, room - len(ids)))]
            found += ids
        return np.array(sorted(found), dtype=np.int64)

    def judged_by(self, samples: NDArray[np.int64]) -> list[str]:
        """The scores that these rows have, a ranking's own left out."""
        sql = f"SELECT DISTINCT name FROM scores WHERE sample IN ({_SOME}) AND name <> ? ORDER BY name"
        return [name for (name,) in self._all(sql, (_listed(samples), ORDER))]

    def encoder_of(self, samples: NDArray[np.int64]) -> str | None:
        """The encoder by which most of these rows have a vector."""
        sql = (
            f"SELECT encoder FROM embeddings WHERE sample IN ({_SOME}) AND field = ? "
            "GROUP BY encoder ORDER BY count(*) DESC, encoder LIMIT 1"
        )
        rows = self._all(sql, (_listed(samples), FIELD))
        return rows[0][0] if rows else None

    def score_table(self, samples: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.float32]:
        """[n, 2 * names]: for each name its value and whether it fails (1 or 0); NaN where there is none.

        The highest version counts.
        """
        import numpy as np

        columns = {name: 2 * place for place, name in enumerate(names)}
        places = {sample: place for place, sample in enumerate(samples.tolist())}
        table = np.full((len(samples), 2 * len(names)), np.nan, dtype=np.float32)
        sql = f"SELECT sample, name, value, passed FROM scores WHERE sample IN ({_SOME}) ORDER BY sample, name, version"
        rows, at, cells = self._all(sql, (_listed(samples),)), [], []
        for sample, name, value, passed in rows:
            if name in columns:
                at.append((places[sample], columns[name]))
                cells.append((np.nan if value is None else value, np.nan if passed is None else 1 - passed))
        if at:
            lines, firsts = np.array(at, dtype=np.intp).T
            with np.errstate(over="ignore"):  # a value beyond float32 becomes infinite, which counts as missing
                pairs = np.array(cells, dtype=np.float64).astype(np.float32)
            table[lines, firsts], table[lines, firsts + 1] = pairs.T
        return table


def replace_order(path: Path, run: str, rows: Sequence[Score]) -> None:
    """Put these scores named ORDER in the place of all that the run had, in one transaction."""
    group = sample_range(run)[0] >> _GROUP
    at = time.time_ns() // 1000
    values: list[tuple[Any, ...]] = [
        (row.sample, row.name, row.version, row.value, text(row.reason), at) for row in rows
    ]
    with closing(open_writer(path, create=False)) as writer, faults(path), transaction(writer):
        writer.execute("DELETE FROM scores WHERE sample >> 36 = ? AND name = ? AND value IS NOT NULL", (group, ORDER))
        writer.executemany(
            "INSERT INTO scores (sample, name, version, value, passed, reason, at) VALUES (?, ?, ?, ?, NULL, ?, ?)",
            values,
        )


def _listed(samples: NDArray[np.int64]) -> str:
    return json.dumps(samples.tolist())
