"""How long the light commands take to answer, against a Python that does nothing: `python bench/startup.py`.

The limit is the interpreter itself. `--help` has to answer within 0.2 s. Each command is started ten times, in turns,
so that a busy moment of the machine meets all of them alike; medians are compared.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 10
LIMIT_S = 0.2
PYTHON = sys.executable
CONSOLE = str(Path(PYTHON).with_name("localsynth"))
COMMANDS: dict[str, list[str]] = {
    "python -c pass": [PYTHON, "-c", "pass"],
    "localsynth --help": [CONSOLE, "--help"],
    "localsynth ls": [CONSOLE, "ls"],
}


def main() -> int:
    """Print one row per command; 1 where `--help` misses its limit."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "LOCALSYNTH_STORE": str(Path(folder) / "bench.db"), "LOCALSYNTH_HOME": folder}
        first = [CONSOLE, "generate", "-n", "5", "--backend", "scripted", "--no-near-duplicates"]
        subprocess.run(first, env=environment, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        medians = measure(environment)
    floor = medians["python -c pass"]
    print(f"{'command':<20} {'median of ' + str(ROUNDS):>14} {'x python':>9}")
    for name, seconds in medians.items():
        print(f"{name:<20} {seconds:>12.3f} s {seconds / floor:>9.1f}")
    within = medians["localsynth --help"] < LIMIT_S
    print(f"localsynth --help under {LIMIT_S} s: {'yes' if within else 'NO'}")
    return 0 if within else 1


def measure(environment: dict[str, str]) -> dict[str, float]:
    """Median seconds of each command from start to exit."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, env=environment, check=True, capture_output=True, stdin=subprocess.DEVNULL)
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    sys.exit(main())
