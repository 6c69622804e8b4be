"""What a laptop's battery says: from sysfs on Linux, from `pmset` on macOS, nothing elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_SUPPLIES = Path("/sys/class/power_supply")
_PERCENT = re.compile(r"\s(\d{1,3})%;")


@dataclass(frozen=True, slots=True)
class Battery:
    """`percent` of its charge is left, 0 to 100; `draining` when nothing feeds the machine but the battery."""

    percent: float
    draining: bool


def read_battery() -> Battery | None:
    """The machine's own battery, None where there is none or it does not tell. It may take some milliseconds."""
    if sys.platform == "darwin":
        try:
            done = subprocess.run(["pmset", "-g", "batt"], capture_output=True, text=True, check=False, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return from_pmset(done.stdout)
    return from_sysfs(_SUPPLIES)


def from_sysfs(supplies: Path) -> Battery | None:
    """All batteries of the machine together; those of a mouse or a headset have the scope "Device"."""
    found = []
    for folder in sorted(supplies.glob("*")) if supplies.is_dir() else []:
        if _word(folder / "type") == "Battery" and _word(folder / "scope") != "Device":
            percent = _word(folder / "capacity")
            if percent.isdecimal():
                found.append((float(percent), _word(folder / "status")))
    if not found:
        return None
    # Two batteries are emptied one after the other: one that rests while the other is used says "Not charging".
    draining = any(status == "Discharging" for _, status in found)
    return Battery(sum(percent for percent, _ in found) / len(found), draining)


def from_pmset(said: str) -> Battery | None:
    """What `pmset -g batt` prints; None on a Mac without a battery."""
    percents = [float(text) for text in _PERCENT.findall(said)]
    if not percents:
        return None
    return Battery(sum(percents) / len(percents), "'Battery Power'" in said)


def _word(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
