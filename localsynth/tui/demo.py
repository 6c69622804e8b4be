"""`localsynth --demo`: the whole UI on a recorded run, in a store that is gone afterwards; no model is needed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localsynth.config import Plan
from localsynth.engine import recorded
from localsynth.errors import StoreBusy
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.launcher import Launcher

NAME = "demo"  # the name of the store stands in the title of every screen
SPEED = 5.0  # times as fast as it was: the starter model took four and a half minutes on two busy cores


class RecordedRun(Launcher):
    """Starts nothing: a run of one's own would be written into a store that is about to go."""

    def create(self, plan: Plan) -> str:
        """StoreBusy always."""
        del plan
        raise _refusal()

    def start(self, run: str) -> None:
        """StoreBusy always."""
        del run
        raise _refusal()


def run_demo() -> int:
    """Show the UI on the recorded run until it is left; its exit code."""
    with playing() as store:
        app = LocalsynthApp(store, RecordedRun(store))
        app.run()
    return app.return_code or 0


@contextmanager
def playing(speed: float = SPEED) -> Iterator[Path]:
    """A temporary store into which a child process plays the recorded run; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="localsynth-demo-", ignore_cleanup_errors=True) as folder:
        store = Path(folder) / NAME
        run = recorded.begin(store)
        command = [sys.executable, "-m", "localsynth.engine.recorded", str(store), run, str(speed)]
        # Its own session: ctrl+c in the terminal is for the UI.
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield store
        finally:
            child.kill()
            child.wait()


def _refusal() -> StoreBusy:
    return StoreBusy(
        "this is the demo: its run is a recording, and nothing else runs in it",
        "leave it with q, then type localsynth for your own",
    )
