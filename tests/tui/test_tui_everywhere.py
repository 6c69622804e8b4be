"""What holds on every screen: fields keep their letters, lists move alike, every theme, no colour, small terminals,
stores that cannot be read."""

from __future__ import annotations

import sqlite3
import string
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from textual.widgets import Input, TextArea
from tui_stage import notices, press, settle, shown

from localsynth.records import Embedding, Sample, Turn
from localsynth.store import Store
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.focused import focused_text
from localsynth.tui.places import PLACES
from localsynth.tui.screens.too_small import TooSmall

MODES = [place.mode for place in PLACES]
STORELESS = {"new", "models"}  # they have something to say before there is a store
TYPED = "jkgGnNxazyq?" + string.digits + "/ "


def content(path: Path) -> list[tuple[object, ...]]:
    """Every row of what a person or a key can change."""
    with sqlite3.connect(path) as connection:
        rows = [row for table in ("runs", "reviews", "control") for row in connection.execute(f"SELECT * FROM {table}")]
    connection.close()
    return rows


def said(app: LocalsynthApp) -> str:
    """All words on the screen and in the notifications, wherever lines break."""
    return " ".join(f"{shown(app)} {' '.join(notices(app))}".replace("│", " ").split())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("field", [Input, TextArea])
async def test_letters_are_text_in_a_field(path: Path, run: str, mode: str, field: type[Input | TextArea]) -> None:
    before = content(path)
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        app.switch_mode(mode)
        await settle(pilot)
        screen, told = app.screen, notices(app)
        await screen.mount(probe := field(id="probe"))
        probe.focus()
        await pilot.press(
            *("question_mark" if key == "?" else "slash" if key == "/" else key for key in TYPED[:-1]), "space"
        )
        await settle(pilot)
        assert (probe.value if isinstance(probe, Input) else probe.text) == TYPED
        assert (app.current_mode, app.screen, app.focused) == (mode, screen, probe)
        assert notices(app) == told
    assert content(path) == before


@pytest.mark.parametrize("mode", MODES)
async def test_lists_and_texts_move_by_the_same_keys(path: Path, run: str, mode: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        app.switch_mode(mode)
        await settle(pilot)
        # A map of nothing has nothing to move in; a map with points has no last one to go to.
        if mode != "map":
            assert {"j", "k", "g", "G", "ctrl+d", "ctrl+u"} <= app.screen.active_bindings.keys()
        await press(pilot, "j", "k", "G", "g", "ctrl+d", "ctrl+u")
        assert app.current_mode == mode


async def test_every_theme_can_be_read(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        plain = {}
        for mode in MODES:  # from now on every theme has to fill the style sheets of all screens
            app.switch_mode(mode)
            await settle(pilot)
            plain[mode] = shown(app).splitlines()[0]
        for number, theme in enumerate(app.available_themes):
            mode = MODES[number % len(MODES)]
            app.theme = theme
            app.switch_mode(mode)
            await settle(pilot)
            assert shown(app).splitlines()[0] == plain[mode], (mode, theme)


async def test_y_copies_what_the_cursor_is_on(path: Path, run: str, starter: Path) -> None:
    with Store.open(path) as store:
        name = "a name that is far too long for its column"
        other = store.create_run(method="magpie", plan={}, seed=1, target=5, state="finished", name=name)
        sample = Sample(other, 0, state="done")
        vector = np.ones(4, "<f2").tobytes()
        store.save(
            [sample, Turn(sample.id, 0, "user", "Why?", "Why?"), Embedding(sample.id, "instruction", "one", "", vector)]
        )
    app = LocalsynthApp(path)
    found = {}
    async with app.run_test(size=(80, 24)) as pilot:
        for place in PLACES:
            await press(pilot, place.key)
            found[place.mode] = focused_text(app.screen)
    runs = found["runs"].split("\t")
    assert (runs[0], runs[1], runs[2], runs[-2]) == ("2", "finished", "1/5", name)
    assert found["review"] == "user:\nWhy?"
    assert found["map"] == "nearest 2:0  Why?"
    assert found["models"] == "smollm2-135m"
    assert found["export"].startswith("localsynth export localsynth-openai.jsonl ")


async def test_without_colour_nothing_is_lost(path: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        for place in PLACES:
            app.switch_mode(place.mode)
            await settle(pilot)
            assert f"‹{place.key} {place.label}›" in shown(app)
            for strip in app.screen._compositor.render_strips():
                for segment in strip.apply_filter(app.get_line_filters()[0], app.screen.background_colors[1]):
                    colour = segment.style.color if segment.style else None
                    assert colour is None or len(set(colour.get_truecolor())) == 1, (place, segment)


async def test_help_and_quit_are_always_in_the_last_line(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        for mode in MODES:
            app.switch_mode(mode)
            for width in (60, 80):
                await pilot.resize_terminal(width, 24)
                await settle(pilot)
                last = shown(app).splitlines()[-1]
                assert "? Help  q Quit" in last, (mode, width)
                assert "palette" in last, (mode, width)
        await press(pilot, "1", "slash")  # in a field a letter is a letter
        assert "f1 Help  ^q Quit" in shown(app).splitlines()[-1]
        assert "Find" not in shown(app).splitlines()[-1]


@pytest.mark.parametrize("mode", MODES)
async def test_a_terminal_that_is_too_small_says_so_and_nothing_is_lost(path: Path, run: str, mode: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(60, 16)) as pilot:
        app.switch_mode(mode)
        await settle(pilot)
        screen, focused = app.screen, app.focused
        assert "too small" not in shown(app)
        for size in ((59, 16), (60, 15), (20, 5)):
            await pilot.resize_terminal(*size)
            await settle(pilot)
            assert f"{size[0]} x {size[1]} cells" in said(app)
            assert size == (20, 5) or "60 x 16 are needed" in said(app)
            await press(pilot, "4", "q", "x")  # nothing of it reaches the screen below
            assert isinstance(app.screen, TooSmall)
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert (app.screen, app.current_mode) == (screen, mode)
        assert focused in {app.focused, None}
        assert len(app.screen_stack) == 1


async def test_a_terminal_may_be_too_small_from_the_start(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(40, 10)) as pilot:
        await settle(pilot)
        assert "40 x 10 cells" in said(app)
        await pilot.resize_terminal(100, 30)
        await settle(pilot)
        assert "‹1 Runs›" in shown(app)
        await press(pilot, "4", "slash", "a", "b")
        await pilot.resize_terminal(30, 8)
        await settle(pilot)
        await pilot.press("ctrl+p")
        await pilot.resize_terminal(100, 30)
        await settle(pilot)
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(app.focused, Input)
        assert app.focused.value == "ab"


def missing(path: Path) -> None:
    """No store yet."""
    path.unlink(missing_ok=True)


def foreign(path: Path) -> None:
    path.write_bytes(b"[red]not a database[/red]" * 100)


def another_program(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    connection.close()


def newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (missing, "yet"),
        (foreign, "is not a database"),
        (another_program, "is a database of another program"),
        (newer, "store version 99"),
        (folder, "is a folder, not a store"),
    ],
)
async def test_a_store_that_cannot_be_read_is_told_on_every_screen(
    path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    Store.open(path).close()
    spoil(path)
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        for place in PLACES:
            app.clear_notifications()
            await press(pilot, place.key)
            assert app.current_mode == place.mode
            assert place.mode in STORELESS or words in said(app), place
            await pilot.press("j", "y")
        await pilot.press("ctrl+q")
    assert app.return_code == 0
