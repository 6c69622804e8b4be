"""Draws the pictures of the terminal UI for the README: `python scripts/screens.py` writes docs/*.svg anew.

The recorded run is played into a store whose times are fixed; size, theme, time zone and keys are fixed too, so the
same code draws the same text on any machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from textual.pilot import Pilot

from localsynth.engine import recorded
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.demo import NAME, RecordedRun

DOCS = Path(__file__).resolve().parent.parent / "docs"
SIZE = (120, 34)
THEME = "textual-dark"
BEGAN = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
# What is pressed before each picture is taken, from the list of runs on.
PICTURES: Mapping[str, tuple[str, ...]] = {
    "review": ("4", "j"),
    "monitor": ("3",),
    "filters": ("5", "tab", "H", "H", "H"),
}

# Rich names fonts on a server of others and its maker's page; a picture in a README must load nothing.
_OUTSIDE = re.compile(r"\s*@font-face \{.*?\}|\s*<!-- Generated with .*? -->", re.DOTALL)
_FONTS = ("Fira Code, monospace", "DejaVu Sans Mono, Menlo, Consolas, monospace")
_BACKGROUND = (
    r'(?P<start><rect [^>]*? x=")(?P<x>[\d.]+)(?P<y>" y="[\d.]+" width=")(?P<width>[\d.]+)(?P<rest>"[^>]*/>)'
    r"(?P<text>)(?P<end>)"
)
_TEXT = (
    r'(?P<start><text [^>]*? x=")(?P<x>[\d.]+)(?P<y>" y="[\d.]+" textLength=")(?P<width>[\d.]+)(?P<rest>"[^>]*>)'
    r"(?P<text>[^<]*)(?P<end></text>)"
)


def main() -> int:
    """Write the pictures into docs/, or into the folder that is named."""
    folder = Path(sys.argv[1]) if sys.argv[1:] else DOCS
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as own:
        os.environ.update(LOCALSYNTH_HOME=own, TZ="UTC")
        os.environ.pop("NO_COLOR", None)
        time.tzset()
        for name, picture in asyncio.run(pictures(recorded_store(Path(own) / NAME))).items():
            (folder / f"{name}.svg").write_text(picture, encoding="utf-8")
    return 0


def recorded_store(path: Path) -> Path:
    """Make the store of the whole recorded run, as if that had begun at `BEGAN`."""
    recorded.play(path, recorded.begin(path), speed=1e9)
    steps = [json.loads(line) for line in recorded.LOG.read_text(encoding="utf-8").splitlines()[1:]]
    begun, ended = _at(0), _at(steps[-1]["at"])
    with closing(sqlite3.connect(path)) as connection, connection:
        events = [event for (event,) in connection.execute("SELECT id FROM events ORDER BY id")]
        times = [_at(step["at"]) for step in steps if "event" in step]
        connection.executemany("UPDATE events SET at = ? WHERE id = ?", zip(times, events, strict=True))
        connection.execute("UPDATE runs SET created = ?1, started = ?1, heartbeat = ?2, finished = ?2", (begun, ended))
        connection.execute("UPDATE samples SET created = ?1, updated = ?2", (begun, ended))
    return path


def _at(seconds: float) -> str:
    return (BEGAN + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


async def pictures(store: Path) -> dict[str, str]:
    """Each picture by its name, as SVG."""
    drawn = {}
    for name, keys in PICTURES.items():
        app = LocalsynthApp(store, RecordedRun(store))
        async with app.run_test(size=SIZE) as pilot:
            app.theme = THEME
            await _settle(pilot)
            for key in keys:
                await pilot.press(key)
                await _settle(pilot)
            drawn[name] = small(app.export_screenshot(title="localsynth --demo", simplify=True))
    return drawn


async def _settle(pilot: Pilot[None]) -> None:
    """Wait until what was asked of the store is on the screen."""
    calm = 0
    while calm < 3:  # an answer may ask for more
        await pilot.pause()
        calm = 0 if len(pilot.app.workers) else calm + 1


def small(picture: str) -> str:
    """The picture without what names an outside address, in fonts that are there, cells alike drawn as one."""
    picture = _OUTSIDE.sub("", picture).replace(*_FONTS)
    for element in (_BACKGROUND, _TEXT):
        picture = re.sub(f"(?:{element})+", lambda row, of=element: _joined(of, row[0]), picture)  # type: ignore[misc]
    return picture


def _joined(element: str, row: str) -> str:
    """Elements in a row, those that touch and differ in nothing else as one."""
    cells: list[dict[str, str]] = []
    for found in re.finditer(element, row):
        cell = found.groupdict()
        before = cells[-1] if cells else None
        if before and _touch(before, cell) and all(before[key] == cell[key] for key in ("start", "y", "rest")):
            before["width"] = f"{float(cell['x']) + float(cell['width']) - float(before['x']):.1f}"
            before["text"] += cell["text"]
        else:
            cells.append(cell)
    return "".join("".join(cell.values()) for cell in cells)


def _touch(before: Mapping[str, str], cell: Mapping[str, str]) -> bool:
    return abs(float(before["x"]) + float(before["width"]) - float(cell["x"])) < 0.2


if __name__ == "__main__":
    sys.exit(main())
