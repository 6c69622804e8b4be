"""A text in the user's own editor. The screen is given away meanwhile; whatever goes wrong changes nothing."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from textual.app import App, SuspendNotSupported

from localsynth.errors import LocalsynthError

_SET = "set it to yours, such as: export EDITOR=nano"


def edit_text(app: App[Any], text: str, suffix: str) -> str:
    """The text as it was left in $VISUAL or $EDITOR; `suffix`, such as ".toml", lets the editor colour it.

    Blocks until the editor is left. LocalsynthError: no editor, it failed, or the file came back empty or unreadable.
    """
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "")
    if not command:
        raise LocalsynthError("no editor is named: EDITOR is not set", _SET)
    with tempfile.TemporaryDirectory(prefix="localsynth-") as folder:
        file = Path(folder) / f"edit{suffix}"
        file.write_text(text, encoding="utf-8")
        _run(app, [*command, str(file)])
        try:
            found = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise LocalsynthError(f"what the editor left cannot be read: {error}", "nothing was changed") from None
    if not found.strip():
        raise LocalsynthError("the editor left an empty file", "nothing was changed")
    return found


def _run(app: App[Any], command: list[str]) -> None:
    try:
        with app.suspend():
            code = subprocess.run(command, check=False).returncode
    except SuspendNotSupported:
        raise LocalsynthError("an editor cannot be shown here", "use a terminal: localsynth ui") from None
    except OSError as error:
        raise LocalsynthError(f"the editor {command[0]!r} does not start: {error.strerror}", _SET) from None
    if code:
        raise LocalsynthError(f"{command[0]} ended with an error ({code})", "nothing was changed")
