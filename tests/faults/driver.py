"""`localsynth ARGUMENTS` on a scripted backend that fails as the environment says; started by tests as a process.

FAULT_DELAY      seconds a step
FAULT_KILL_AT    SIGKILL to the process itself when this request arrives
FAULT_BUSY       requests whose seed is divisible by this fail, and may be tried again
FAULT_OVERFLOW   requests whose seed is divisible by this do not fit into the context
FAULT_DIE_AT     the decoder dies when this request arrives, and again after it was loaded anew when FAULT_DIE is "twice"
FAULT_LOADED     the model is loaded once this file exists
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from localsynth.backends.scripted import Script, ScriptedDecoder, _Counter
from localsynth.backends.stepped import SteppedBackend
from localsynth.cli.main import main
from localsynth.engine import context, roles
from localsynth.errors import BackendError, ContextOverflow
from localsynth.records import Request

DELAY = float(os.environ.get("FAULT_DELAY", "0"))
KILL_AT, BUSY, OVERFLOW, DIE_AT = (
    int(os.environ.get(f"FAULT_{name}", "0")) for name in ("KILL_AT", "BUSY", "OVERFLOW", "DIE_AT")
)
LOADED = os.environ.get("FAULT_LOADED")


class Faulty(ScriptedDecoder):
    arrived = 0

    def add(self, uid: int, request: Request) -> int:
        Faulty.arrived += 1
        if Faulty.arrived == KILL_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        if BUSY and request.seed % BUSY == 0:
            raise BackendError("the server is busy", "wait", retryable=True)
        if OVERFLOW and request.seed % OVERFLOW == 0:
            raise ContextOverflow("the prompt is too long", "shorten it")
        return super().add(uid, request)

    def step(self):
        if DIE_AT and (
            Faulty.arrived == DIE_AT or (Faulty.arrived > DIE_AT and os.environ.get("FAULT_DIE") == "twice")
        ):
            Faulty.arrived += 1
            raise RuntimeError("out of memory")
        return super().step()


def load() -> Faulty:
    end = time.monotonic() + 60
    while LOADED and not Path(LOADED).exists() and time.monotonic() < end:
        time.sleep(0.01)
    return Faulty(4, Script(delay=DELAY), "scripted", _Counter())


roles.build_backend = lambda role, plan: SteppedBackend(load)
context.RETRY_WAITS = (0.0,)
if __name__ == "__main__":
    main()
