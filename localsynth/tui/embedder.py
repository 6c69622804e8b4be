"""The work of embedding rows for the map: started here or elsewhere, watched, ended. It outlives the UI."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localsynth import catalog
from localsynth.engine.embed import CHARACTERS, at_work, default_encoder, encoder_called
from localsynth.errors import MissingPackage, NotFound, StoreBusy
from localsynth.store import Reader
from localsynth.tui.jobs import Jobs

_KEY: Final = "embed"
_ASKED: Final = 200  # texts that tell how long they all are
# Characters a second on two cores: MiniLM read 75 texts of 300 characters, n-grams need no model.
_PACE: Final = {True: 500_000.0, False: 22_500.0}
_START: Final = 6.0  # seconds until an encoder is loaded


@dataclass(frozen=True, slots=True)
class Cost:
    """What there is to embed. `encoder`: what to give `localsynth embed`; `name`: what its vectors are stored under.

    `seconds`: about how long it takes. `missing`: why the encoder that was wanted cannot be used.
    """

    rows: int
    seconds: float
    encoder: str
    name: str
    missing: str = ""


@dataclass(frozen=True, slots=True)
class EmbedView:
    """How it stands: `done` of `total` rows, 0 of 0 before they are counted; `left`: seconds; `trouble`: its error."""

    title: str
    live: bool
    done: int = 0
    total: int = 0
    left: float | None = None
    trouble: str = ""


class Embedder:
    """Starts `localsynth embed`, if need be after an import, and shows one that was started elsewhere as well.

    All of it may block for an instant: call it on worker threads.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._jobs = Jobs()
        self._store: Path | None = None
        self._title = ""
        self._waiting: list[tuple[str, ...]] = []

    def start(self, store: Path, commands: Sequence[tuple[str, ...]], title: str) -> None:
        """Start these commands on a store in turn, each when the one before has ended well.

        StoreBusy while rows are being embedded.
        """
        with self._lock:
            view = self.look(store)
            if view is not None and view.live:
                raise StoreBusy("rows are being embedded already", "wait until that is over, or end it with e")
            self._store, self._title, self._waiting = store, title, [*commands]
            self._next()

    def look(self, store: Path) -> EmbedView | None:
        """How the work on this store stands, or what was started here; None without any."""
        with self._lock:
            job = self._jobs.views().get(_KEY)
            if job is not None and job.state == "done" and self._waiting:
                self._next()
                job = self._jobs.views().get(_KEY)
        here = job is not None and job.state == "running"
        who = at_work(self._store if here and self._store else store)
        if who is not None:
            done, total, left = (who.get(key) for key in ("done", "total", "left"))
            return EmbedView(
                self._title if here else "Embedding",
                live=True,
                done=done if isinstance(done, int) else 0,
                total=total if isinstance(total, int) else 0,
                left=float(left) if isinstance(left, int | float) else None,
            )
        if job is None or job.state in {"done", "cancelled"}:
            return None
        trouble = "" if here else " ".join(filter(None, (job.error, job.hint)))
        return EmbedView(self._title, live=here, trouble=trouble)

    def stop(self, store: Path) -> None:
        """End the work; what is embedded stays."""
        with self._lock:
            self._waiting.clear()
            if self._jobs.cancel(_KEY):
                return
        who = at_work(store)
        pid = who.get("pid") if who else None
        if isinstance(pid, int):
            os.kill(pid, signal.SIGTERM)

    def leave(self) -> list[str]:
        """What to tell when the UI is left: the work goes on."""
        return self._jobs.leave()

    def _next(self) -> None:
        self._jobs.forget(_KEY)
        self._jobs.start(_KEY, self._title, self._waiting.pop(0), outlives=True)


def cost(store: Path, encoder: str | None, run: str | None = None) -> Cost:
    """What it takes to embed the rows that have no vector by the encoder of this name, None for the default one.

    NotFound where nothing is known of that encoder but its name.
    """
    with Reader.open(store) as reader:
        spec = default_encoder(reader) if encoder is None else encoder_called(reader, encoder)
        if spec is None:
            raise NotFound(
                f"it is not known where the encoder {encoder} is", "name its folder: localsynth embed --encoder FOLDER"
            )
        missing = ""
        if spec != CHARACTERS:
            try:
                catalog.encoder_path(spec)
            except MissingPackage as error:
                spec, missing = CHARACTERS, error.message
        name = CHARACTERS if spec == CHARACTERS else encoder or _name(spec)
        names = list({name, CHARACTERS})
        rows = reader.unembedded_count(names, run)
        texts = [text for _, text in reader.unembedded(names, run, limit=_ASKED)]
    length = sum(map(len, texts)) / len(texts) if texts else 0.0
    return Cost(rows, _START + rows * length / _PACE[spec == CHARACTERS], spec, name, missing)


def _name(spec: str) -> str:
    card = catalog.load().get(spec or catalog.STARTER_ENCODER)
    return card.id if card else Path(spec).expanduser().resolve().name
