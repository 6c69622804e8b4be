"""Repairs that lose nothing a reader would miss: wrappings, labels, stray control characters.

Nothing is ever cut at a question mark or a line end. What cannot be repaired is left for the gate to reject.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Part = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The repaired text, and the ids of the rules that changed it, in the order in which they did."""

    text: str
    rules: tuple[str, ...]


# More tokens than this at an edge are a loop, which the gate rejects.
_EDGE_ROUNDS: Final = 4
_NEWLINES = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]{0,40}[ -/]{0,10}[@-~]|\][^\x07\x1b]{0,400}(?:\x07|\x1b\\)|[@-Z\\^_])")
# Joiners U+200C and U+200D stay: Persian, Indic scripts and emoji are written with them.
_INVISIBLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u2060\ufeff\ud800-\udfff\ufffe\uffff]")
_NEEDS_CLEANING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u200b\u2028\u2029\u2060\ufeff\ud800-\udfff\ufffe\uffff]")
_QUOTES: Final = ('""', "“”", "「」", "『』", "«»", "''", "‘’", "``")
_USER_LABEL = re.compile(
    r"(?:#{1,6}[ \t]*|\*\*)?"
    r"(?:user|human|question(?:[ \t]*\d{1,3})?|instructions?|prompt|用户|人类|问题|提问|指令|ユーザー|質問)"
    r"[ \t]*(?:\*\*[ \t]*[:：]|[:：][ \t]*\*\*|[:：])[ \t]*\n*",
    re.IGNORECASE,
)
_HEADING_LABEL = re.compile(
    r"#{1,6}[ \t]*(?:user|human|question|instructions?|prompt|问题|指令)[ \t]*\n+", re.IGNORECASE
)
_ASSISTANT_LABEL = re.compile(
    r"(?:\*\*)?(?:assistant|助手|アシスタント)[ \t]*(?:\*\*[ \t]*[:：]|[:：][ \t]*\*\*|[:：])[ \t]*\n*", re.IGNORECASE
)
# A second label at a line's start: the text is a filled-in form, whose first label belongs to it.
_FORM_LINE = re.compile(r"\n[ \t]*(?:[#*>-]+[ \t]*)?[^\W\d_][\w ]{0,24}\**[ \t]*[:：]")


def sanitize(text: str, part: Part = "user", control_strings: Iterable[str] = ()) -> Cleaned:
    """Repair one turn. `control_strings` are cut only where they stand at the very start or end."""
    rules: list[str] = []

    def changed(rule: str, new: str) -> None:
        nonlocal text
        if new != text:
            rules.append(rule)
            text = new

    if _NEEDS_CLEANING.search(text):
        changed("newlines", _NEWLINES.sub("\n", text))
        changed("escapes", _ESCAPES.sub("", text))
        changed("invisible", _INVISIBLE.sub("", text))
    changed("edges", _strip(text))
    changed("edge_control", _without_edge_control(text, control_strings))
    if part == "assistant":
        changed("label", _without_label(text, _ASSISTANT_LABEL))
        return Cleaned(text, tuple(rules))
    changed("label", _without_label(text, _USER_LABEL, _HEADING_LABEL))
    changed("wrapping", _unwrapped(text))
    return Cleaned(text, tuple(rules))


def _strip(text: str) -> str:
    """Outer blanks, but not the indentation of code that begins in its first line."""
    stripped = text.strip()
    first = text.lstrip("\n").split("\n", 1)[0] if text[:1].isspace() else ""
    indent = len(first) - len(first.lstrip(" \t"))
    if indent >= 2 and "\n" in stripped and re.search(r"\n[ \t]{2,}\S", stripped):
        return (
            " " * indent + stripped
            if first[:indent].isspace() and "\t" not in first[:indent]
            else first[:indent] + stripped
        )
    return stripped


def _without_edge_control(text: str, strings: Iterable[str]) -> str:
    """The text without control strings at its ends, such as a turn-end token that the engine printed."""
    named = [string for string in strings if string.strip()]
    for _ in range(_EDGE_ROUNDS):
        before = text
        for string in named:
            text = text.removeprefix(string).removesuffix(string)
        if text == before:
            break
        text = _strip(text)
    return text


def _without_label(text: str, *labels: re.Pattern[str]) -> str:
    for label in labels:
        found = label.match(text)
        if found is None:
            continue
        rest = text[found.end() :].strip()
        # Only a label when content follows, and not when the text is a form with labels of its own.
        if sum(map(str.isalnum, rest[:40])) >= 6 and not _FORM_LINE.search(text, found.end()):
            return rest
    return text


def _unwrapped(text: str) -> str:
    """The text without one pair of quotes, or bold marks, around the whole of it."""
    if text.startswith("**") and text.endswith("**") and len(text) > 8 and "*" not in text[2:-2]:
        return text[2:-2].strip()
    for left, right in _QUOTES:
        if text.startswith(left) and text.endswith(right) and len(text) > 4:
            inside = text[1:-1]
            if left not in inside and right not in inside and sum(map(str.isalnum, inside[:40])) >= 6:
                return inside.strip()
    # One half of a pair; after a digit it is a mark for inches.
    if text.count('"') == 1 and len(text) > 4:
        if text.startswith('"'):
            return text[1:].lstrip()
        if text.endswith('"') and not text[-2].isdigit():
            return text[:-1].rstrip()
    return text
