"""What an edit changed, word by word: [-taken out-] and {+put in+}, so that it reads without colour too."""

from __future__ import annotations

import difflib
import re

from textual.content import Content

from localsynth.printable import printable

_WORDS = 2000  # of one text; beyond that the comparison goes line by line
_TOKENS = re.compile(r"\s+|\w+|[^\w\s]")
_LINES = re.compile(r".*\n|.+")
_MOST = 20_000  # characters of one text


def changes(before: str, after: str) -> Content:
    """The edited text with what differs from the original."""
    before, after = before[:_MOST], after[:_MOST]
    old, new = _TOKENS.findall(before), _TOKENS.findall(after)
    if len(old) + len(new) > 2 * _WORDS:
        old, new = _LINES.findall(before), _LINES.findall(after)
    parts: list[str | tuple[str, str]] = []
    for kind, old_from, old_to, new_from, new_to in difflib.SequenceMatcher(
        None, old, new, autojunk=False
    ).get_opcodes():
        if kind == "equal":
            parts.append(printable("".join(old[old_from:old_to])))
            continue
        if old_to > old_from:
            parts.append((f"[-{printable(''.join(old[old_from:old_to]))}-]", "$text-error strike"))
        if new_to > new_from:
            parts.append((f"{{+{printable(''.join(new[new_from:new_to]))}+}}", "$text-success bold"))
    return Content.assemble(*parts)
