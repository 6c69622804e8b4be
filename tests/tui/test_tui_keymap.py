"""Keys and theme of the user's own: what is taken from config.toml, what is told about it, what is written back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from textual.binding import Binding
from tui_stage import notices, press, settle, shown

from localsynth import paths
from localsynth.cli.ui import ui
from localsynth.errors import DataError
from localsynth.tui import keymap, settings
from localsynth.tui.app import LocalsynthApp


@pytest.fixture
def config() -> Path:
    """Where the user's config.toml is to be."""
    path = paths.config_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_every_key_has_an_id_and_a_help_of_its_own() -> None:
    ids = []
    for kind in keymap._kinds():
        for binding in kind.__dict__.get("BINDINGS", ()):
            assert isinstance(binding, Binding), kind
            assert binding.id, (kind, binding)
            assert binding.description, binding.id
            assert binding.tooltip, binding.id
            ids.append(binding.id)
    assert len(ids) == len(set(ids))
    assert {"app.quit", "run.pause", "review.accept", "list.next", "help.close", "confirm.yes"} <= set(ids)


def test_keys_that_can_be_had() -> None:
    wished = {"review.accept": "x", "review.reject": "a, ctrl+x", "app.help": "?,f2", "list.next": "down"}
    own, faults = keymap.usable(wished)
    assert faults == []
    assert own == {"review.accept": "x", "review.reject": "a,ctrl+x", "app.help": "?,f2", "list.next": "down"}


@pytest.mark.parametrize(
    ("wished", "said"),
    [
        ({"review.acept": "a"}, "no such id; did you mean review.accept?"),
        ({"zzz": "a"}, "there is no such id; `localsynth ui --keys` lists them"),
        ({"review.accept": "ctrl+blub"}, "there is no key 'ctrl+blub'"),
        ({"review.accept": "x"}, "x is review.reject already, so a stays"),
        ({"review.accept": "j"}, "j is list.next already"),  # the list beside it
        ({"review.accept": "question_mark"}, "is app.help already"),
        ({"app.quit": "a"}, "a is review.accept already"),
        ({"app.palette": "o"}, "o is a character, and this works while one types"),
        ({"app.palette": "f1"}, "f1 is app.help-anywhere already"),
    ],
)
def test_a_key_that_cannot_be_had_leaves_the_default(wished: dict[str, str], said: str) -> None:
    own, faults = keymap.usable({**wished, "review.undo": "w"})
    assert own == {"review.undo": "w"}
    assert len(faults) == 1
    assert said in faults[0]
    assert faults[0].startswith(f"[keys] {next(iter(wished))} = ")


def test_screens_that_are_never_up_together_may_share_a_key() -> None:
    assert keymap.usable({"review.accept": "p", "confirm.yes": "q"})[1] == []


async def test_own_keys_work_and_the_old_ones_do_not(path: Path, run: str, reviews: object, config: Path) -> None:
    config.write_text('[keys]\nreview.accept = "ctrl+y"\n"review.reject" = "w"\napp.palette = "f9"\n')
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "a", "ctrl+y", "w")
        assert [reviews(run, index) for index in range(3)] == [["accept"], ["reject"], []]
        assert "^y Accept  w Reject" in shown(app)
        assert "f9 palette" in shown(app)
        await press(pilot, "f1")
        assert "^y" in str(app.screen.query_one("#keys").content)
        assert notices(app) == []


async def test_faults_of_the_file_are_one_line_and_the_rest_is_used(
    path: Path, run: str, reviews: object, config: Path
) -> None:
    config.write_text('[keys]\nreview.accept = "z"\nreview.undo = 3\nreview.reject = "w"\n[ui]\ntheme = "no[/]such"\n')
    app = LocalsynthApp(path)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        (notice,) = notices(app)
        assert "\n" not in notice
        assert "config.toml: [keys] review.undo needs its keys in quotes" in notice
        assert "2 more: `localsynth ui --keys` tells them" in notice
        assert app.theme == "textual-dark"
        await press(pilot, "4", "a", "w")
        assert [reviews(run, index) for index in range(2)] == [["accept"], ["reject"]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[keys", "not read, the defaults are used: "),
        (b"\xff\xfe", "not read, the defaults are used: "),
        (b"[key]\na = 'b'", "[key] is no part of it: [keys] and [ui] are"),
        (b"keys = 3", "keys must be a table"),
        (b"[ui]\ncolour = 'x'", "[ui] colour is unknown"),
        (b"[ui]\ntheme = 3", "[ui] theme must be a name in quotes"),
        (b"[keys]\nrun.new = ','", "[keys] run.new needs its keys"),
    ],
)
def test_a_file_that_is_wrong_is_told(config: Path, content: bytes, said: str) -> None:
    config.write_bytes(content)
    found = settings.read(config)
    assert len(found.faults) == 1
    assert found.faults[0].startswith(said)
    assert (found.keys, found.theme) == ({}, None)


def test_no_file_is_no_fault(config: Path) -> None:
    assert settings.read(config) == settings.Settings()
    config.mkdir()
    assert settings.read(config).faults == ("not read, the defaults are used: Is a directory",)


async def test_a_chosen_theme_is_kept_and_comments_stay(path: Path, run: str, config: Path) -> None:
    config.write_text('# mine\n[keys]\nrun.new = "w"  # for work\n')
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("ctrl+p")
        await pilot.pause()
        await pilot.press(*"theme")
        await app.workers.wait_for_complete()
        await press(pilot, "enter")
        await pilot.press(*"gruvbox")
        await app.workers.wait_for_complete()
        await press(pilot, "enter")
        await settle(pilot)
        assert app.theme == "gruvbox"
    assert config.read_text() == '# mine\n[keys]\nrun.new = "w"  # for work\n\n[ui]\ntheme = "gruvbox"\n'
    again = LocalsynthApp(path)
    async with again.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert again.theme == "gruvbox"


def test_a_theme_is_kept_where_there_was_no_file_or_behind_a_link(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.toml"
    settings.keep_theme(path, "nord")
    settings.keep_theme(path, "dracula")
    assert path.read_text() == '[ui]\ntheme = "dracula"\n'
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    path.chmod(0o600)
    settings.keep_theme(link, "nord")
    assert link.is_symlink()
    assert (path.read_text(), path.stat().st_mode & 0o777) == ('[ui]\ntheme = "nord"\n', 0o600)
    assert [entry.name for entry in path.parent.iterdir()] == ["config.toml"]


def test_a_theme_that_cannot_be_kept_is_told_and_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[keys")
    with pytest.raises(DataError, match="the theme is not kept in"):
        settings.keep_theme(path, "nord")
    assert path.read_text() == "[keys"


def test_the_command_lists_keys(config: Path) -> None:
    config.write_text('[keys]\nreview.accept = "w"\nreview.reject = "nope"\n')
    result = CliRunner().invoke(ui, ["--keys"], standalone_mode=False)
    line = next(line for line in result.stdout.splitlines() if line.startswith("review.accept "))
    assert " ".join(line.split()) == "review.accept w Keep this row, go to the next (default: a)"
    assert "[keys] review.reject" in result.stderr
    rows = json.loads(CliRunner().invoke(ui, ["--keys", "--json"]).stdout)
    found = {row["id"]: row for row in rows}
    assert found["review.accept"] == {
        "id": "review.accept", "keys": ["w"], "default": ["a"], "what": "Keep this row, go to the next",
    }  # fmt: skip
    assert found["app.quit"]["keys"] == ["q"]
    assert all(row["what"] for row in rows)
    assert CliRunner().invoke(ui, ["--json"]).exit_code == 2
