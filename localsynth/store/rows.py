"""What the store takes besides the shared records, and what it gives back; all frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from localsynth.records import Candidate, Neighbour, Pair, Role, RunState, SampleState, Score, Turn

Verb = Literal["pause", "resume", "drain", "cancel", "slots"]
Verdict = Literal["accept", "reject", "undecided"]


@dataclass(frozen=True, slots=True)
class InstructionKey:
    """Marks a sample as admitted by the gate. `key`: 64-bit hash (0 to 2**64-1) of its normalised instruction."""

    sample: int
    key: int

    def __post_init__(self) -> None:
        if not 0 <= self.key < 1 << 64:
            raise ValueError(f"instruction key {self.key} is not an unsigned 64-bit number")


@dataclass(frozen=True, slots=True)
class EventRow:
    """One thing a run said. `id` and `at` (UTC, ISO 8601) are given by the store."""

    run: str
    kind: str
    data: Mapping[str, object] = field(default_factory=dict)
    at: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True)
class Control:
    """One thing a run was told. `done`: when the run took it, None while it waits."""

    id: int
    run: str
    verb: Verb
    argument: str | None
    created: str
    done: str | None


@dataclass(frozen=True, slots=True)
class Progress:
    """The latest word of a run on itself; overwritten, never history."""

    run: str
    at: str
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run. `number` counts from 1 and is what people type; times are UTC, ISO 8601."""

    id: str
    number: int
    name: str | None
    method: str
    backend: str
    model: str
    revision: str | None
    sha256: str | None
    template_hash: str | None
    plan: Mapping[str, object]
    seed: int
    target: int
    state: RunState
    versions: Mapping[str, object]
    created: str
    started: str | None
    heartbeat: str | None
    finished: str | None
    pid: int | None
    host: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class ShardRow:
    """One part of a run that was handed over: shard `shard` (from 1) of `shards` of the job with the digest `job`,
    which wants `total` rows, `target` of them from here.

    In the shard's own store `merged` is None and the run's row says how it goes; `expected` holds by role the chat
    formats that its models must have. Where it was merged into, the rest says where and with what it was made, as
    `RunRow` does; `merged` is when it was last merged, `events` the last event of it that was copied.
    """

    run: str
    shard: int
    shards: int
    job: str
    target: int
    total: int
    expected: Mapping[str, Any] = field(default_factory=dict)
    state: RunState = "created"
    host: str | None = None
    backend: str = ""
    model: str = ""
    revision: str | None = None
    sha256: str | None = None
    template_hash: str | None = None
    versions: Mapping[str, object] = field(default_factory=dict)
    started: str | None = None
    finished: str | None = None
    merged: str | None = None
    events: int = 0

    @property
    def whole(self) -> tuple[str, int, int]:
        """What all shards of one job have in common."""
        return self.job, self.shards, self.total

    @property
    def indices(self) -> range:
        """The indices that this shard may ask."""
        return range(self.shard - 1, 1 << 32, self.shards)


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """A stored verdict: append-only, the highest `id` of a sample wins. `batch`: the bulk action it is part of."""

    id: int
    sample: int
    verdict: Verdict
    note: str | None
    edits: Mapping[int, str]
    created: str
    tags: tuple[str, ...] = ()
    batch: str | None = None


@dataclass(frozen=True, slots=True)
class ThresholdRow:
    """One bound that was put on a score, or taken back: then `undoes` is the batch that no longer counts.

    What was set together is one `batch`. Both bounds None: from here on the score has no threshold.
    """

    id: int
    batch: int
    score: str
    low: float | None
    high: float | None
    source: str
    undoes: int | None
    created: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn as it is exported."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class SampleRow:
    """A sample with its verdict. Lists carry `turns` and the latest review; `Reader.sample` fills the rest.

    `kept`: done, no failing score (or a person accepted it) and not rejected by a person. `by` says whose word that
    is. `rule`: the first failing score, None when none fails. `fault`: which part of the row is damaged in the file.
    """

    id: int
    run: str
    index: int
    attempt: int
    state: SampleState
    operation: str
    parent: int | None
    error: str | None
    detail: Mapping[str, object]
    created: str
    updated: str
    kept: bool
    by: Literal["rule", "review"]
    rule: str | None
    turns: tuple[Turn, ...] = ()
    review: ReviewRow | None = None
    scores: tuple[Score, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    reviews: tuple[ReviewRow, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    pairs: tuple[Pair, ...] = ()
    fault: str | None = None

    @property
    def messages(self) -> tuple[Message, ...]:
        """The turns with the latest review's edits applied."""
        edits = self.review.edits if self.review else {}
        return tuple(Message(turn.role, edits.get(turn.position, turn.content)) for turn in self.turns)

    @property
    def instruction(self) -> str:
        """The first user turn, "" before there is one."""
        return next((message.content for message in self.messages if message.role == "user"), "")

    @property
    def response(self) -> str:
        """The first answer, "" before there is one."""
        return next((message.content for message in self.messages if message.role == "assistant"), "")


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """One row of the `dataset` view: what is kept, as it is exported. `answered`: the last turn is the model's."""

    sample: int
    run: str
    index: int
    attempt: int
    model: str | None
    answered: bool
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """Where a run's samples stand. kept + rejected = done.

    `by_rule` counts the rejected by their first failing score; "review" where only a person rejected.
    """

    kept: int = 0
    rejected: int = 0
    by_rule: Mapping[str, int] = field(default_factory=dict)
    asked: int = 0
    ready: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What a killed run left: samples whose latest attempt is not done.

    `highest`: the highest index stored, -1 when none; `missing`: indices below it that were never stored.
    """

    highest: int
    missing: tuple[int, ...]
    asked: tuple[SampleRow, ...]
    ready: tuple[SampleRow, ...]
    failed: tuple[SampleRow, ...]


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One file that was exported. `query`: which rows; `count`: how many."""

    id: int
    path: str
    format: str
    query: Mapping[str, object]
    count: int
    sha256: str
    created: str
