"""Characters that a terminal would obey or that nobody sees, spelled by their number, and back: for exact editing."""

from __future__ import annotations

import re

from localsynth.printable import printable

_SPELLED = re.compile("⟦U\\+([0-9A-F]{2,6})⟧")


def spelled(text: str) -> str:
    """The text with every such character as ⟦U+202E⟧, and what looks so already too: `unspelled` gives it back."""
    if printable(text) == text and "⟦U+" not in text:
        return text
    text = text.replace("⟦U+", "⟦U+27E6⟧U+")
    return "".join(f"⟦U+{ord(each):02X}⟧" if printable(each) != each else each for each in text)


def unspelled(text: str) -> str:
    """What `spelled` was given."""
    return _SPELLED.sub(lambda found: chr(int(found[1], 16)) if int(found[1], 16) < 0x110000 else found[0], text)
