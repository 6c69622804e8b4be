"""What an edit changed, word by word: [-taken out-] and {+put in+}, so that it reads without colour too."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import takewhile

from textual.content import Content

from localsynth.printable import printable

_MOST = 20_000  # characters of one text
_PARTS = 400  # of one text, words, sentences or lines; the time grows with the third power of their number
_TOKENS = re.compile(r"\s+|\w+|[^\w\s]")
_SENTENCES = re.compile(r"[^.!?。！？\n]+[.!?。！？\n]*|[.!?。！？\n]+")
_LINES = re.compile(r".*\n|.+")

Change = tuple[str, int, int, int, int]


@lru_cache(maxsize=64)
def changes(before: str, after: str) -> Content:
    """The edited text with what differs from the original; takes up to half a second.

    By words where few enough differ, else by sentences or lines, else all from the first to the last difference.
    """
    before, after = before[:_MOST], after[:_MOST]
    for pattern in (_TOKENS, _SENTENCES, _LINES):
        old, new = pattern.findall(before), pattern.findall(after)
        start, end = _common(old, new)
        few = max(len(old), len(new)) - start - end <= _PARTS
        if few:
            break
    parts: list[str | tuple[str, str]] = []
    for kind, old_from, old_to, new_from, new_to in _compared(old, new, start, end, few=few):
        if kind == "equal":
            parts.append(printable("".join(old[old_from:old_to])))
            continue
        if old_to > old_from:
            parts.append((f"[-{printable(''.join(old[old_from:old_to]))}-]", "$text-error strike"))
        if new_to > new_from:
            parts.append((f"{{+{printable(''.join(new[new_from:new_to]))}+}}", "$text-success bold"))
    return Content.assemble(*parts)


def _common(old: list[str], new: list[str]) -> tuple[int, int]:
    """How many parts are the same at the beginning, and how many of the others at the end."""
    start = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
    ends = zip(reversed(old[start:]), reversed(new[start:]), strict=False)
    return start, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ends))


def _compared(old: list[str], new: list[str], start: int, end: int, *, few: bool) -> Iterator[Change]:
    old_end, new_end = len(old) - end, len(new) - end
    yield "equal", 0, start, 0, start
    if few:
        matcher = difflib.SequenceMatcher(None, old[start:old_end], new[start:new_end], autojunk=False)
        for kind, *places in matcher.get_opcodes():
            old_from, old_to, new_from, new_to = (start + place for place in places)
            yield kind, old_from, old_to, new_from, new_to
    else:
        yield "replace", start, old_end, start, new_end
    yield "equal", old_end, len(old), new_end, len(new)
