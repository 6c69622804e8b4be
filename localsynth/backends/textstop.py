"""Text as it is written: bytes of tokens in, text that is safe to show out, up to the first stop text."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Callable, Sequence


class TextStream:
    """Decodes UTF-8 piece by piece and ends before the first stop text.

    `text` never holds a part of a stop text, nor half a character: what could still become either is held back until
    it is decided. Bytes that are no UTF-8 become U+FFFD; an unfinished character at the end is dropped.
    """

    __slots__ = ("_decode", "_held", "_parts", "_stops", "stopped_by")

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self._parts: list[str] = []
        self.stopped_by: str | None = None

    def feed(self, piece: bytes) -> str:
        """Add the bytes of a token; returns the text that has become safe. Sets `stopped_by` when a stop text is in."""
        new = self._decode(piece)
        if not self._stops:
            return self._keep(new)
        text = self._held + new
        at, stop = self._find(text)
        if stop is not None:
            self.stopped_by, self._held = stop, ""
            return self._keep(text[:at])
        hold = self._could_begin(text)
        self._held = text[len(text) - hold :]
        return self._keep(text[: len(text) - hold])

    def finish(self) -> str:
        """No more tokens: what was held back is text after all."""
        held, self._held = self._held, ""
        return self._keep(held)

    @property
    def text(self) -> str:
        """Everything that is safe so far."""
        return "".join(self._parts)

    def _keep(self, text: str) -> str:
        if text:
            self._parts.append(text)
        return text

    def _find(self, text: str) -> tuple[int, str | None]:
        found = [(at, -len(stop), stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if not found:
            return -1, None
        at, _, stop = min(found)
        return at, stop

    def _could_begin(self, text: str) -> int:
        """The length of the longest end of `text` that some stop text begins with."""
        longest = min(len(text), max(map(len, self._stops)) - 1)
        for length in range(longest, 0, -1):
            end = text[-length:]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0


def tell(listener: Callable[[str], None] | None, text: str) -> None:
    """Give new text to a listener, on the event loop's thread; one that fails is reported there and ends nothing."""
    if not text or listener is None:
        return
    try:
        listener(text)
    except Exception as error:
        context = {"message": "on_text failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
