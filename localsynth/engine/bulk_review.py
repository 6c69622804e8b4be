"""Reviewing many samples at once: counted and shown before, done in chunks, cancelled or taken back at any time."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from localsynth.engine.substituting import Substituter
from localsynth.errors import LocalsynthError
from localsynth.filters.substitution import Substitution
from localsynth.records import Role
from localsynth.store.bulk import BulkAction, BulkReviews, Reach
from localsynth.store.conditions import Query
from localsynth.store.edits import BulkEdits, TurnText
from localsynth.store.listing import sample_range
from localsynth.store.queries import Reader

CHUNK: Final = 2000  # samples of one transaction: some hundredths of a second, in which nobody else can write
_TEXTS: Final = 200  # samples whose texts are looked through at a time
_EXAMPLES: Final = 3


@dataclass(slots=True)
class Work:
    """How far a job is: written by its thread, read by the screen, which may also cancel it."""

    done: int = 0
    total: int = 0
    found: int = 0
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Stop before the next chunk; what is written stays."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether it was told to stop."""
        return self._cancelled.is_set()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a bulk job did: samples changed and left alone, of how many; `fault`: what stopped it."""

    reach: Reach
    done: int
    total: int
    fault: LocalsynthError | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is left to do."""
        return self.done == self.total


@dataclass(frozen=True, slots=True)
class Plan:
    """The samples that a bulk action is about, and what it would do to them; what is said later is newer than it."""

    ids: array[int]
    action: BulkAction
    reach: Reach


@dataclass(frozen=True, slots=True)
class Replaced:
    """One turn before and after."""

    sample: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Found:
    """The samples in which a substitution changes something, and the first of the changes."""

    ids: array[int]
    examples: tuple[Replaced, ...]


def gather(store: Path, query: Query, work: Work) -> array[int]:
    """The ids of all samples of a query, eight bytes each: what is counted is what is acted on."""
    ids: array[int] = array("q")
    with Reader.open(store) as reader:
        for sample in reader.query_ids(query):
            ids.append(sample)
            if not len(ids) % CHUNK:
                work.done = len(ids)
                if work.cancelled:
                    break
    return ids


def survey(store: Path, ids: array[int], action: BulkAction, work: Work) -> Plan:
    """What an action would do now."""
    reach, work.done, work.total = Reach(), 0, len(ids)
    with BulkReviews.open(store) as writer:
        action = replace(action, since=writer.latest())
        for chunk in _chunks(ids, CHUNK):
            if work.cancelled:
                break
            reach += writer.reach(chunk, action)
            work.done += len(chunk)
    return Plan(ids, action, reach)


def carry_out(store: Path, ids: array[int], action: BulkAction, batch: str, work: Work) -> Outcome:
    """Say the same about all samples. What has been said already is passed over, so that it can be begun again."""
    with BulkReviews.open(store) as writer:
        return _in_chunks(ids, CHUNK, work, lambda chunk: writer.apply(chunk, action, batch))


def take_back(store: Path, batch: str, work: Work) -> Outcome:
    """Undo a batch, or what is left of it."""
    with BulkReviews.open(store) as writer:
        ids = array("q", writer.standing(batch))
        return _in_chunks(ids, CHUNK, work, lambda chunk: writer.undo(batch, chunk))


def last_batch(store: Path, run: str) -> str | None:
    """The newest batch of a run that can be taken back."""
    with BulkReviews.open(store) as writer:
        return writer.last_batch(sample_range(run))


def standing(store: Path, batch: str) -> int:
    """How many samples taking a batch back would be about."""
    with BulkReviews.open(store) as writer:
        return len(writer.standing(batch))


def find(store: Path, ids: array[int], wanted: Substitution, roles: Sequence[Role], work: Work) -> Found:
    """Look through the texts. DataError where the substitution is wrong or takes too long."""
    found: array[int] = array("q")
    examples: list[Replaced] = []
    work.done, work.found, work.total = 0, 0, len(ids)
    with BulkEdits.open(store) as reader, Substituter(wanted, lambda: work.cancelled) as substituter:
        for chunk in _chunks(ids, _TEXTS):
            changes = _changes(reader.texts(chunk, roles), substituter)
            if changes is None or work.cancelled:
                break
            found.extend(sorted({turn.sample for turn in changes}))
            wanted_examples = list(changes.items())[: _EXAMPLES - len(examples)]
            examples += [Replaced(turn.sample, turn.content, after) for turn, after in wanted_examples]
            work.done, work.found = work.done + len(chunk), len(found)
    return Found(found, tuple(examples))


def replace_in(
    store: Path, ids: array[int], wanted: Substitution, roles: Sequence[Role], *, batch: str, work: Work
) -> Outcome:
    """Replace in all these samples, as edits of one batch."""
    with BulkEdits.open(store) as writer, Substituter(wanted, lambda: work.cancelled) as substituter:

        def step(chunk: Sequence[int]) -> Reach | None:
            changes = _changes(writer.texts(chunk, roles), substituter)
            return writer.edit(changes, batch) if changes else None if changes is None else Reach()

        return _in_chunks(ids, _TEXTS, work, step)


def told(error: Exception) -> LocalsynthError:
    """What stopped a job, in words; anything but an error that was foreseen is a fault of our own."""
    if isinstance(error, LocalsynthError):
        return error
    return LocalsynthError(f"{type(error).__name__}: {error}", "this is a fault of localsynth: please report")


def _changes(turns: Sequence[TurnText], substituter: Substituter) -> dict[TurnText, str] | None:
    """The new contents; None when it was cancelled."""
    texts = substituter.apply([turn.content for turn in turns])
    if texts is None:
        return None
    return {turn: after for turn, after in zip(turns, texts, strict=True) if after is not None}


def _in_chunks(ids: array[int], size: int, work: Work, step: Callable[[Sequence[int]], Reach | None]) -> Outcome:
    """All chunks, each written whole; an error or a cancelled job ends with what is written by then."""
    reach, work.done, work.total = Reach(), 0, len(ids)
    for chunk in _chunks(ids, size):
        if work.cancelled:
            break
        try:
            more = step(chunk)
        except Exception as error:
            return Outcome(reach, work.done, work.total, told(error))
        if more is None:
            break
        reach += more
        work.done += len(chunk)
    return Outcome(reach, work.done, work.total)


def _chunks(ids: array[int], size: int) -> Iterator[array[int]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
