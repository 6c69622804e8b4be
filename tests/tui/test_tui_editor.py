"""A text in the user's editor, and that nothing is changed when that goes wrong."""

from __future__ import annotations

import shlex
import signal
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from localsynth.errors import LocalsynthError
from localsynth.tui.editor import edit_text

APP = SimpleNamespace(suspend=nullcontext)
WRITES = "import sys; open(sys.argv[1], 'a', encoding='utf-8').write({!r})"


def python(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


def test_the_text_comes_back_as_it_was_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "false")
    monkeypatch.setenv("VISUAL", python(WRITES.format("过拟合\n")))
    assert edit_text(APP, "first\n", ".toml") == "first\n过拟合\n"


@pytest.mark.parametrize(
    ("editor", "said"),
    [
        (None, "EDITOR is not set"),
        (" ", "EDITOR is not set"),
        ("vim -c 'set tw=0", "is no command: No closing quotation"),
        ("no-such-editor-here", "does not start"),
        (python("raise SystemExit(3)"), r"ended with an error \(3\)"),
        (python("import sys; open(sys.argv[1], 'w').close()"), "empty file"),
        (python("import sys; open(sys.argv[1], 'wb').write(bytes([255, 254, 0]))"), "cannot be read"),
        (python("import os, sys; os.unlink(sys.argv[1])"), "cannot be read"),
    ],
)
def test_what_goes_wrong_is_said(monkeypatch: pytest.MonkeyPatch, editor: str | None, said: str) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)
    if editor is not None:
        monkeypatch.setenv("EDITOR", editor)
    with pytest.raises(LocalsynthError, match=said) as caught:
        edit_text(APP, "text", ".md")
    assert caught.value.hint


def test_blanks_in_visual_are_no_editor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", " ")
    monkeypatch.setenv("EDITOR", python(WRITES.format("more\n")))
    assert edit_text(APP, "first\n", ".md") == "first\nmore\n"


@pytest.mark.parametrize("full", ["tempfile.TemporaryDirectory", "pathlib.Path.write_text"])
def test_no_room_for_the_file_is_said(monkeypatch: pytest.MonkeyPatch, full: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("VISUAL", "true")
    monkeypatch.setattr(full, refuse)
    with pytest.raises(LocalsynthError, match="No space left") as caught:
        edit_text(APP, "text", ".md")
    assert caught.value.hint


def test_ctrl_c_is_the_editors(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    asks = "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    monkeypatch.setenv("VISUAL", python(f"import os, signal; {asks}; os.kill(os.getppid(), signal.SIGINT)"))
    assert edit_text(APP, "text", ".md") == "text"
    assert signal.getsignal(signal.SIGINT) is before
