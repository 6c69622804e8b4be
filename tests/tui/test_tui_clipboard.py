"""Copying: which program is taken, and what is said when nobody can know how it went."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from textual.widgets import Input, Static
from tui_stage import notices, press, settle

from localsynth.tui import clipboard
from localsynth.tui.app import LocalsynthApp


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH; no desktop is there."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(clipboard, "_PATIENCE", 60.0)  # a busy machine starts programs slowly
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    return folder


def put(folder: Path, name: str, script: str) -> Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def test_the_program_of_the_desktop_in_front_of_the_user(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pbcopy", "wl-copy", "xsel"):
        put(programs, name, "")
    path = {"PATH": str(programs)}
    assert clipboard.command(path) is None
    assert clipboard.command(path | {"DISPLAY": ":0"}) == ["xsel", "--clipboard", "--input"]
    put(programs, "xclip", "")
    assert clipboard.command(path | {"DISPLAY": ":0"}) == ["xclip", "-selection", "clipboard"]
    assert clipboard.command(path | {"DISPLAY": ":0", "WAYLAND_DISPLAY": "w"}) == ["wl-copy"]
    far = path | {"SSH_CONNECTION": "1.2.3.4", "WAYLAND_DISPLAY": "w"}
    assert clipboard.command(far) is None
    assert clipboard.command(far | {"DISPLAY": "localhost:10.0"}) == ["xclip", "-selection", "clipboard"]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert clipboard.command(path) == ["pbcopy"]
    assert clipboard.command(far) is None


def test_what_a_program_took_is_copied(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    # It stays behind and holds what it inherited, as the real one does.
    put(programs, "xclip", f'/bin/cat > "{tmp_path}/taken"; /bin/sleep 5 &')
    assert clipboard.copied("过拟合 \ud800") == (True, "Copied 5 characters.")
    assert (tmp_path / "taken").read_text() == "过拟合 ?"


@pytest.mark.parametrize(
    ("script", "reason"),
    [("echo 'no display' >&2; exit 1", "xclip failed: no display."), ("exit 3", "xclip failed: it ended with code 3.")],
)
def test_a_program_that_fails_is_told(
    programs: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    put(programs, "xclip", script)
    sure, said = clipboard.copied("x")
    assert not sure
    assert said.startswith(reason)
    assert "1 character sent to the terminal's clipboard" in said


def test_a_program_that_hangs_or_cannot_run_is_told(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(clipboard, "_PATIENCE", 0.05)
    put(programs, "xclip", "exec /bin/sleep 30")
    assert "xclip failed: it did not answer within 0.05 s" in clipboard.copied("x")[1]
    put(programs, "xclip", "").write_text("no program")
    assert "xclip failed: [Errno 8]" in clipboard.copied("x")[1]


def test_the_terminal_alone_is_not_sure(programs: Path) -> None:
    sure, said = clipboard.copied("two words")
    assert not sure
    assert said.startswith("9 characters sent to the terminal's clipboard; if it did not arrive, allow OSC 52")
    assert "many terminals take less than that" in clipboard.copied("x" * 80_000)[1]


async def test_y_copies_what_has_the_focus(path: Path, run: str, programs: Path) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "y")
        assert app.clipboard.split("\t")[:3] == ["1", "finished", "7/7"]
        assert any("sent to the terminal's clipboard" in notice for notice in notices(app))
        await press(pilot, "4", "tab", "y")
        assert "What is overfitting, and how is it avoided?" in app.clipboard
        assert "A model that fits noise." in app.clipboard
        await press(pilot, "slash", "y")
        assert app.screen.query_one("#search", Input).value == "y"


async def test_the_palette_copies_out_of_a_field_too(path: Path, run: str, programs: Path) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "4", "slash", *"kyoto", "ctrl+p")
        await pilot.press(*"copy")
        await app.workers.wait_for_complete()
        await pilot.pause()
        await press(pilot, "enter")
        assert app.clipboard == "kyoto"


async def test_selected_text_goes_before_the_focus_and_nothing_is_said_as_nothing(
    path: Path, run: str, programs: Path
) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await app.screen.mount(note := Static("a note of [three] words", markup=False))
        await pilot.pause()
        note.text_select_all()
        await press(pilot, "y")
        assert app.clipboard == "a note of [three] words"
        app.copy_to_clipboard(" \n")
        await settle(pilot)
        assert "There is nothing to copy here." in notices(app)
        assert app.clipboard == "a note of [three] words"
