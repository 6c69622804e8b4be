"""What is being written for the UI: leaving waits for it, and tells what failed when nobody could see it any more."""

from __future__ import annotations

import threading
import time

from localsynth.errors import LocalsynthError


class Writes:
    """Writes on their way, by the names that the user knows. `lost`: those that failed after `leave`, a line each."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._under_way: list[str] = []
        self._leaving = False
        self.lost: list[str] = []

    def begin(self, what: str) -> None:
        """One more is on its way; "" is none."""
        if what:
            with self._changed:
                self._under_way.append(what)

    def end(self, what: str, error: LocalsynthError | None = None) -> None:
        """It is written, or is not."""
        if what:
            with self._changed:
                self._under_way.remove(what)
                if error is not None and self._leaving:
                    self.lost.append(f"not done: {what}: {error.message}")
                self._changed.notify_all()

    def leave(self) -> list[str]:
        """From now on nobody sees an error on the screen; what is still on its way."""
        with self._changed:
            self._leaving = True
            return list(self._under_way)

    def wait(self, seconds: float) -> None:
        """Return when nothing is on its way any more, or after `seconds`; call it on a worker thread."""
        end = time.monotonic() + seconds
        with self._changed:
            while self._under_way and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
