"""Merging the shards of a job into one store. Killed at any moment and run again, it ends the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from localsynth.config import plan_from
from localsynth.errors import DataError, PlanError, StoreError
from localsynth.handoff.duplicates import EXACT, NEAR, Duplicates, Place
from localsynth.store.comparing import Comparing
from localsynth.store.merging import Copied, Merging
from localsynth.store.queries import Reader
from localsynth.store.shards import ShardFile, check_rows, read_shard

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ShardReport:
    """One shard's store: its rows that were new, here before, and here with other words."""

    shard: int
    path: str
    state: str
    new: int
    known: int
    conflicts: int
    conflicting: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class MergeReport:
    """Where the run stands after a merge. Counts are of the whole run, not of this merge alone.

    `missing`: shards that were never merged; `unfinished`: merged ones that have not reached their target. `by_rule`
    counts rejected rows by their first failing score, `exact` and `near` the duplicates that the merge found.
    """

    run: int
    id: str
    target: int
    kept: int
    rejected: int
    exact: int
    near: int
    conflicts: int
    by_rule: Mapping[str, int] = field(default_factory=dict)
    shards: tuple[ShardReport, ...] = ()
    missing: tuple[int, ...] = ()
    unfinished: tuple[int, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether every shard is here and finished."""
        return not self.missing and not self.unfinished


def read_shards(main: Path, paths: Sequence[Path]) -> list[ShardFile]:
    """The shards of one job, by number. DataError: no shard, a spoilt one, of different jobs, or the main store."""
    files = []
    for path in paths:
        if main.exists() and path.exists() and path.samefile(main):
            raise DataError(f"{main} cannot be merged into itself", "name the shards' stores after the main one")
        if not path.exists():
            raise StoreError(f"there is no store at {path}", "name the stores in the packed folder's `shards`")
        files.append(read_shard(path))
        try:
            plan_from(files[-1].run.plan)
        except PlanError as error:
            raise DataError(
                f"{path} has a plan that this localsynth does not read: {error.message}",
                "merge with the localsynth that made the shard",
            ) from None
    for file in files:
        if file.shard.whole != files[0].shard.whole:
            raise StoreError(
                f"{file.path} is a shard of another plan than {files[0].path}", "merge each job's shards by themselves"
            )
    check_rows(main, files)
    return sorted(files, key=lambda file: (file.shard.shard, str(file.path)))


def merge(main: Path, files: Sequence[ShardFile], told: Told) -> MergeReport:
    """Copy what is new, then judge duplicates anew. `files` as `read_shards` gives them; the caller holds the store."""
    with Merging(main) as merging:
        merging.begin(files)
        counts = [Copied() for _ in files]
        for counts in merging.copy(files):
            told(f"copied {sum(count.new for count in counts)} new rows")
        told("comparing the shards")
        run = files[0].run.id
        comparing = Comparing(main, merging.connection)
        Duplicates(comparing, _places(main)).find(lambda: None)
        merging.end(run)
        while merging.index_text():
            told("filling the search index")
    return _report(main, files, counts)


def _places(main: Path) -> list[Place]:
    with Reader.open(main) as reader:
        found = []
        for row in reader.runs():
            shards = reader.shards(row.id)
            gate = plan_from(row.plan).gate if shards else None
            found.append(Place(row.id, row.number, shards[0].shards if shards else 0, gate))
    return found


def _report(main: Path, files: Sequence[ShardFile], counts: Sequence[Copied]) -> MergeReport:
    with Reader.open(main) as reader:
        row, shards = reader.run(files[0].run.id), reader.shards(files[0].run.id)
        found = reader.counts(row.id)
    there = {part.shard for part in shards}
    return MergeReport(
        run=row.number,
        id=row.id,
        target=row.target,
        kept=found.kept,
        rejected=found.rejected,
        exact=found.by_rule.get(EXACT, 0),
        near=found.by_rule.get(NEAR, 0),
        conflicts=sum(count.conflicts for count in counts),
        by_rule=found.by_rule,
        shards=tuple(
            ShardReport(f.shard.shard, str(f.path), f.run.state, c.new, c.known, c.conflicts, c.conflicting)
            for f, c in zip(files, counts, strict=True)
        ),
        missing=tuple(number for number in range(1, shards[0].shards + 1) if number not in there),
        unfinished=tuple(part.shard for part in shards if part.state != "finished"),
    )
