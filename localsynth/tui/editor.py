"""A text in the user's own editor. The screen is given away meanwhile; whatever goes wrong changes nothing."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textual.app import App, SuspendNotSupported

from localsynth.errors import LocalsynthError

_SET = "set it to yours, such as: export EDITOR=nano"


class EmptyText(LocalsynthError):
    """The editor left nothing: what was to be edited is given up."""


def edit_text(app: App[Any], text: str, suffix: str) -> str:
    """The text as it was left in $VISUAL or $EDITOR; `suffix`, such as ".toml", lets the editor colour it.

    Blocks until the editor is left. LocalsynthError: no editor, it failed, there is no room for the file, or it came
    back unreadable; EmptyText where it came back empty.
    """
    command = _command()
    try:
        with tempfile.TemporaryDirectory(prefix="localsynth-") as folder:
            file = Path(folder) / f"edit{suffix}"
            file.write_text(text, encoding="utf-8")
            _run(app, [*command, str(file)])
            found = _read(file)
    except OSError as error:
        raise LocalsynthError(f"the text cannot be handed to the editor: {error}", "free some space") from None
    if not found.strip():
        raise EmptyText("the editor left an empty file", "nothing was changed")
    return found


def _command() -> list[str]:
    named = next(filter(None, (os.environ.get(name, "").strip() for name in ("VISUAL", "EDITOR"))), "")
    if not named:
        raise LocalsynthError("no editor is named: EDITOR is not set", _SET)
    try:
        return shlex.split(named)
    except ValueError as error:
        raise LocalsynthError(f"the editor {named!r} is no command: {error}", _SET) from None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LocalsynthError(f"what the editor left cannot be read: {error}", "nothing was changed") from None


def _run(app: App[Any], command: list[str]) -> None:
    try:
        with app.suspend(), _uninterrupted():
            code = subprocess.run(command, check=False).returncode
    except SuspendNotSupported:
        raise LocalsynthError("an editor cannot be shown here", "use a terminal: localsynth ui") from None
    except OSError as error:
        raise LocalsynthError(f"the editor {command[0]!r} does not start: {error.strerror}", _SET) from None
    if code:
        raise LocalsynthError(f"{command[0]} ended with an error ({code})", "nothing was changed")


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C is the editor's. A handler that does nothing: to ignore the signal would be inherited by the editor."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
