"""What happens to a long run on a laptop: it keeps the machine awake, spares the battery, and lives through sleep."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from localsynth.engine.battery import Battery, read_battery
from localsynth.events import KeptAwake

LOW = 15.0  # percent at which a run on battery pauses
_LOOK_EVERY = 30.0
_FIRST_LOOK = 15.0  # no machine falls asleep sooner, and a short run needs no helper process
_GAP = 30.0  # a loop that is merely busy is never this late


class KeepAwake:
    """Keeps the system from sleeping while this process lives, where a tool of the system can.

    The tool is a child that ends with us, however we end: `caffeinate` watches our process, and `systemd-inhibit`
    holds on to a `cat` whose input ends when we do.
    """

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self._command = list(command) if command is not None else _tool()
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the tool where there is one."""
        if shutil.which(self._command[0]) is None:
            return
        with contextlib.suppress(OSError):
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is for the run, which then finishes what is in flight
            )

    @property
    def tool(self) -> str:
        """The tool that holds the machine awake now, "" where none does."""
        return self._command[0] if self._child is not None and self._child.poll() is None else ""

    def stop(self) -> None:
        """Let the machine sleep again."""
        child, self._child = self._child, None
        if child is None:
            return
        child.terminate()
        if child.stdin is not None:
            child.stdin.close()
        child.wait()


def _tool() -> list[str]:
    if sys.platform == "darwin":
        return ["caffeinate", "-i", "-w", str(os.getpid())]
    reason = ["--who=localsynth", "--why=a run is generating"]
    return ["systemd-inhibit", "--what=sleep:idle", *reason, "--mode=block", "cat"]


@dataclass(slots=True)
class Vigil:
    """Looks after the machine for one run. `pausing`: the battery is low, and the run should wait for power."""

    keep: KeepAwake = field(default_factory=KeepAwake)
    battery: Callable[[], Battery | None] = read_battery
    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    percent: float = 100.0
    pausing: bool = False
    _looks: int = 0
    _look_at: float | None = None
    _overruled: bool = False

    async def rest(self, seconds: float) -> tuple[float, float]:
        """Sleep for `seconds`. If the machine or the process stood still meanwhile: for how long, and how much of
        that its monotonic clock counted (no system counts its own sleep, but a stopped process' time goes on)."""
        monotonic, wall = self.monotonic(), self.wall()
        await asyncio.sleep(seconds)
        counted = self.monotonic() - monotonic - seconds
        passed = max(counted, self.wall() - wall - seconds)
        return (passed, counted if counted >= _GAP else 0.0) if passed >= _GAP else (0.0, 0.0)

    async def look(self) -> KeptAwake | None:
        """Every half minute: read the battery. Says once whether the machine is kept awake."""
        now = self.monotonic()
        if self._look_at is None:
            self._look_at = now + _FIRST_LOOK
        if now < self._look_at:
            return None
        self._look_at, self._looks = now + _LOOK_EVERY, self._looks + 1
        if self._looks == 1:
            self.keep.start()
        found = await asyncio.to_thread(self.battery)
        if found is not None:
            self.percent = found.percent
            self._overruled = self._overruled and found.draining
            self.pausing = found.draining and found.percent <= LOW and not self._overruled
        # By the second look a tool that may not do it here has given up.
        return KeptAwake(self.keep.tool) if self._looks == 2 else None

    def overrule(self) -> None:
        """A person resumed the run: the battery has no more say until the machine was on power again."""
        self._overruled, self.pausing = self._overruled or self.pausing, False

    @property
    def note(self) -> str:
        """Why the run waits."""
        return f"paused at {self.percent:.0f} % battery; it goes on when the machine is on power"
