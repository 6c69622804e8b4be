"""Between records and rows: plain functions, one pair per table that is read back."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from localsynth.records import Sampling, Turn

_SURROGATE = re.compile("[\ud800-\udfff]")
TURN_COLUMNS = (
    "sample, position, role, content, raw, rules, thinking, model, sampling, finish_reason, seed, prompt_tokens, "
    "completion_tokens, logprob, duration"
)


def now() -> str:
    """UTC, ISO 8601, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def text(value: str) -> str:
    """What a TEXT column can hold: lone surrogates (no UTF-8 form) become U+FFFD; NUL and all else stays."""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", value)
    return value


def optional(value: str | None) -> str | None:
    """`text`, or None."""
    return None if value is None else text(value)


def dumps(value: Mapping[str, object]) -> str:
    """JSON that a person can read in the table; what JSON does not know is written as its text."""
    return text(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)) if value else "{}"


@lru_cache(maxsize=256)
def sampling_json(sampling: Sampling) -> str:
    """A run uses a handful of samplings for all its turns."""
    return json.dumps({name: getattr(sampling, name) for name in Sampling.__slots__}, ensure_ascii=True)


@lru_cache(maxsize=256)
def read_sampling(value: str) -> Sampling:
    """Keys that this version does not know are left out."""
    known = {name: part for name, part in json.loads(value).items() if name in Sampling.__slots__}
    if "avoid_first" in known:
        known["avoid_first"] = tuple(known["avoid_first"])
    return Sampling(**known)


def signed(key: int) -> int:
    """SQLite's integers are signed."""
    return key - (1 << 64) if key >= 1 << 63 else key


def unsigned(key: int) -> int:
    """The number that `signed` was given."""
    return key + (1 << 64) if key < 0 else key


def digest(*parts: str) -> int:
    """A signed 64-bit digest of texts."""
    joined = "\x00".join(parts).encode(errors="surrogatepass")
    return signed(int.from_bytes(hashlib.blake2b(joined, digest_size=8).digest(), "big"))


def write_turn(turn: Turn) -> tuple[object, ...]:
    """`raw` is left out where it equals the content: most turns are stored once."""
    content, raw = text(turn.content), text(turn.raw)
    return (
        turn.sample,
        turn.position,
        turn.role,
        content,
        None if raw == content else raw,
        json.dumps(turn.rules) if turn.rules else "[]",
        optional(turn.thinking),
        optional(turn.model),
        sampling_json(turn.sampling) if turn.sampling else None,
        turn.finish_reason,
        turn.seed,
        turn.prompt_tokens,
        turn.completion_tokens,
        turn.logprob,
        turn.duration,
    )


def read_turn(row: tuple[Any, ...]) -> Turn:
    """From TURN_COLUMNS."""
    raw = row[3] if row[4] is None else row[4]
    rules = tuple(json.loads(row[5])) if row[5] != "[]" else ()
    return Turn(*[*row[:4], raw, rules, *row[6:8], read_sampling(row[8]) if row[8] else None, *row[9:]])
