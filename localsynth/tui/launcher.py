"""The runs that this UI started: their processes outlive it, and nothing of them is left behind as a zombie."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from localsynth.config import Plan
from localsynth.engine import launch
from localsynth.errors import StoreBusy
from localsynth.store import Reader
from localsynth.store.encode import now


@dataclass(slots=True)
class Launcher:
    """Starts runs of one store. `create` and `start` block: call them on a worker thread.

    `making`: a run is just being written, and the store may be half made.
    """

    store: Path
    making: bool = False
    _children: dict[str, tuple[str, subprocess.Popen[bytes]]] = field(default_factory=dict)

    def create(self, plan: Plan) -> str:
        """Write a new run into the store; its id. StoreBusy while another run is at work: it could not start."""
        if self.store.exists():
            with Reader.open(self.store) as reader:
                busy = [row for row in reader.runs() if launch.alive(self.store, row.id)]
            if busy:
                raise StoreBusy(
                    f"run {busy[0].number} is at work, and one run at a time works on a store",
                    "stop it with x, or wait until it is finished",
                )
        self.making = True
        try:
            return launch.create(self.store, plan)
        finally:
            self.making = False

    def start(self, run: str) -> None:
        """Start the process of a run. StoreBusy while a live process is at work on the store."""
        self._children[run] = (now(), launch.start(self.store, run))

    def starting(self) -> dict[str, str]:
        """Runs whose process is there, with the time it was started: it may not have reached the store yet."""
        return {run: at for run, (at, child) in list(self._children.items()) if child.poll() is None}
