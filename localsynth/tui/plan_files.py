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
    return "" if text.strip() and is_file(named(text)) else "there is no such file"


def wrong_target(text: str) -> str:
    """What is wrong with a path to write to, "" for nothing."""
    path = named(text)
    if not text.strip() or is_folder(path):
        return "type the name of a file"
    return "" if is_folder(path.absolute().parent) else "that folder is not there"


# pathlib raises for names that are too long, folders that may not be read, and ~NAME of nobody: all of these are met
# while a name is being typed.


def named(text: str) -> Path:
    """The path that was typed; ~ is the home folder."""
    return Path(os.path.expanduser(text.strip()))  # noqa: PTH111


def is_file(path: Path) -> bool:
    """Whether a file can be seen there."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """Whether a folder can be seen there."""
    return os.path.isdir(path)  # noqa: PTH112
