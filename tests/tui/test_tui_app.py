from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from textual.widgets import Static
from tui_stage import fill, press, settle, shown

from localsynth.cli.ui import ui
from localsynth.engine.lock import hold
from localsynth.store import Store
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.places import PLACES
from localsynth.tui.wording import duration, moment, progress_bar, span


async def test_keys_switch_screens(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for key, mode in (("3", "monitor"), ("4", "review"), ("1", "runs")):
            await press(pilot, key)
            assert app.current_mode == mode
        await pilot.click(app.screen.query("TitleBar Static")[[place.mode for place in PLACES].index("review")])
        await settle(pilot)
        assert app.current_mode == "review"


@pytest.mark.parametrize("key", ["question_mark", "f1"])
@pytest.mark.parametrize(
    ("screen", "expected"),
    [("1", "Make a new run"), ("3", "Finish what is being written"), ("4", "Keep this row, go to")],
)
async def test_help_lists_the_keys_of_the_screen(path: Path, run: str, key: str, screen: str, expected: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 40)) as pilot:
        await settle(pilot)
        await press(pilot, screen, key)
        told = str(app.screen.query_one("#keys", Static).content)
        assert expected in told
        assert "Leave; a run goes on without this screen" in told
        assert told.index(expected) < told.index("Everywhere")
        assert "Keys:" in shown(app)
        await press(pilot, "escape")
        assert "Keys:" not in shown(app)


async def test_every_key_of_a_screen_fits_into_the_footer(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for key in "123":
            await press(pilot, key)
            assert "q Quit" in shown(app).splitlines()[-1]
            assert "^p palette" in shown(app).splitlines()[-1]


@pytest.mark.parametrize("screen", ["1", "3", "4"])
async def test_quitting_says_what_goes_on(path: Path, screen: str) -> None:
    with Store.open(path) as store:
        run = fill(store, "running")
    app = LocalsynthApp(path)
    with hold(path, run):
        async with app.run_test() as pilot:
            await settle(pilot)
            await press(pilot, screen)
            await pilot.press("q")
    assert app.return_code == 0
    assert app.farewell == ["run 1 goes on: `localsynth status --watch` shows it, `localsynth stop` ends it"]


async def test_quitting_without_a_run_says_nothing(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test() as pilot:
        await settle(pilot)
        await pilot.press("q")
    assert (app.return_code, app.farewell) == (0, [])


def test_the_ui_needs_a_terminal() -> None:
    result = CliRunner().invoke(ui, [])
    assert result.exit_code == 2
    assert "needs a terminal" in result.output


def test_no_model_is_loaded_beside_the_ui() -> None:
    code = (
        "import sys, localsynth.tui.app as app; app.LocalsynthApp.__init__; "
        "print([name for name in ('torch', 'llama_cpp', 'sentence_transformers', 'transformers', 'mlx', 'numpy', "
        "'huggingface_hub') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_figures_as_people_read_them() -> None:
    assert [duration(seconds) for seconds in (0, 45.4, 89, 90, 3600, 5400, 86400)] == [
        "0 s", "45 s", "89 s", "2 min", "60 min", "1 h 30 min", "24 h 00 min",
    ]  # fmt: skip
    assert (span(None, None), span(10, 10.2), span(10, 200)) == ("", "10 s", "10 s to 3 min")
    assert [len("".join(progress_bar(done, 7, 20))) for done in (0, 3, 7, 99)] == [20] * 4
    assert (progress_bar(0, 0, 4), progress_bar(1, 2, 4)) == (("", "░░░░"), ("██", "░░"))
    at = datetime.fromisoformat("2026-11-20T10:00:00+00:00").astimezone()
    assert moment("2026-11-20T10:00:00Z", at) == at.strftime("%H:%M")
    assert moment("2026-11-19T10:00:00Z", at).endswith(at.strftime("%H:%M"))
    assert (moment(None), moment("never")) == ("", "")


async def test_a_screen_looks_once_when_it_is_shown_again(path: Path, run: str) -> None:
    app = LocalsynthApp(path)
    looked: list[str] = []
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        for place, other in zip(PLACES, [*PLACES[1:], PLACES[0]], strict=True):
            await press(pilot, place.key)
            screen, look = app.screen, app.screen.look
            screen.look = lambda mode=place.mode, look=look: looked.append(mode) or look()
            await press(pilot, other.key)
            looked.clear()
            await press(pilot, place.key)
            assert looked == [place.mode]
            screen.look = look
