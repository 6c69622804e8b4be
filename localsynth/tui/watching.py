"""What the screens show of runs, read from the store. Nothing here knows a widget; all of it runs on worker threads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localsynth.config import plan_from
from localsynth.engine import launch
from localsynth.engine.pacing import pace_from
from localsynth.engine.saturation import saturation
from localsynth.errors import PlanError, StoreError
from localsynth.events import Pace, Progress
from localsynth.store import Counts, EventRow, Reader, RunRow, SampleRow
from localsynth.tui.history import History, added

LIVE = frozenset({"starting", "running", "paused", "draining"})
_TAIL = 50  # events kept for the screen
_PAIRS = 8
_Mark = tuple[RunRow, str]  # a run's row, and when something was last merged into the run
_SILENT = "It left no word: it was killed, the memory ran out, or the machine went off."


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as it stands. `state` is the true one, with "died", "starting" and "draining" beside the stored ones.

    `trouble`: what is known of a run that died, failed or never came up; it may quote other programs.
    """

    row: RunRow
    state: str
    progress: Progress
    trouble: str = ""

    @property
    def live(self) -> bool:
        """Whether a process is at work on it."""
        return self.state in LIVE

    @property
    def rate(self) -> float:
        """Tokens a second: of the last seconds while it is live, of the whole last process otherwise."""
        progress = self.progress
        if self.live:
            return progress.tokens_per_second
        return progress.tokens / progress.elapsed if progress.elapsed > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Watched:
    """One run with all that is shown of it. `events`: the last ones, oldest first; `pairs`: kept last, newest first.

    `advice`: what to do where most of what is asked was asked before, "" otherwise.
    """

    view: RunView
    history: History
    events: tuple[EventRow, ...]
    pairs: tuple[SampleRow, ...]
    advice: str = ""


@dataclass(frozen=True, slots=True)
class _Told:
    """What a run has told of its pace: by shard, up to the event `last`."""

    run: str = ""
    last: int = 0
    paces: Mapping[object, tuple[Pace, ...]] = field(default_factory=dict)
    history: History = field(default_factory=History)


@dataclass(slots=True)
class Watcher:
    """Reads runs again and again, for one thread and those that nobody waits for any more: what is kept between two
    looks is only ever replaced whole. What cannot change any more is read only once.

    A store that was there and is gone raises StoreError; one that is not there yet has no runs.
    """

    store: Path
    _seen: bool = False
    _still: dict[str, tuple[_Mark, RunView]] = field(default_factory=dict)
    _counted: dict[str, tuple[_Mark, Counts]] = field(default_factory=dict)
    _told: _Told = field(default_factory=_Told)
    _pairs: tuple[object, tuple[SampleRow, ...]] = (None, ())

    def runs(self, starting: Mapping[str, str]) -> list[RunView]:
        """All runs, the newest first; none where there is no store yet.

        `starting`: runs whose process is there, with the time at which it was started.
        """
        if not self._there():
            return []
        at_work = launch.at_work(self.store)
        with Reader.open(self.store) as reader:
            merged = reader.merged()
            return [
                self._known(reader, (row, merged.get(row.id, "")), at_work, starting) for row in reversed(reader.runs())
            ]

    def run(self, name: str | None, starting: Mapping[str, str]) -> RunView | None:
        """One run, the newest without a name; None where there is none yet. NotFound for a wrong name."""
        watched = self.watch(name, starting)
        return watched.view if watched else None

    def watch(self, name: str | None, starting: Mapping[str, str]) -> Watched | None:
        """The same with its history, its last events and its last pairs."""
        if not self._there(expected=name is not None):
            return None
        at_work = launch.at_work(self.store)
        with Reader.open(self.store) as reader:
            if name is None and not reader.runs():
                return None
            row = reader.run(name)
            run = row.id
            view = self._view(reader, (row, reader.merged().get(run, "")), at_work, starting)
            history = self._read_history(reader, run).until(view.progress.pace)
            events = tuple(reader.last_events(run, _TAIL, but="Pace"))
            return Watched(view, history, events, self._read_pairs(reader, view), _advice(view))

    def _there(self, *, expected: bool = False) -> bool:
        if self.store.exists():
            self._seen = True
        elif self._seen or expected:
            raise StoreError(
                f"{self.store} is gone: it was deleted, moved or renamed",
                "put it back and this goes on, or leave with q and name another: `localsynth ui --store FILE`",
            )
        return self._seen

    def _known(self, reader: Reader, mark: _Mark, at_work: str, starting: Mapping[str, str]) -> RunView:
        """The view of a run that is over stays as it is for as long as its row does and nothing is merged into it."""
        row = mark[0]
        known = self._still.get(row.id)
        if known is not None and known[0] == mark and row.id not in starting:
            return known[1]
        view = self._view(reader, mark, at_work, starting)
        if row.state in {"finished", "stopped", "failed"} and row.id not in starting:
            self._still[row.id] = mark, view
        return view

    def _read_history(self, reader: Reader, run: str) -> History:
        """All paces once, then those that were added; each shard of a merged run counts for itself."""
        told = self._told if self._told.run == run else _Told(run)
        last, fresh = told.last, dict[object, list[Pace]]()
        while found := reader.events(run, after=last, kind="Pace"):
            last = found[-1].id
            for event in found:
                fresh.setdefault(event.data.get("shard"), []).append(pace_from(event.data))
        if fresh:
            paces = {**told.paces, **{shard: (*told.paces.get(shard, ()), *new) for shard, new in fresh.items()}}
            told = _Told(run, last, paces, added([History(each) for each in paces.values()]))
        self._told = told
        return told.history

    def _read_pairs(self, reader: Reader, view: RunView) -> tuple[SampleRow, ...]:
        latest, kept = view.progress.latest, view.progress.kept
        key = (view.row.id, latest or kept)
        known, rows = self._pairs
        if key != known:
            if latest:
                rows = tuple(reader.rows(latest[::-1]))
            else:
                rows = tuple(reader.samples(view.row.id, kept=True, order="newest", limit=_PAIRS)) if kept else ()
            self._pairs = key, rows
        return rows

    def _view(self, reader: Reader, mark: _Mark, at_work: str, starting: Mapping[str, str]) -> RunView:
        row = mark[0]
        stored = reader.progress(row.id)
        progress = _progress(row, stored.data) if stored else self._counts(reader, mark)
        state = _state(row, progress, at_work, starting)
        return RunView(row, state, progress, _trouble(self.store, row, state))

    def _counts(self, reader: Reader, mark: _Mark) -> Progress:
        """The same figures for a run that left no progress, such as an import or one that shards were merged into."""
        row = mark[0]
        known = self._counted.get(row.id)
        if known is None or known[0] != mark:
            known = self._counted[row.id] = mark, reader.counts(row.id)
        counts = known[1]
        asked = counts.kept + counts.rejected + counts.asked + counts.ready + counts.failed
        return Progress(row.state, counts.kept, row.target, asked, counts.by_rule, counts.failed)


def _progress(row: RunRow, data: Mapping[str, object]) -> Progress:
    """Progress from the store; a field that another version wrote or left out does not matter."""
    known = {f.name for f in dataclasses.fields(Progress)}
    base = Progress(row.state, 0, row.target)
    # The figures were written by asdict(Progress): their types are Progress's own, but for what JSON lacks.
    figures: dict[str, Any] = {name: value for name, value in data.items() if name in known}
    pace, latest = figures.get("pace"), figures.get("latest", ())
    return dataclasses.replace(base, **figures | {"pace": pace_from(pace) if pace else None, "latest": tuple(latest)})


def _state(row: RunRow, progress: Progress, at_work: str, starting: Mapping[str, str]) -> str:
    live = row.id == at_work
    state = "died" if row.state in {"running", "paused"} and not live else row.state
    if state == "running" and progress.state == "draining":
        return "draining"
    if (state == "created" and live) or (state == "running" and not progress.slots):
        return "starting"
    # A process that was started after the run last ended is on its way up; one that ended it is on its way out.
    coming = row.id in starting and (row.finished or "") < starting[row.id]
    return "starting" if coming and state not in LIVE else state


def _advice(view: RunView) -> str:
    try:
        return saturation(view.progress.duplicate_rate, plan_from(view.row.plan))
    except PlanError:  # of another version
        return ""


def _trouble(store: Path, row: RunRow, state: str) -> str:
    if state == "failed":
        return row.error or ""
    if state in {"died", "created"}:
        said = " ".join(launch.last_words(store, row.id))
        return said or (_SILENT if state == "died" else "")
    return ""
