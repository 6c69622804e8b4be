"""Plans in files: read as they are, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from localsynth.errors import PlanError


def read(path: Path) -> str:
    """The text of a plan. PlanError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise PlanError(f"{path} cannot be read: {reason}", "check the path") from None


def write(path: Path, text: str) -> None:
    """Replace the file. PlanError when it cannot be written; then the old one is still there."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise PlanError(f"{path} cannot be written: {reason}", "name another file, in a folder that is there") from None


def wrong_source(text: str) -> str:
    """What is wrong with a path to read from, "" for nothing."""
    path = Path(text.strip()).expanduser()
    return "" if text.strip() and path.is_file() else "there is no such file"


def wrong_target(text: str) -> str:
    """What is wrong with a path to write to, "" for nothing."""
    path = Path(text.strip()).expanduser()
    if not text.strip() or path.is_dir():
        return "type the name of a file"
    return "" if path.absolute().parent.is_dir() else "that folder is not there"
