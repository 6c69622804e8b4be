"""Copying: by a program of this desktop where one is there, otherwise by the terminal, which never says how it went."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping

_PATIENCE = 5.0  # seconds that such a program gets
_TERMINALS_TAKE = 74_000  # bytes; the limit of several terminals for what a program may put into the clipboard


def command(environment: Mapping[str, str] | None = None) -> list[str] | None:
    """The program that reaches the clipboard of the desktop in front of the user; None where there is none.

    Over SSH only a forwarded display counts: the desktop of the other machine is nobody's here.
    """
    known = os.environ if environment is None else environment
    remote = bool(known.get("SSH_CONNECTION") or known.get("SSH_TTY"))
    candidates: list[list[str]] = []
    if sys.platform == "darwin" and not remote:
        candidates.append(["pbcopy"])
    if known.get("WAYLAND_DISPLAY") and not remote:
        candidates.append(["wl-copy"])
    if known.get("DISPLAY"):
        candidates += [["xclip", "-selection", "clipboard"], ["xsel", "--clipboard", "--input"]]
    return next((each for each in candidates if shutil.which(each[0], path=known.get("PATH"))), None)


def copied(text: str) -> tuple[bool, str]:
    """Copy by a program after the terminal was sent the text too; whether it is known to be there, and what to say."""
    size = f"{len(text):,} character{'s' * (len(text) != 1)}"
    program = command()
    if program is None:
        return False, f"{size} sent to the terminal's clipboard; {_doubt(text)}"
    fault = _run(program, text)
    if fault is None:
        return True, f"Copied {size}."
    return False, f"{program[0]} failed: {fault}. {size} sent to the terminal's clipboard; {_doubt(text)}"


def _doubt(text: str) -> str:
    if len(text.encode("utf-8", "replace")) > _TERMINALS_TAKE:
        return "many terminals take less than that, so look before you rely on it"
    return "if it did not arrive, allow OSC 52 in its settings or select the text with shift and the mouse"


def _run(program: list[str], text: str) -> str | None:
    """What went wrong, None where nothing did."""
    # The programs of X and Wayland stay behind to serve the text and hold what they inherit: a pipe would never end.
    with tempfile.TemporaryFile() as errors:
        try:
            done = subprocess.run(
                program,
                input=text.encode("utf-8", "replace"),
                stdout=subprocess.DEVNULL,
                stderr=errors,
                timeout=_PATIENCE,
                check=False,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            return f"it did not answer within {_PATIENCE:g} s"
        except OSError as error:
            return str(error)
        if done.returncode == 0:
            return None
        errors.seek(0)
        said = errors.read(400).decode("utf-8", "replace").strip()
        return said or f"it ended with code {done.returncode}"
