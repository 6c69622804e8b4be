"""The texts of many samples as a person last left them, and new ones for them as edits of one batch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from localsynth.records import Role
from localsynth.store.bulk import BulkReviews, Reach
from localsynth.store.connect import faults, transaction
from localsynth.store.encode import now, text

_TEXTS = """
SELECT t.sample, t.position, coalesce(r.id, 0), t.content, json_extract(r.edits, '$."' || t.position || '"')
FROM json_each(:ids) j JOIN samples s ON s.id = j.value AND s.state = 'done' JOIN turns t ON t.sample = s.id
LEFT JOIN reviews r ON r.id = (SELECT max(id) FROM reviews WHERE sample = s.id)
WHERE CASE WHEN r.edits IS NULL THEN 1 WHEN json_valid(r.edits) THEN json_type(r.edits) = 'object' ELSE 0 END
AND t.role IN (SELECT value FROM json_each(:roles)) ORDER BY t.sample, t.position
"""
_STANDS = """
SELECT r.id, r.verdict, r.note, r.edits, r.tags FROM reviews r
WHERE r.sample = ? ORDER BY r.id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class TurnText:
    """One turn of a finished sample. `content`: as it is exported; `original`: as it was written.

    `review`: the latest review of the sample when this was read, 0 where there was none.
    """

    sample: int
    position: int
    review: int
    content: str
    original: str


class BulkEdits(BulkReviews):
    """Reads and edits the turns of many samples."""

    def texts(self, ids: Sequence[int], roles: Sequence[Role]) -> list[TurnText]:
        """The turns of these roles, sample by sample; none of a sample whose edits are damaged."""
        values = {"ids": json.dumps([int(each) for each in ids]), "roles": json.dumps(list(roles))}
        with faults(self.path):
            rows = self._connection.execute(_TEXTS, values).fetchall()
        return [
            TurnText(sample, position, review, content if edited is None else edited, content)
            for sample, position, review, content, edited in rows
        ]

    def edit(self, changes: Mapping[TurnText, str], batch: str) -> Reach:
        """Give turns new contents in one transaction; verdict, note and tags stay.

        `held`: samples about which something was said since their texts were read; they stay as they are.
        """
        samples: dict[int, list[tuple[TurnText, str]]] = {}
        for turn, content in changes.items():
            samples.setdefault(turn.sample, []).append((turn, content))
        with faults(self.path), transaction(self._connection):
            at, rows = now(), []
            for sample, turns in samples.items():
                found = self._connection.execute(_STANDS, (sample,)).fetchone() or (0, "undecided", None, "{}", "[]")
                if found[0] != turns[0][0].review:
                    continue
                edits = _edited(json.loads(found[3]), turns)
                rows.append((sample, found[1], found[2], edits, found[4], batch, at))
            self._connection.executemany(
                "INSERT INTO reviews (sample, verdict, note, edits, tags, batch, created) VALUES (?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
        return Reach(len(rows), len(samples) - len(rows))


def _edited(edits: dict[str, str], turns: Sequence[tuple[TurnText, str]]) -> str:
    """What differs from what the model wrote, as JSON."""
    for turn, content in turns:
        # SQLite's own JSON reader ends a text at NUL; a person's edit never needs one.
        edits[str(turn.position)] = content.replace("\x00", "\ufffd")
        if content == turn.original:
            del edits[str(turn.position)]
    return text(json.dumps(edits, ensure_ascii=False, separators=(",", ":")))
