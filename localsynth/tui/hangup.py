"""Ends the UI when its terminal is gone and no signal has told so: a program that nobody sees would spin for ever."""

from __future__ import annotations

import os
import signal
import termios
import threading
import time

_EVERY = 2.0  # seconds


def end_with_terminal(descriptor: int) -> None:
    """Watch the terminal on a thread of its own: that of the screen may be waiting to write to it."""

    def watch() -> None:
        while True:
            time.sleep(_EVERY)
            try:
                termios.tcgetattr(descriptor)
            except termios.error:
                # What a closed terminal sends to the programs that belong to it.
                os.kill(os.getpid(), signal.SIGHUP)

    threading.Thread(target=watch, name="hangup", daemon=True).start()
