"""How many rows may run at the same time, decided by measured memory alone."""

from __future__ import annotations

_START = 4
_GROW_TO = 0.9  # of the limit: what a larger batch is predicted to take may not come nearer


class MemoryGuard:
    """Starts at few rows, grows while the peak allows it, and takes rows away before there is no memory left.

    `limit`: bytes the process may take. `base`: bytes of the weights. `row`: bytes of one row's cache at full length,
    0 when unknown. `most`: rows that were asked for.
    """

    def __init__(self, *, limit: int, base: int, row: int, most: int) -> None:
        self._limit, self._base, self._row, self._most = limit, base, row, most
        self.rows = max(1, min(_START, most, self._fitting(row) if row else most))

    def measured(self, peak: int, live: int) -> None:
        """Take in the highest use since the last call, with `live` rows at work."""
        if peak > self._limit:
            # Rows grow longer: the number that was too many once will be too many again.
            self._most = max(1, live - 1)
            self.rows = max(1, min(self._most, live * 3 // 4))
        elif live >= self.rows:
            each = max(self._row, (peak - self._base) // max(live, 1))
            self.rows = max(self.rows, min(self._most, 2 * self.rows, self._fitting(each)))

    def _fitting(self, each: int) -> int:
        return int(self._limit * _GROW_TO - self._base) // max(each, 1)
