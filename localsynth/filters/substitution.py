"""Find and replace in texts, by words or by regular expression.

A regular expression can take for ever on a few characters, and nothing in Python can stop it: `python -m` of this
module does the work in a process of its own, which can be ended.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from dataclasses import asdict, dataclass
from typing import IO, Final

from localsynth.errors import DataError

LONGEST: Final = 200_000  # characters of a text; longer ones, and results five times that, are left as they are
_WORDS = re.compile(r"\w+|\s+|[^\w\s]")
_WINDOW = 400  # words of a change; longer ones take minutes to find, and are nowhere else


@dataclass(frozen=True, slots=True)
class Substitution:
    """Every `find` becomes `put`. `regex`: find is a regular expression, and \\1 in `put` its first group."""

    find: str
    put: str
    regex: bool = False
    ignore_case: bool = False

    def compiled(self) -> re.Pattern[str]:
        """DataError when there is nothing to find, or the expression or the replacement is none."""
        if not self.find:
            raise DataError("there is nothing to find", "type the text that shall be replaced")
        try:
            pattern = re.compile(
                self.find if self.regex else re.escape(self.find), re.IGNORECASE if self.ignore_case else 0
            )
            _stand_in(pattern).sub(self._put(), "")
        except (re.error, IndexError, OverflowError, RecursionError) as error:
            raise DataError(
                f"this regular expression is wrong: {error}", "correct it, or switch regular expressions off"
            ) from None
        return pattern

    def apply(self, pattern: re.Pattern[str], text: str) -> str | None:
        """The text with every occurrence replaced; None where that changes nothing, or it is too long."""
        if len(text) > LONGEST:
            return None
        changed = pattern.sub(self._put(), text)
        return None if changed == text or len(changed) > 5 * LONGEST else changed

    def _put(self) -> str:
        return self.put if self.regex else self.put.replace("\\", r"\\")


def _stand_in(pattern: re.Pattern[str]) -> re.Pattern[str]:
    """The same groups with nothing in them: a replacement can be tried without running the expression."""
    names = {group: name for name, group in pattern.groupindex.items()}
    groups = range(1, pattern.groups + 1)
    return re.compile("".join(f"(?P<{names[group]}>)" if group in names else "()" for group in groups))


def derive(before: str, after: str) -> tuple[str, str] | None:
    """The smallest find and replace by which an edit can be made again elsewhere; None where there is none.

    Whole words, with a neighbour where only blanks would be left to find. Of several changes the first; none where it
    is long.
    """
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    same = next((place for place, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), None)
    skip = min(len(old), len(new)) if same is None else same
    cut = skip + _WINDOW
    matcher = difflib.SequenceMatcher(None, old[skip:cut], new[skip:cut])
    for kind, *places in matcher.get_opcodes():
        if kind != "equal":
            start, end, low, high = (skip + place for place in places)
            if end == cut < len(old) or high == cut < len(new):
                return None
            while start and not "".join(old[start:end]).strip():
                start, low = start - 1, low - 1
            while end < len(old) and not "".join(old[start:end]).strip():
                end, high = end + 1, high + 1
            find = "".join(old[start:end])
            return (find, "".join(new[low:high])) if find else None
    return None


def serve(source: IO[str], sink: IO[str]) -> None:
    """Read a substitution, then lists of texts, one JSON value a line; write what becomes of each list."""
    wanted = Substitution(**json.loads(source.readline()))
    pattern = wanted.compiled()
    for line in source:
        sink.write(json.dumps([wanted.apply(pattern, text) for text in json.loads(line)]) + "\n")
        sink.flush()


def described(substitution: Substitution) -> str:
    """The first line that `serve` reads."""
    return json.dumps(asdict(substitution)) + "\n"


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)
