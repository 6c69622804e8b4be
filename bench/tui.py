"""How long the terminal UI takes from a key to its paint, with a million rows in the store and a run writing into it.

    python bench/tui.py [--rows 1000000] [--rate 500] [--store STORE] [--keys 100] [--size 80x24]

The real `localsynth ui` runs on a pseudo-terminal, and a process writes rows into the run that is shown, in groups, as
a run does. A latency is the time from writing a key to the terminal until what that key must show has come back: the
number of the row that the cursor goes to, or the name of the screen. Limits: 50 ms at the 95th percentile, first paint
(from the start of the process) 0.7 s. STORE is made where it is not there, and kept; a temporary one otherwise.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
LIMIT, FIRST_PAINT = 0.050, 0.7
PAUSE = 0.06  # seconds between two keys: a fast reader's pace
_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]P][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
SCREENS = {
    "1": "Runs",
    "2": "New run",
    "3": "Monitor",
    "4": "Review",
    "5": "Filters",
    "6": "Map",
    "7": "Models",
    "8": "Export",
}


class Terminal:
    """The UI on a pseudo-terminal of its own."""

    def __init__(self, store: Path, columns: int, lines: int) -> None:
        leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "localsynth", "ui", "--store", str(store)],
            stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
            env=os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"},
        )  # fmt: skip
        os.close(follower)
        self._leader = leader
        self._came = threading.Condition()
        self._bytes = bytearray()
        self._stamps: list[tuple[int, float]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def press(self, key: str, wanted: str, patience: float = 20.0) -> float:
        """Seconds from the key until a text that matches `wanted` has come."""
        with self._came:
            start = len(self._bytes)
        began = time.monotonic()
        os.write(self._leader, key.encode())
        return self._wait(start, wanted, patience) - began

    def first(self, wanted: str) -> float:
        """Seconds from the start of the process until `wanted` has come."""
        return self._wait(0, wanted, 60.0) - self.began

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._leader)

    def _wait(self, start: int, wanted: str, patience: float) -> float:
        found, end = re.compile(wanted.encode()), time.monotonic() + patience
        with self._came:
            while True:
                if found.search(_ESCAPES.sub(b"", bytes(self._bytes[start:]))):
                    return self._stamps[-1][1]
                if not self._came.wait(max(0.0, end - time.monotonic())):
                    raise TimeoutError(f"{wanted!r} did not come; the last was {bytes(self._bytes[-400:])!r}")

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._leader, 1 << 16)
            except OSError:
                return
            with self._came:
                self._bytes += data
                self._stamps.append((len(self._bytes), time.monotonic()))
                self._came.notify_all()


def row(index: int) -> str:
    """Matches the number of a row as the list shows it."""
    return rf"(?<!\d){index} "


def measure(terminal: Terminal, keys: int, page: int) -> dict[str, list[float]]:
    """Latencies by what was pressed."""
    found: dict[str, list[float]] = {}

    def press(what: str, key: str, wanted: str) -> None:
        found.setdefault(what, []).append(terminal.press(key, wanted))
        time.sleep(PAUSE)

    terminal.press("4", "‹4 Review›")
    time.sleep(3.0)  # the first page and its counts
    at = 0
    for _ in range(keys):
        at += 1
        press("j: next row", "j", row(at))
    for _ in range(keys):
        at -= 1
        press("k: row before", "k", row(at))
    for _ in range(keys):
        press("a: accept, next row", "a", row(at + 1))
        at += 1
    for _ in range(keys // 4):
        at += page
        press("ctrl+d: half a screen", "\x04", row(at))
    for key, label in SCREENS.items():  # made when it is first shown
        press("1-8: first time", key, f"‹{key} {label}›")
        time.sleep(1.0)
    for key, label in list(SCREENS.items()) * (keys // 10):
        press("1-8: another screen", key, f"‹{key} {label}›")
    return found


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def report(found: dict[str, list[float]], paints: Sequence[float]) -> bool:
    """Print the table; whether every limit holds."""
    print(f"{'key to paint':<26} {'n':>5} {'p50':>8} {'p95':>8} {'p99':>8} {'most':>8}   limit (p95)")
    everything = [value for values in found.values() for value in values]
    fine = True
    for what, values in {**found, "all keys": everything}.items():
        figures = [percentile(values, share) for share in (0.5, 0.95, 0.99)] + [max(values)]
        within = figures[1] < LIMIT
        fine &= within
        cells = " ".join(f"{1000 * figure:>5.0f} ms" for figure in figures)
        print(f"{what:<26} {len(values):>5} {cells}   {1000 * LIMIT:.0f} ms: {'yes' if within else 'NO'}")
    first = statistics.median(paints)
    within = first < FIRST_PAINT
    print(f"first paint, median of {len(paints)}: {first:.2f} s   {FIRST_PAINT} s: {'yes' if within else 'NO'}")
    return fine and within


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=500.0, help="rows a second that are written meanwhile")
    parser.add_argument("--store", type=Path)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--size", default="80x24")
    options = parser.parse_args()
    columns, lines = map(int, options.size.split("x"))
    maker = [sys.executable, str(HERE / "tui_store.py")]
    with tempfile.TemporaryDirectory() as folder:
        store = (options.store or Path(folder) / "bench.db").absolute()
        if not store.exists():
            print(f"making {options.rows:,} rows", flush=True)
            subprocess.run([*maker, "make", str(store), str(options.rows)], check=True)
        writer = subprocess.Popen([*maker, "write", str(store), str(options.rate)])
        try:
            paints = []
            for _ in range(5):
                terminal = Terminal(store, columns, lines)
                paints.append(terminal.first("‹1 Runs›"))
                terminal.close()
            terminal = Terminal(store, columns, lines)
            terminal.first(r"running")
            found = measure(terminal, options.keys, max(1, (lines - 3) // 2))
            terminal.close()
            assert writer.poll() is None, "the writer has ended"
        finally:
            writer.kill()
            writer.wait()
    print(f"{options.rows:,} rows, {options.rate:.0f} more a second, {options.size}")
    return 0 if report(found, paints) else 1


if __name__ == "__main__":
    sys.exit(main())
