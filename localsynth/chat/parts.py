"""What two machines must agree on before they share a job: the parts of a chat format, as plain data."""

from __future__ import annotations

from collections.abc import Mapping

from localsynth.chat.format import ChatFormat
from localsynth.records import SpecialTokens

# What a prompt is put together from and where a completion ends; hashes, notes and proofs may differ.
_TEXTS = ("bos", "pre_query", "post_query", "past_post_query", "between_turns", "end_of_turn")
_FACTS = ("think_open", "think_close", "opens_thinking", "system_turn")


def parts(fmt: ChatFormat, tokens: SpecialTokens) -> dict[str, object]:
    """The parts of a format as they are written into a packed job; JSON and back gives the same.

    `stop_ids` are those of the tokens that the format itself writes. Which others of the vocabulary end a text is told
    differently by each kind of model file, so that two true copies of one model would not agree on them.
    """
    found: dict[str, object] = {name: getattr(fmt, name) for name in (*_TEXTS, *_FACTS)}
    written = "".join(getattr(fmt, name) for name in _TEXTS)
    return found | {
        "switches": dict(sorted(fmt.switches.items())),
        "stop_ids": sorted(
            number for text, number in tokens.control.items() if number in fmt.stop_ids and text in written
        ),
        "stop_texts": sorted(fmt.stop_texts),
    }


def differing(expected: Mapping[str, object], fmt: ChatFormat, tokens: SpecialTokens) -> list[str]:
    """The parts that are not as expected, each in words: what it is, and what it was at home."""
    found = parts(fmt, tokens)
    return [
        f"{name} is {found[name]!r} and was {expected.get(name)!r}"
        for name in found
        if found[name] != expected.get(name)
    ]
