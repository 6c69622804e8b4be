"""Text from models and files made safe for a screen: no escape, no control character, no bidirectional trick."""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def printable(text: str, limit: int | None = None) -> str:
    """`text` with every character that a terminal would obey shown as U+FFFD; newlines and tabs stay.

    `limit`: characters; a longer text ends in an ellipsis.
    """
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    return _UNSAFE.sub("\ufffd", text)


def one_line(text: str, limit: int) -> str:
    """`printable` on one line."""
    return printable(" ".join(text[: 4 * limit].split()), limit)
