"""JSON as a stream of values with their line numbers: JSONL, an array, or objects one after another."""

from __future__ import annotations

import codecs
import json
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import IO

from localsynth.errors import DataError
from localsynth.importing.base import Unfit

_CHUNK = 1 << 20
_LARGEST = 64 << 20  # bytes of one line, characters of one element
_HEAD = 20  # lines that decide what a file is
_BLANK = " \t\r\n"
Value = tuple[int, object]  # line, and the value or an Unfit that says why there is none


def values(file: IO[bytes], name: str) -> Iterator[Value]:
    """Every value, in order; broken ones as Unfit. DataError when the file holds no JSON at all."""
    try:
        head = [line.strip() for line in islice(_lines(file), _HEAD)]
    except _ENDS as error:
        raise DataError(f"{name} cannot be read: {error}", "copy or download it again") from error
    file.seek(0)
    if head and head[0][:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise DataError(f"{name} is UTF-16", "save it as UTF-8")
    filled = [line.removeprefix(codecs.BOM_UTF8) for line in head if line.removeprefix(codecs.BOM_UTF8)]
    if not filled:
        raise DataError(f"{name} is empty", "name a file that has rows")
    if filled[0].startswith(b"["):
        return _stream(file, array=True)
    if any(line.startswith(b"{") and not isinstance(_parse(line), Unfit) for line in filled):
        return _jsonl(file)
    if not filled[0].startswith(b"{"):
        raise DataError(f"{name} is not JSON", "import reads JSON, JSONL, Parquet and .txt files, also as .gz")
    return _stream(file, array=False) if len(filled) > 1 and not filled[1].startswith(b"{") else _jsonl(file)


_ENDS = (EOFError, OSError, zlib.error)  # a truncated or damaged archive


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Lines of bounded length; of a longer one only the beginning, so that it fails to parse."""
    while line := file.readline(_LARGEST):
        yield line
        while len(line) == _LARGEST and not line.endswith(b"\n"):
            line = file.readline(_LARGEST)


def _jsonl(file: IO[bytes]) -> Iterator[Value]:
    number = 0
    try:
        for number, line in enumerate(_lines(file), start=1):
            if text := line.strip():
                yield number, _parse(text)
    except _ENDS as error:
        yield number + 1, Unfit(f"the file breaks off here: {error}")


def _parse(line: bytes) -> object:
    try:
        return json.loads(line.decode("utf-8-sig"), strict=False)  # raw tabs and escapes inside texts are common
    except UnicodeDecodeError as error:
        return Unfit(f"not UTF-8 at byte {error.start + 1}")
    except RecursionError:
        return Unfit("nested too deeply")
    except ValueError as error:
        return Unfit(f"broken JSON: {getattr(error, 'msg', error)}, column {getattr(error, 'colno', 1)}")


class _Text:
    """The text not yet consumed, read on as needed; memory is one element and one chunk."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self.buffer, self.position, self.line, self.ended = "", 0, 1, False

    def more(self) -> bool:
        """Read on; False at the end of the file."""
        self.buffer = self.buffer[self.position :]
        self.position = 0
        data = self._file.read(max(_CHUNK, len(self.buffer)))  # doubles: a large element is not scanned again and again
        self.ended = not data
        self.buffer += self._decode.decode(data, final=self.ended)
        return not self.ended

    def move(self, position: int) -> None:
        """Consume up to here."""
        self.line += self.buffer.count("\n", self.position, position)
        self.position = position

    def skip(self, characters: str) -> str:
        """Consume these characters; the next one after them, "" at the end."""
        while True:
            position = self.position
            while position < len(self.buffer) and self.buffer[position] in characters:
                position += 1
            self.move(position)
            if position < len(self.buffer):
                return self.buffer[position]
            if not self.more():
                return ""


def _stream(file: IO[bytes], *, array: bool) -> Iterator[Value]:
    """After a broken element nothing can be trusted: that one is named, and reading ends."""
    text = _Text(file)
    try:
        if array:
            text.skip(_BLANK)
            text.move(text.position + 1)
        while (mark := text.skip(_BLANK + ",")) != "]" or not array:
            if not mark:
                if array:
                    yield text.line, Unfit("the file breaks off inside its array")
                return
            line = text.line
            value = _element(text)
            yield line, value
            if isinstance(value, Unfit):
                return
    except UnicodeDecodeError:
        yield text.line, Unfit("not UTF-8; reading ends here")
    except _ENDS as error:
        yield text.line, Unfit(f"the file breaks off here: {error}")


def _element(text: _Text) -> object:
    decoder = json.JSONDecoder(strict=False)
    while True:
        try:
            value, end = decoder.raw_decode(text.buffer, text.position)
        except RecursionError:
            return Unfit("nested too deeply; reading ends here")
        except ValueError as error:
            place, reason = getattr(error, "pos", 0), getattr(error, "msg", str(error))
            # Only a fault at the end of what was read, or in a text that may go on, can be cured by reading on.
            hopeful = place > len(text.buffer) - 12 or reason.startswith("Unterminated")
            if hopeful and not text.ended and len(text.buffer) - text.position < _LARGEST:
                text.more()
                continue
            return Unfit(f"broken JSON: {reason}; reading ends here")
        text.move(end)
        return value
