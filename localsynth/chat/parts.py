"""What two machines must agree on before they share a job: the parts of a chat format, as plain data."""

from __future__ import annotations

from collections.abc import Mapping

from localsynth.chat.format import ChatFormat

# What a prompt is put together from and where a completion ends; hashes, notes and proofs may differ.
_TEXTS = ("bos", "pre_query", "post_query", "past_post_query", "between_turns", "end_of_turn")
_FACTS = ("think_open", "think_close", "opens_thinking", "system_turn")


def parts(fmt: ChatFormat) -> dict[str, object]:
    """The parts of a format as they are written into a packed job; JSON and back gives the same."""
    found: dict[str, object] = {name: getattr(fmt, name) for name in (*_TEXTS, *_FACTS)}
    return found | {
        "switches": dict(sorted(fmt.switches.items())),
        "stop_ids": sorted(fmt.stop_ids),
        "stop_texts": sorted(fmt.stop_texts),
    }


def differing(expected: Mapping[str, object], fmt: ChatFormat) -> list[str]:
    """The parts that are not as expected, each in words: what it is, and what it was at home."""
    found = parts(fmt)
    return [
        f"{name} is {found[name]!r} and was {expected.get(name)!r}"
        for name in found
        if found[name] != expected.get(name)
    ]
