"""Judging stored rows by their thresholds beside a run that writes."""

from __future__ import annotations

import time
from collections.abc import Callable

from localsynth.engine.lock import holder
from localsynth.store.thresholds import Thresholds

_REST = 0.1  # seconds after each piece: a writer that waits for the store looks again after so long


def judge(thresholds: Thresholds, told: Callable[[int, int], bool]) -> bool:
    """Apply the thresholds, with a rest after each piece while something else is at work on the store.

    `told` is that of `Thresholds.apply`; False when it said stop.
    """

    def rested(done: int, total: int) -> bool:
        stop = told(done, total)
        if not stop and done < total and holder(thresholds.path) is not None:
            time.sleep(_REST)
        return stop

    return thresholds.apply(rested)
