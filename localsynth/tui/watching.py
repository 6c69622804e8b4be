"""What the screens show of runs, read from the store. Nothing here knows a widget; all of it runs on worker threads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from localsynth.engine import launch
from localsynth.events import Progress
from localsynth.store import Counts, EventRow, Reader, RunRow

LIVE = frozenset({"starting", "running", "paused", "draining"})
_TAIL = 50  # events kept for the screen


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


@dataclass(slots=True)
class Watcher:
    """Reads runs again and again; one thread at a time. Counts of runs that stand still are made only once."""

    store: Path
    _counted: dict[tuple[str, str, str | None], Counts] = field(default_factory=dict)
    _events: list[EventRow] = field(default_factory=list)

    def runs(self, starting: Mapping[str, str]) -> list[RunView]:
        """All runs, the newest first; none where there is no store yet.

        `starting`: runs whose process is there, with the time at which it was started.
        """
        if not self.store.exists():
            return []
        with Reader.open(self.store) as reader:
            return [self._view(reader, row, starting) for row in reversed(reader.runs())]

    def run(self, name: str | None, starting: Mapping[str, str]) -> RunView | None:
        """One run, the newest without a name; None where there is none yet. NotFound for a wrong name."""
        if not self.store.exists():
            return None
        with Reader.open(self.store) as reader:
            if name is None and not reader.runs():
                return None
            return self._view(reader, reader.run(name), starting)

    def events(self, run: str) -> list[EventRow]:
        """The last events of a run, oldest first."""
        if self._events and self._events[0].run != run:
            self._events = []
        with Reader.open(self.store) as reader:
            while fresh := reader.events(run, after=self._events[-1].id if self._events else 0):
                self._events = (self._events + fresh)[-_TAIL:]
        return list(self._events)

    def _view(self, reader: Reader, row: RunRow, starting: Mapping[str, str]) -> RunView:
        stored = reader.progress(row.id)
        progress = _progress(row, stored.data) if stored else self._counts(reader, row)
        state = _state(self.store, row, progress, starting)
        return RunView(row, state, progress, _trouble(self.store, row, state))

    def _counts(self, reader: Reader, row: RunRow) -> Progress:
        """The same figures for a run that left no progress, such as an import."""
        key = (row.id, row.state, row.heartbeat)
        if key not in self._counted:
            self._counted[key] = reader.counts(row.id)
        counts = self._counted[key]
        asked = counts.kept + counts.rejected + counts.asked + counts.ready + counts.failed
        return Progress(row.state, counts.kept, row.target, asked, counts.by_rule, counts.failed)


def _progress(row: RunRow, data: Mapping[str, object]) -> Progress:
    """Progress from the store; a field that another version wrote or left out does not matter."""
    known = {f.name for f in dataclasses.fields(Progress)}
    base = Progress(row.state, 0, row.target)
    # The figures were written by asdict(Progress): their types are Progress's own.
    return dataclasses.replace(base, **{name: value for name, value in data.items() if name in known})  # type: ignore[arg-type]


def _state(store: Path, row: RunRow, progress: Progress, starting: Mapping[str, str]) -> str:
    state = launch.true_state(store, row)
    if state == "running" and progress.state == "draining":
        return "draining"
    if (state == "created" and launch.alive(store, row.id)) or (state == "running" and not progress.slots):
        return "starting"
    # A process that was started after the run last ended is on its way up; one that ended it is on its way out.
    coming = row.id in starting and (row.finished or "") < starting[row.id]
    return "starting" if coming and state not in LIVE else state


def _trouble(store: Path, row: RunRow, state: str) -> str:
    if state == "failed":
        return row.error or ""
    if state in {"died", "created"}:
        return " ".join(launch.log_tail(store, row.id, 1))
    return ""
