"""Imported by every Python of the environment that a test installs: SLOW_STEPS makes a scripted step take so long."""

from __future__ import annotations

import os
import time

if os.environ.get("SLOW_STEPS"):
    try:
        from localsynth.backends.scripted import ScriptedDecoder
    except ImportError:  # not installed yet
        pass
    else:
        _step = ScriptedDecoder.step

        def _slowly(self: ScriptedDecoder) -> object:
            time.sleep(float(os.environ["SLOW_STEPS"]))
            return _step(self)

        ScriptedDecoder.step = _slowly  # type: ignore[assignment,method-assign]
