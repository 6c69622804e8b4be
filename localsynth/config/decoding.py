"""Plain data to frozen dataclasses, checked key by key."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from localsynth.errors import PlanError

Prepare = Callable[[str, Any], Any]


def decode(kind: Any, value: Any, where: str = "", *, prepare: Prepare) -> Any:
    """`value` as `kind`: dataclass, tuple or mapping of one kind, Literal or scalar. `where` is the key, for messages.

    `prepare` is given every key and value that should be a list or a mapping, and may turn a shorthand into one.
    PlanError names the key and the nearest right one.
    """
    origin = get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return _decode_table(kind, value, where, prepare)
    if origin is tuple:
        inner = get_args(kind)[0]
        value = prepare(where, value)
        if not isinstance(value, list | tuple):
            raise _wrong(where, "a list", value)
        return tuple(decode(inner, item, f"{where}[{i}]", prepare=prepare) for i, item in enumerate(value))
    if origin is Mapping:
        inner = get_args(kind)[1]
        value = prepare(where, value)
        if not isinstance(value, Mapping):
            raise _wrong(where, "a table", value)
        return {str(k): decode(inner, item, f"{where}.{k}", prepare=prepare) for k, item in value.items()}
    if origin is Literal:
        if value not in get_args(kind):
            raise PlanError(f"{where} = {value!r} is not known", f"use one of: {', '.join(get_args(kind))}")
        return value
    return _decode_scalar(kind, value, where)


def _decode_scalar(kind: Any, value: Any, where: str) -> Any:
    if type(None) in get_args(kind):
        if value is None:
            return None
        kind = next(each for each in get_args(kind) if each is not type(None))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        wanted = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
        raise _wrong(where, wanted[kind], value)
    if kind is float and not math.isfinite(value):
        raise _wrong(where, "a finite number", value)
    return value


def _decode_table(kind: Any, value: Any, where: str, prepare: Prepare) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(where or "the plan", "a table", value)
    hints = get_type_hints(kind)
    for key in value:
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(hints)}"
            raise PlanError(f"unknown key {'.'.join(filter(None, (where, str(key))))!r} in the plan", advice)
    inner = {k: decode(hints[k], v, ".".join(filter(None, (where, k))), prepare=prepare) for k, v in value.items()}
    return kind(**inner)


def _wrong(where: str, wanted: str, value: Any) -> PlanError:
    return PlanError(f"{where} must be {wanted}, not {value!r}"[:300], "change it in the plan or on the command line")
