"""Control texts of a format: which there are, which end a turn, which carry thinking."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

# Shapes that are control texts wherever they stand in a rendered prompt.
_CERTAIN = re.compile(
    r"<[|｜][^\s<>]{1,60}>|<[^\s<>|｜]{1,60}[|｜]>|〈\|[^〉\s]{1,40}\|〉|\[\|[^\s\[\]]{1,40}\|\]|<</?[A-Z]{2,20}>>|\[/?[A-Z]{2,20}(?:_[A-Z]{2,20})?\]"
    r"|\]~!?b[\[\]]|\[e~\[|\[gMASK\]|<sop>|</?s>|<(?:start|end)_of_[a-z]+>|<[be]os>|<(?:extra_id|reserved|SPECIAL)_\d+>"
)
# Between the texts of two turns every tag is one.
_TAG = re.compile(r"</?[^\s<>]{1,60}>")
_THINK = re.compile(r"</?(?:\w+:)?(?:think|thinking|thought|reasoning)(?::\w+)?>")
# Ways of marking thinking that are not one tag each; the opening is followed by thinking, the closing by the answer.
_THINK_PAIRS = (
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|open|>think<|sep|>", "<|close|>think<|sep|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
    ("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),
    ("Here is my thought process:", "Here is my response:"),
)


class Markers:
    """Finds control texts: those of one vocabulary, and those that are recognised by their shape."""

    def __init__(self, control: frozenset[str]) -> None:
        known = [re.escape(text) for text in sorted(control, key=len, reverse=True) if text.strip()]
        self._anywhere = re.compile("|".join([*known, _CERTAIN.pattern]))
        self._between = re.compile("|".join([*known, _CERTAIN.pattern, _TAG.pattern]))

    def anywhere(self, text: str) -> list[str]:
        """The control texts in any part of a prompt, in their order."""
        return self._anywhere.findall(text)

    def between(self, text: str) -> list[str]:
        """The control texts in what a template writes between the texts of two turns, where every tag is one."""
        return self._between.findall(text)

    def residue(self, text: str) -> str:
        """What is left of a prompt without its control texts."""
        return self._anywhere.sub("", text).strip()

    def first_end(self, text: str, plain: Iterable[str]) -> int:
        """Where the first control text or plain role marker of `text` ends; its whole length where there is none."""
        match = self._between.search(text)
        ends = [match.end()] if match else []
        ends += [text.index(marker) + len(marker) for marker in plain if marker in text]
        return min(ends, default=len(text))

    def plain(self, text: str, closing: frozenset[str]) -> list[str]:
        """Role markers written as ordinary text, such as `USER:` or `### Instruction`.

        They count where no control text names the role: those in `closing` end a text and name none. A few
        characters before the first control text (`/nothink`) are the template's own too.
        """
        pieces = self._between.split(text)
        if not set(self.between(text)) <= closing:
            lead = pieces[0].strip()
            return [lead] if 1 < len(lead) <= 40 and not lead.isalpha() else []
        lines = [line.strip() for piece in pieces for line in piece.splitlines()]
        named = [line for line in lines if len(line) <= 40 and (line.endswith(":") or line.startswith("#"))]
        return [line.rstrip(":") if line.startswith("#") else line for line in named]


@functools.lru_cache(maxsize=8)
def markers_of(control: frozenset[str]) -> Markers:
    """The markers of one vocabulary, built once."""
    return Markers(control)


def think_pair(written: str, source: str) -> tuple[str, str] | None:
    """The texts around thinking: as `written` in prompts, or else as the template's source knows them."""
    for text in (written, source):
        for marker in _THINK.findall(text):
            name = marker.strip("</>")
            return f"<{name}>", f"</{name}>"
        for opening, closing in _THINK_PAIRS:
            if opening.strip() in text and (closing in text or closing in source):
                return opening, closing
    return None


def opens(prompt: str, pair: tuple[str, str] | None) -> bool:
    """Whether thinking is open at the end of `prompt`."""
    if pair is None:
        return False
    return prompt.rfind(pair[0].strip()) > prompt.rfind(pair[1])
