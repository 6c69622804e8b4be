"""Which script and language a text is in: enough to choose length limits and to see that a wanted language is absent.

The language guess uses scripts and the commonest function words only; it says None rather than guess wildly.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

# Longer texts are judged by their two ends: the cost of a rule must not grow with a pasted megabyte.
WINDOW_CHARACTERS: Final = 4000

_ASCII_LETTERS = bytes(range(ord("A"), ord("Z") + 1)) + bytes(range(ord("a"), ord("z") + 1))
_DIGITS = b"0123456789"
_BLANKS = b" \t\n\r\v\f"
_ASCII_RUN = re.compile(r"[\x00-\x7f]+")
# Their blocks also hold letters: fullwidth and ideographic punctuation must not count as kana or Latin.
_EAST_ASIAN_MARKS = re.compile(r"[　-〿！-／：-＠［-｀｛-･]+")


def _script_table() -> bytes:
    """One script letter for each high byte of a UTF-16 code unit; surrogates (mostly emoji) belong to none."""
    table = bytearray(b"?" * 256)
    spans = {
        "l": [(0x00, 0x02), (0x1E, 0x1E), (0xFF, 0xFF)],
        "g": [(0x03, 0x03), (0x1F, 0x1F)],
        "c": [(0x04, 0x04)],
        "b": [(0x05, 0x05)],
        "a": [(0x06, 0x06), (0xFB, 0xFD)],
        "d": [(0x09, 0x0D)],
        "t": [(0x0E, 0x0E), (0x10, 0x10), (0x17, 0x17)],
        "k": [(0x30, 0x30)],
        "h": [(0x34, 0x9F), (0xF9, 0xFA)],
        "o": [(0x11, 0x11), (0x31, 0x31), (0xAC, 0xD7)],
    }
    for letter, ranges in spans.items():
        for first, last in ranges:
            table[first : last + 1] = letter.encode() * (last - first + 1)
    return bytes(table)


_SCRIPTS = _script_table()


@dataclass(frozen=True, slots=True)
class Profile:
    """How lengths are counted for a kind of script, and the shortest and longest instruction that makes sense."""

    name: str
    unit: str
    min_length: int
    max_length: int
    max_answer: int


WORDS: Final = Profile("words", "words", 3, 2_000, 8_000)
# Five with its full stop is a whole request in Chinese (写求职信。).
CHARACTERS: Final = Profile("characters", "characters", 5, 6_000, 24_000)


class Shape(NamedTuple):
    """Character counts of a text (of its two ends where it is long): `symbols` is what is no letter, digit or blank."""

    letters: int
    digits: int
    blanks: int
    symbols: int
    latin: int
    han: int
    kana: int
    hangul: int
    thai: int
    cyrillic: int
    arabic: int
    hebrew: int
    greek: int
    indic: int
    profile: Profile

    @property
    def visible(self) -> int:
        """Characters that are not blank."""
        return self.letters + self.digits + self.symbols

    @property
    def symbol_ratio(self) -> float:
        """Share of symbols among the visible characters, 0 to 1."""
        return self.symbols / self.visible if self.visible else 0.0


def measure(text: str) -> Shape:
    """Count the characters of `text` by kind and choose its profile."""
    text = window(text)
    size = len(text)
    plain = text.encode("ascii", "ignore")
    latin = len(plain) - len(plain.translate(None, _ASCII_LETTERS))
    digits = len(plain) - len(plain.translate(None, _DIGITS))
    blanks = len(plain) - len(plain.translate(None, _BLANKS))
    counts = dict.fromkeys("lgcbatkhod", 0)
    if len(plain) != size:
        rest = _EAST_ASIAN_MARKS.sub("", _ASCII_RUN.sub("", text))
        kinds = rest.encode("utf-16-le", "surrogatepass")[1::2].translate(_SCRIPTS)
        for kind in counts:
            counts[kind] = kinds.count(kind.encode())
        latin += counts["l"]
        blanks += text.count("　") + text.count("\xa0")
    letters = latin + sum(counts.values()) - counts["l"]
    spaceless = counts["h"] + counts["k"] + counts["o"] + counts["t"]
    # One Han character says about as much as three Latin letters, so code inside a Chinese question never outvotes it.
    profile = CHARACTERS if spaceless * 3 > letters - spaceless else WORDS
    return Shape(
        letters=letters,
        digits=digits,
        blanks=blanks,
        symbols=max(0, size - letters - digits - blanks),
        latin=latin,
        han=counts["h"],
        kana=counts["k"],
        hangul=counts["o"],
        thai=counts["t"],
        cyrillic=counts["c"],
        arabic=counts["a"],
        hebrew=counts["b"],
        greek=counts["g"],
        indic=counts["d"],
        profile=profile,
    )


def window(text: str) -> str:
    """The text itself, or the two ends of a long one."""
    if len(text) <= WINDOW_CHARACTERS:
        return text
    half = WINDOW_CHARACTERS // 2
    return text[:half] + text[-half:]


_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
# Words longer than the limit do not have to be counted exactly, only to be known as too many.
_COUNTED_CHARACTERS = 100_000


def length_of(text: str, shape: Shape) -> int:
    """Length in the unit of the text's profile: words, or visible characters where words are not spaced."""
    if shape.profile is WORDS:
        # Blank-separated pieces are counted for prose; a short formula such as "2x+3=7" holds more words than blanks.
        pieces = len(text.split(None, WORDS.max_answer + 1))
        return pieces if pieces > 3 * WORDS.min_length else sum(1 for _ in _WORD.finditer(text[:_COUNTED_CHARACTERS]))
    if len(text) > WINDOW_CHARACTERS:
        return len(text)
    return shape.visible


# Function words that are frequent in one language and rare or absent in the others of this list.
_FUNCTION_WORDS: Final = {
    line.split()[0]: frozenset(line.split()[1:])
    for line in """\
en the and of to is in that what how for you with are can this your write which from would
es el los las que del una por con para cómo qué es y su más puede está son como cuál
fr le les des du une est et que pour dans qui vous avec sur comment quelle quel pas ce au
de der die das und ist ein eine nicht zu den von mit für wie auf dem ich sich was sie
pt o os as que do da uma não para com em um por como é dos mais você são qual
it il gli che di una per con è non come sono del della nel alla qual più cosa questo le
nl de het een van en is dat niet hoe voor met zijn op wat aan ik je wordt ook deze
pl i w na nie jest się do jak co z to że są dla czy jaki jakie od przez oraz
sv och att det är en som på för med av inte den hur vad jag du till ett kan om
tr bir ve bu için ile ne nasıl da de mi çok olan gibi daha hangi olarak nedir var
vi của là và có cho các một không được trong như thế nào với những người này để hãy
id yang dan di untuk dengan dari ini itu adalah apa bagaimana pada dalam tidak saya anda""".splitlines()
}
_LANGUAGES_OF: Final = {
    word: tuple(code for code, words in _FUNCTION_WORDS.items() if word in words)
    for word in frozenset().union(*_FUNCTION_WORDS.values())
}
_PUNCTUATION = re.compile(r"[^\w\s]+")
_SCRIPT_OF: Final[dict[str, str]] = {
    "zh": "han", "ja": "kana", "ko": "hangul", "th": "thai", "lo": "thai", "km": "thai", "my": "thai",
    "ru": "cyrillic", "uk": "cyrillic", "bg": "cyrillic", "sr": "cyrillic",
    "ar": "arabic", "fa": "arabic", "ur": "arabic", "he": "hebrew", "el": "greek",
    "hi": "indic", "bn": "indic", "ta": "indic", "te": "indic", "mr": "indic",
}  # fmt: skip
_SCRIPT_DEFAULT: Final = {
    "han": "zh", "kana": "ja", "hangul": "ko", "thai": "th", "cyrillic": "ru", "arabic": "ar", "hebrew": "he",
    "greek": "el", "indic": "hi",
}  # fmt: skip


def guess_language(text: str, shape: Shape | None = None) -> str | None:
    """ISO 639-1 code of the main language, or None when there is too little to tell.

    Japanese is Han with kana; Cyrillic, Arabic and Indic scripts give their most spoken language.
    """
    shape = shape or measure(text)
    east = shape.han + shape.kana
    if shape.profile is CHARACTERS or east * 3 > shape.latin:
        if east >= max(shape.hangul, shape.thai) and east:
            return "ja" if shape.kana * 10 > east else "zh"
        return "ko" if shape.hangul >= shape.thai else "th"
    for script in ("cyrillic", "arabic", "hebrew", "greek", "indic"):
        if getattr(shape, script) > shape.latin:
            return _SCRIPT_DEFAULT[script]
    hits = _function_words(text)
    if not hits:
        return None
    ranked = sorted(hits.items(), key=lambda item: -item[1])
    best, second = ranked[0], ranked[1] if len(ranked) > 1 else ("", 0)
    return best[0] if best[1] >= 2 and best[1] > second[1] else None


def lacks_language(text: str, wanted: str, shape: Shape | None = None) -> str | None:
    """The language found instead when `wanted` (such as "en" or "zh-CN") is clearly absent, else None.

    A question that quotes another language, or holds code, is not a mismatch.
    """
    shape = shape or measure(text)
    code = wanted.lower().replace("_", "-").split("-")[0]
    script = _SCRIPT_OF.get(code, "latin" if code in _FUNCTION_WORDS else None)
    if script is None or shape.letters < 4:
        return None
    found = guess_language(text, shape)
    if script != "latin":
        share = getattr(shape, script) + (shape.han if code == "ja" and shape.kana else 0)
        # A tenth of the letters, or a handful of Han: enough to be the frame around quoted text or code.
        present = share * 10 >= shape.letters or (share >= 6 and script in {"han", "kana"})
        if code == "zh" and found == "ja":
            present = False
        return None if present else (found or "another script")
    if shape.latin * 10 < (shape.letters - shape.latin) * 3:
        return found or "another script"
    if found in _FUNCTION_WORDS and found != code:
        hits = _function_words(text)
        return found if hits[found] >= 3 and hits.get(code, 0) * 3 <= hits[found] else None
    return None


def _function_words(text: str) -> dict[str, int]:
    hits: dict[str, int] = {}
    for word in _PUNCTUATION.sub(" ", window(text).lower()).split():
        for code in _LANGUAGES_OF.get(word, ()):
            hits[code] = hits.get(code, 0) + 1
    return hits
