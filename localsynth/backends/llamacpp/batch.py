"""The input of one llama_decode, in arrays that are made once and filled through numpy."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from localsynth.backends.llamacpp.library import library


class Batch:
    """Room for `size` tokens, each in one sequence."""

    def __init__(self, size: int) -> None:
        llama = library()
        self._token = np.zeros(size, np.int32)
        self._position = np.zeros(size, np.int32)
        self._sequence = np.zeros(size, np.int32)
        self._count = np.ones(size, np.int32)
        self._wanted = np.zeros(size, np.int8)
        # Each token's list of sequences is one element of the array of sequences.
        self._lists = self._sequence.ctypes.data + 4 * np.arange(size, dtype=np.uintp)
        self._struct = llama.llama_batch(
            n_tokens=0,
            token=_pointer(self._token, ctypes.c_int32),
            embd=None,
            pos=_pointer(self._position, ctypes.c_int32),
            n_seq_id=_pointer(self._count, ctypes.c_int32),
            seq_id=ctypes.cast(self._lists.ctypes.data, ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
            logits=_pointer(self._wanted, ctypes.c_int8),
        )

    def rows(self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int]) -> Any:
        """One token for each of several sequences; logits are wanted for all of them."""
        count = len(tokens)
        self._token[:count], self._position[:count], self._sequence[:count] = tokens, positions, sequences
        self._wanted[:count] = 1
        self._struct.n_tokens = count
        return self._struct

    def prompt(self, tokens: Sequence[int], start: int, sequence: int, *, last: bool) -> Any:
        """Consecutive tokens of one sequence from position `start`; logits are wanted for the last, if at all."""
        count = len(tokens)
        self._token[:count], self._sequence[:count] = tokens, sequence
        self._position[:count] = np.arange(start, start + count, dtype=np.int32)
        self._wanted[:count] = 0
        self._wanted[count - 1] = last
        self._struct.n_tokens = count
        return self._struct


def _pointer(array: Any, kind: Any) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(kind))
