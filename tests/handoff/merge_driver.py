"""`localsynth ARGUMENTS` that kills itself where KILL_AT says; started by tests as a process."""

from __future__ import annotations

import os
import signal

from localsynth.cli.main import main
from localsynth.store import comparing, merging

POINT, _, COUNT = os.environ["KILL_AT"].partition(" ")
merging._BATCH = 2
METHODS = {
    "begin": (merging.Merging, "begin"), "copy": (merging.Merging, "_copy"), "note": (merging.Merging, "_note"),
    "near": (comparing.Comparing, "add_near"), "scores": (comparing.Comparing, "set_scores"),
    "end": (merging.Merging, "end"), "index": (merging.Merging, "index_text"),
}  # fmt: skip
owner, name = METHODS[POINT]
original = getattr(owner, name)
left = iter(range(int(COUNT or 1) - 1, -1, -1))


def dying(self, *arguments, **named):
    """Does its work, and dies after the last time."""
    found = original(self, *arguments, **named)
    if next(left, 1) == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return found


setattr(owner, name, dying)
main()
