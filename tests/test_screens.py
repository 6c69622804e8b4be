"""The pictures in the README show the terminal UI as it is, and load nothing from elsewhere."""

from __future__ import annotations

import importlib.util
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = "{http://www.w3.org/2000/svg}text"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("screens_script", ROOT / "scripts" / "screens.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


screens = load()


@pytest.fixture
def anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of one's own, with the clock of the pictures and none of the user's settings."""
    monkeypatch.setenv("LOCALSYNTH_HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("NO_COLOR", raising=False)
    time.tzset()
    yield tmp_path
    monkeypatch.undo()
    time.tzset()


def committed(name: str) -> str:
    return (screens.DOCS / f"{name}.svg").read_text(encoding="utf-8")


def lines(picture: str) -> list[str]:
    """The text of a picture line by line, wherever each piece of it stands."""
    found: dict[float, list[tuple[float, str]]] = defaultdict(list)
    for element in ET.fromstring(picture).iter(TEXT):
        found[float(element.attrib["y"])].append((float(element.attrib["x"]), element.text or ""))
    return ["".join(text for _, text in sorted(found[y])).replace("\xa0", " ").rstrip() for y in sorted(found)]


async def test_pictures_show_what_the_screens_show(anywhere: Path) -> None:
    drawn = await screens.pictures(screens.recorded_store(anywhere / screens.NAME))
    assert {path.stem for path in screens.DOCS.glob("*.svg")} == set(drawn)
    for name, picture in drawn.items():
        assert lines(picture) == lines(committed(name)), f"{name} is out of date; run: python scripts/screens.py"


@pytest.mark.parametrize("name", sorted(screens.PICTURES))
def test_pictures_are_small_and_load_nothing(name: str) -> None:
    picture = committed(name)
    assert len(picture.encode()) < 200_000
    assert set(re.findall(r"\w+://[^\"' )]+", picture)) == {TEXT[1:].partition("}")[0]}
    assert "@" not in picture.partition("</style>")[0]
    assert len(lines(picture)) > 20
    for readme in ("README.md", "README.zh-CN.md"):
        assert f"](docs/{name}.svg)" in (ROOT / readme).read_text(encoding="utf-8")
