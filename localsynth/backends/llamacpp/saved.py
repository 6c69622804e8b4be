"""What was computed for rows that will be continued, kept in memory while other rows have their slots."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from localsynth.backends.llamacpp.library import library


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """The cells of one sequence. `pieces`: as in `cells.Slot`."""

    tokens: list[int]
    pieces: int
    data: Any


class SavedRows:
    """At most `limit` bytes; the oldest go first, since questions are answered in the order they were asked."""

    def __init__(self, context: int, limit: int) -> None:
        self._llama: Any = library()
        self._context, self._limit, self._bytes = context, limit, 0
        self._rows: deque[Saved] = deque()

    def __iter__(self) -> Any:
        return iter(self._rows)

    def save(self, sequence: int, tokens: Sequence[int], pieces: int) -> None:
        """Keep a copy of a sequence's cells where there is room for it."""
        size = int(self._llama.llama_state_seq_get_size(self._context, sequence))
        if not 0 < size <= self._limit:
            return
        while self._bytes + size > self._limit:
            self._drop(self._rows[0])
        data = (ctypes.c_uint8 * size)()
        if self._llama.llama_state_seq_get_data(self._context, data, size, sequence) == size:
            self._rows.append(Saved(list(tokens), pieces, data))
            self._bytes += size

    def restore(self, saved: Saved, sequence: int) -> bool:
        """Put the cells into an empty sequence; False where there is no room. A row is continued once."""
        self._drop(saved)
        size = len(saved.data)
        return bool(self._llama.llama_state_seq_set_data(self._context, saved.data, size, sequence) == size)

    def _drop(self, saved: Saved) -> None:
        self._rows.remove(saved)
        self._bytes -= len(saved.data)
