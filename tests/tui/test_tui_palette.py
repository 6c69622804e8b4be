"""Help and palette by keys: both tell what the bindings say, for the focused part first."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.command import CommandList, CommandPalette
from textual.widgets import Input, Static
from tui_stage import press, settle, shown

from localsynth.tui import actions
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.places import PLACES
from localsynth.tui.screens.help import Help


async def offered(app: LocalsynthApp, pilot: object, typed: str = "") -> list[str]:
    """The names in the palette after it was opened and this was typed."""
    await pilot.press("ctrl+p")
    await pilot.pause()
    if typed:
        await pilot.press(*typed)
    await app.workers.wait_for_complete()
    await pilot.pause()
    return [option.hit.text for option in app.screen.query_one(CommandList).options]


async def test_the_palette_offers_every_action_that_help_tells(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for place in PLACES:
            await press(pilot, place.key)
            wanted = {each.name for each in actions.actions(app.screen) if each.usable and each.id != "app.palette"}
            names = {name.partition(" (")[0] for name in await offered(app, pilot)}
            assert names == wanted | {"Theme"}
            assert {other.label for other in PLACES} <= names
            await pilot.press("escape")
            await settle(pilot)


async def test_an_action_is_found_by_letters_and_done(path: Path, run: str, reviews: object) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4")
        names = await offered(app, pilot, "rejc")
        assert names[0] == "Reject (x)"
        await press(pilot, "enter")
        assert reviews(run, 0) == ["reject"]


async def test_words_of_the_help_find_an_action_too(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4")
        assert "Undo (z)" in await offered(app, pilot, "last verdict")


async def test_actions_are_there_while_a_field_has_the_focus(path: Path, run: str, reviews: object) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "slash", "a")
        assert app.focused.value == "a"
        await offered(app, pilot, "accept")
        await press(pilot, "enter")
        assert reviews(run, 0) == ["accept"]


async def test_a_question_covers_the_actions_behind_it(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("question_mark")
        await pilot.pause()
        names = await offered(app, pilot)
        assert "Close (escape ? f1 q enter)" in {
            name.replace("esc ", "escape ").replace("⏎", "enter") for name in names
        }
        assert not any(name.startswith(("Pause", "Quit")) for name in names)


async def test_help_begins_with_the_focused_part(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "f1")
        told = str(app.screen.query_one("#keys", Static).content)
        places = [told.index(part) for part in ("Where you are", "Next row", "Review\n", "Keep this row", "Everywhere")]
        assert places == sorted(places)
        await press(pilot, "f1")
        await press(pilot, "tab", "f1")  # the other pane has keys of its own
        told = str(app.screen.query_one("#keys", Static).content)
        assert "Next row" not in told
        assert told.index("Scroll") < told.index("Keep this row")


async def test_help_scrolls_by_the_keys_of_lists(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 18)) as pilot:
        await settle(pilot)
        await press(pilot, "question_mark", "G")
        assert "ctrl+p finds an action" in shown(app)
        await press(pilot, "g")
        assert "Keys: Runs" in shown(app)
        await press(pilot, "ctrl+d", "j", "k", "ctrl+u")
        assert "Keys: Runs" in shown(app)


async def test_f1_helps_in_a_field_and_a_question_mark_is_text_there(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "slash", "question_mark")
        assert app.focused.value == "?"
        await press(pilot, "f1")
        assert isinstance(app.screen, Help)
        assert "What you type goes into this field" in shown(app)
        await press(pilot, "f1")
        assert isinstance(app.focused, Input)


@pytest.mark.parametrize("place", PLACES)
async def test_every_screen_has_a_help_of_its_own(path: Path, run: str, place: object) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        app.switch_mode(place.mode)
        await settle(pilot)
        assert app.screen.title
        assert len(app.screen.HELP or "") > 20
        await pilot.press("f1")
        await pilot.pause()
        await pilot.press("ctrl+p")
        await pilot.pause()
        assert isinstance(app.screen, CommandPalette)
