"""Thresholds: bounds on the value of a score, and which of the stored scores hold that value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

# A rule that rejects names its score after the fault; the value is the one that the passing score has.
_FAULTS: Final[Mapping[str, tuple[str, ...]]] = {
    "length": ("too_short", "too_long"),
    "repetition": ("loop",),
    "symbol_ratio": ("gibberish",),
}
_MEASURES: Final = {fault: measure for measure, faults in _FAULTS.items() for fault in faults}
# Of these faults only the shares, above 0 and below 1, are that value; others count loops or broken characters.
_SHARES: Final = frozenset({"repetition", "symbol_ratio"})
_SIMILARITY: Final = "near_duplicate"
CHARACTERS: Final = "char-2-4"  # the encoder whose limit depends on the length of each text, so that none fits all


@dataclass(frozen=True, slots=True)
class Threshold:
    """A value passes from `low` to `high`, both included; None is no bound."""

    low: float | None = None
    high: float | None = None

    @property
    def open(self) -> bool:
        """Whether everything passes."""
        return self.low is None and self.high is None

    def passes(self, value: float) -> bool:
        """Whether a value lies within."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def reason(self, value: float) -> str:
        """Why a value passes or not, as it stands in the store."""
        if self.low is not None and value < self.low:
            return f"{value:.6g} is below {self.low:.6g}"
        if self.high is not None and value > self.high:
            return f"{value:.6g} is above {self.high:.6g}"
        return f"{value:.6g} is within the threshold ({self.words()})"

    def words(self) -> str:
        """As people say it."""
        if self.low is not None and self.high is not None:
            return f"{self.low:.6g} to {self.high:.6g}"
        if self.low is not None:
            return f"at least {self.low:.6g}"
        return f"at most {self.high:.6g}" if self.high is not None else "none"


@dataclass(frozen=True, slots=True)
class Measure:
    """What a threshold is about. The score `name` holds its values, and so do `faults`, where rules rejected.

    `share`: of the faults only values above 0 and below 1. `similarity`: only rows that a sentence encoder compared.
    """

    name: str
    faults: tuple[str, ...] = ()
    share: bool = False
    similarity: bool = False


def measure(name: str) -> Measure:
    """The measure of this name, such as `instruction.length`."""
    part, _, rule = name.rpartition(".")
    faults = tuple(f"{part}.{fault}" if part else fault for fault in _FAULTS.get(rule, ()))
    return Measure(name, faults, rule in _SHARES, rule == _SIMILARITY)


def measure_of(score: str, value: float | None) -> str:
    """The name of the measure whose value a score holds; its own name where it holds no other's."""
    part, _, rule = score.rpartition(".")
    found = _MEASURES.get(rule)
    if found is None or value is None or (found in _SHARES and not 0 < value < 1):
        return score
    return f"{part}.{found}" if part else found


def flattened(value: Any) -> Any:
    """`[thresholds.instruction] length = {...}` and `"instruction.length" = {...}` mean the same."""
    if not isinstance(value, Mapping):
        return value
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner and not inner.keys() & {"low", "high"} and _tables(inner):
            flat |= {f"{key}.{name}": bounds for name, bounds in flattened(inner).items()}
        else:
            flat[str(key)] = inner
    return flat


def _tables(value: Mapping[str, Any]) -> bool:
    return all(isinstance(inner, Mapping) for inner in value.values())
