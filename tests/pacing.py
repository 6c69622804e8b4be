"""A clock that only the steps of a scripted decoder move, so that a calibration sees the same on every machine."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from localsynth.backends import scripted
from localsynth.backends.scripted import Script, ScriptedBackend
from localsynth.engine import calibrate, roles
from localsynth.engine.metering import Tally

STEP = 0.002  # seconds that a step takes, by this clock


class StepClock:
    """Stands in for `time` where a calibration looks at it, and where the scripted decoder waits."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._loop: asyncio.AbstractEventLoop | None = None

    def monotonic(self) -> float:
        """Seconds; asked on the loop, which is then the one that every step waits for."""
        self._loop = asyncio.get_running_loop()
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let the time of a step pass, after the loop has heard of all that was written before."""
        self.now += seconds
        heard = threading.Event()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(heard.set)
            heard.wait(10)  # a loop that is over hears nothing


def pace(patch: pytest.MonkeyPatch, slots: int = 6, **script: Any) -> StepClock:
    """Calibrate on a scripted backend by a clock of its steps: so many seconds are so many steps."""
    clock = StepClock()
    patch.setattr(scripted, "time", clock)
    patch.setattr(calibrate, "time", clock)
    patch.setattr(calibrate, "Tally", lambda: Tally(clock.monotonic))
    patch.setattr(calibrate, "_TICK", 0.0)
    chosen = Script(**{"delay": STEP, **script})
    patch.setattr(roles, "build_backend", lambda role, plan: ScriptedBackend(slots, chosen))
    return clock
