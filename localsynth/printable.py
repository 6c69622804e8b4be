"""Text from models and files made safe for a screen: no escape, no control character, no bidirectional trick."""

from __future__ import annotations

import re
import shutil
import unicodedata

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


def printable(text: str, limit: int | None = None) -> str:
    """`text` with every character that a terminal would obey, or nobody see, shown as U+FFFD; newlines and tabs stay.

    `limit`: characters; a longer text ends in an ellipsis.
    """
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    return _UNSAFE.sub("\ufffd", text)


def one_line(text: str, limit: int) -> str:
    """`printable` on one line."""
    return printable(" ".join(text[: 4 * limit].split()), limit)


def fit(text: str, width: int) -> str:
    """`one_line` that takes exactly `width` columns of a terminal: wide characters take two, combining ones none."""
    line = one_line(text, width + 1)
    if sum(map(_columns, line)) > width:
        used, kept = 1, []
        for character in line:
            used += _columns(character)
            if used > width:
                break
            kept.append(character)
        line = "".join(kept).rstrip() + "…"
    return line + " " * (width - sum(map(_columns, line)))


def terminal_width() -> int:
    """Columns of the terminal, or of COLUMNS; 100 where the output goes into a file or a pipe."""
    return shutil.get_terminal_size((100, 24)).columns


def _columns(character: str) -> int:
    if unicodedata.combining(character) or character in "\u200b\u200c\u200d\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
