"""The turns of a row as one text for an editor, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from localsynth.errors import DataError
from localsynth.store import SampleRow
from localsynth.tui.spelling import spelled, unspelled

_SIGN = "%"


def write(row: SampleRow) -> str:
    """All turns with a line of its own before each: position and role."""
    messages = row.messages
    sign = _sign([message.content for message in messages])
    parts = [
        f"{sign} turn {turn.position}: {turn.role} {sign}\n{spelled(message.content)}\n"
        for turn, message in zip(row.turns, messages, strict=True)
    ]
    return "".join(parts)


def read(row: SampleRow, text: str) -> dict[int, str]:
    """The texts by position that differ from the model's own. DataError: a line between turns is gone or changed."""
    sign = _sign([message.content for message in row.messages])
    lines = re.compile(f"^{sign} turn (\\d+): \\w+ {sign}[ \t]*\r?\n", re.MULTILINE)
    found = list(lines.finditer(text))
    if [int(each[1]) for each in found] != [turn.position for turn in row.turns] or text[: found[0].start()].strip():
        raise DataError(
            f"the lines that begin with {sign} must stay as they are", "E opens what you wrote again: put them back"
        )
    ends = [*(each.start() for each in found[1:]), len(text)]
    texts = {int(each[1]): text[each.end() : end].removesuffix("\n") for each, end in zip(found, ends, strict=True)}
    return edits(row, {position: unspelled(each) for position, each in texts.items()})


def edits(row: SampleRow, texts: Mapping[int, str]) -> dict[int, str]:
    """What of these texts is stored: those that are not the model's own."""
    own = {turn.position: turn.content for turn in row.turns}
    return {position: text for position, text in texts.items() if text != own[position]}


def _sign(texts: Sequence[str]) -> str:
    """One that no line of the texts begins with."""
    sign = _SIGN * 3
    while any(re.search(f"^{sign}", text, re.MULTILINE) for text in texts):
        sign += _SIGN
    return sign
