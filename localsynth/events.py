"""What a run says about itself: durable events, and the one progress row that is overwritten.

Everything here becomes JSON in the store, which is the only channel between a run and whoever watches it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The models are loaded. `resumed` counts the rows that an earlier process left behind."""

    models: Mapping[str, str]
    slots: int
    pid: int
    resumed: int = 0


@dataclass(frozen=True, slots=True)
class WaveDecided:
    """The gate has decided samples `first` to `last`: how many passed, how many each rule rejected."""

    first: int
    last: int
    passed: int
    rejected: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Retried:
    """A request failed and is tried again after `wait` seconds."""

    index: int
    error: str
    wait: float


@dataclass(frozen=True, slots=True)
class Saturated:
    """Of the last `window` instructions, `share` were duplicates: this prompt, or this temperature, is used up."""

    window: int
    share: float


@dataclass(frozen=True, slots=True)
class Draining:
    """Nothing new is admitted; what is in flight is finished."""

    reason: str


@dataclass(frozen=True, slots=True)
class Paused:
    """Nothing new is started until the run is resumed. `reason`: "" when a person paused it."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Continued:
    """A pause is over."""


@dataclass(frozen=True, slots=True)
class KeptAwake:
    """Whether the machine is kept from sleeping while the run lasts, and by which tool: "" for none."""

    by: str


@dataclass(frozen=True, slots=True)
class Slept:
    """The machine slept, or the process was stopped, for so many seconds; the run went on where it was."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Pace:
    """Totals since the run began, said ever more rarely: what lies between two of them is how it went meanwhile.

    `seconds` at work, of all processes together; `slot_seconds`: the time that each slot was in use, summed up.
    `compared` instructions reached the corpus rules, which found `duplicates` of them to be duplicates.
    """

    seconds: float = 0.0
    kept: int = 0
    asked: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    tokens: int = 0
    tokens_saved: int = 0
    slots: int = 0
    slot_seconds: float = 0.0
    compared: int = 0
    duplicates: int = 0


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The process leaves. `state` is the run's state; `reason` says why it is not "finished"."""

    state: str
    kept: int
    reason: str = ""


Event = (
    RunStarted | WaveDecided | Retried | Saturated | Draining | Paused | Continued | KeptAwake | Slept | Pace | RunEnded
)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands, written at most four times a second. Times are seconds, rates are per second.

    `eta_low`, `eta_high`: the range in which the rest will be done, None while too little is known.
    `tokens_saved`: answer tokens that were not generated because the gate rejected the instruction.
    `duplicate_rate`: share of duplicates among the last instructions that reached the corpus rules.
    `latest`: ids of the samples that were kept last, the newest last. `pace`: what a Pace would say now.
    """

    state: str
    kept: int
    target: int
    asked: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    failed: int = 0
    answering: int = 0
    waiting: int = 0
    slots: int = 0
    slots_used: int = 0
    tokens: int = 0
    tokens_per_second: float = 0.0
    tokens_saved: int = 0
    duplicate_rate: float | None = None
    elapsed: float = 0.0
    eta_low: float | None = None
    eta_high: float | None = None
    live: str = ""
    last_instruction: str = ""
    last_response: str = ""
    note: str = ""
    latest: tuple[int, ...] = ()
    pace: Pace | None = None
