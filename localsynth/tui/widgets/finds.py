"""The words of a search, marked where they stand in a text."""

from __future__ import annotations

import re
from functools import cache
from itertools import islice

from textual.content import Content

_STYLE = "reverse bold"  # told apart without colour too
_MOST = 500  # marks in one text
_LETTER = r"[^\W_\u2e80-\U0003ffff]"  # of a script that parts words; each sign of the others is found by itself


def marked(text: str | Content, search: str) -> Content:
    """The text with what `search` finds in it marked: whole words, words* by their beginning, "words that follow"."""
    content = Content(text) if isinstance(text, str) else text
    wanted = _pattern(search)
    if wanted is not None:
        for found in islice(wanted.finditer(content.plain), _MOST):
            content = content.stylize(_STYLE, *found.span())
    return content


@cache
def _pattern(search: str) -> re.Pattern[str] | None:
    terms = []
    for quoted, word in re.findall(r'"([^"]*)"|([^\s"]+)', search):
        words = re.findall(r"[^\W_]+", quoted or word)
        if words:
            end = "" if word.endswith("*") else f"(?!{_LETTER})"
            terms.append(rf"(?<!{_LETTER})" + r"[\W_]+".join(map(re.escape, words)) + end)
    return re.compile("|".join(terms), re.IGNORECASE) if terms else None
