"""Reads the parts of a format from conversations of marked texts, rendered and cut."""

from __future__ import annotations

from dataclasses import dataclass

from localsynth.chat.markers import Markers
from localsynth.chat.template import Script, Turns
from localsynth.errors import TemplateRefused

MARKED = ("quokkafirst", "narwhalfirst", "quokkasecond", "narwhalsecond", "quokkathird")


@dataclass(frozen=True)
class Parts:
    """What a template writes around the texts of `MARKED`, from several renderings that agree."""

    pre: str
    post: str
    past: str
    between: str
    last: str
    closing: str
    moved: bool


def read_parts(script: Script, system: str = "") -> Parts:
    user, answer, again, reply, third = MARKED
    turns = [("user", user), ("assistant", answer), ("user", again), ("assistant", reply), ("user", third)]
    pre, post = _cut(script.render(turns[:1]), turns[:1])
    pre_2, past, between, post_2 = _cut(script.render(turns[:3]), turns[:3])
    pre_3, past_3, between_3, past_4, between_4, post_3 = _cut(script.render(turns), turns)
    pre_4, past_5, between_5, last, closing = _cut(script.render(turns[:4], prompt=False), turns[:4])
    moved = system.strip() not in pre_3
    same = (
        ("what stands before the first turn", (pre, pre_2, pre_3, pre_4)),
        ("the start of an earlier answer", (past, past_3, past_4, past_5)),
        ("the start of a later user turn", (between, between_3, between_4, between_5)),
        ("the start of the next answer", (post, post_2, post_3)),
    )
    for name, values in same:
        other = next((value for value in values if value != values[0]), None)
        if other is not None and not moved:
            raise TemplateRefused(f"{name} changes as the conversation grows: {values[0]!r:.60} becomes {other!r:.60}")
    if not post.strip():
        raise TemplateRefused("the template writes nothing between a user's text and the answer")
    return Parts(pre, post, past, between, last, closing, moved)


def _cut(text: str, turns: Turns) -> list[str]:
    """What stands before, between and after the texts of `turns`, each of which must be there once and in order."""
    pieces = []
    for role, marked in turns:
        before, found, text = text.partition(marked)
        if not found:
            raise TemplateRefused(f"the template leaves out or moves the text of an {role} turn")
        pieces.append(before)
    for role, marked in turns:
        if any(marked in piece for piece in (*pieces, text)):
            raise TemplateRefused(f"the template writes the text of one {role} turn twice")
    return [*pieces, text]


def has_system_turn(parts: Parts, markers: Markers) -> bool:
    """Whether more text stands before the first user turn than before later ones, or a system header without text."""
    pre, between = markers.residue(parts.pre), markers.residue(parts.between)
    shared = 0
    while shared < min(len(pre), len(between)) and pre[-1 - shared] == between[-1 - shared]:
        shared += 1
    empty = any("system" in mark.lower() for mark in markers.anywhere(parts.pre))
    return empty or bool(pre[: len(pre) - shared].strip())
