"""Records a real run of the starter model for `localsynth --demo`: `python scripts/record_demo.py` writes the log anew.

What the run stores is read from outside once a second; what is new in it is written down with the seconds since the
run's start.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from localsynth.engine.recorded import LOG
from localsynth.errors import LocalsynthError
from localsynth.records import sample_place
from localsynth.store.queries import Reader

PERIOD = 1.0
_PACE_EVERY = 10  # seconds; it is long, and nobody sees it change from one second to the next
# Short answers keep the package small; a fixed seed makes the same rows again.
RUN = "--target 12 --answer-tokens 200 --slots 12 --seed 7"

_HERE = re.compile(r'(?<=")/[^"]*/(?=[^"/]+\.gguf")')  # where this machine keeps the model


def main() -> int:
    """Record one run; returns the exit status of the run."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "demo.db"
        command = [
            sys.executable,
            "-m",
            "localsynth",
            "generate",
            *RUN.split(),
            "--name",
            "demo",
            "--store",
            str(store),
        ]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as run, LOG.open("w", encoding="utf-8") as log:
            for line in _watch(store, run):
                log.write(_HERE.sub("", json.dumps(line, ensure_ascii=False, separators=(",", ":"))) + "\n")
    return run.returncode


def _watch(store: Path, process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    seen: dict[int, dict[str, Any]] = {}
    progress: dict[str, Any] = {}
    start, event, over, paced = None, 0, False, 0.0
    while not over:
        over = process.poll() is not None  # one last look after the end
        time.sleep(PERIOD)
        if not _made(store):
            continue
        with (
            contextlib.closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as db,
            Reader.open(store) as reader,
        ):
            row = reader.run(None)
            if start is None and row.state == "running":
                start = time.monotonic()
                names = ("method", "plan", "seed", "target", "backend", "model", "name")
                yield {"run": {name: getattr(row, name) for name in names}}
            if start is None:
                continue
            at = {"at": round(time.monotonic() - start, 1)}
            changed = [fresh for data in _samples(reader, db, row.id) if (fresh := _fresh(data, seen))]
            if changed:
                yield at | {"samples": changed}
            for told in reader.events(row.id, after=event):
                event = told.id
                yield at | {"event": {"kind": told.kind, "data": told.data}}
            stored = reader.progress(row.id)
            latest = _places(dict(stored.data)) if stored else {}
            if not over and at["at"] < paced + _PACE_EVERY:
                latest.pop("pace", None)
            else:
                paced = at["at"]
            fresh = {name: value for name, value in latest.items() if progress.get(name) != value}
            progress |= latest
            if fresh:
                yield at | {"progress": fresh}
            if over:
                yield at | {"run": {name: getattr(row, name) for name in ("versions", "sha256", "template_hash")}}
                yield at | {"end": row.state}


def _fresh(data: dict[str, Any], seen: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """What of a sample was not written down yet, with its place; {} for nothing."""
    before = seen.get(data["id"], {})
    seen[data["id"]] = data
    fresh: dict[str, Any] = {}
    for name in ("turns", "scores", "neighbours", "embeddings"):
        if found := [part for part in data[name] if part not in before.get(name, ())]:
            fresh[name] = found
    if data["key"] != before.get("key"):
        fresh["key"] = data["key"]
    if fresh or data["sample"] != before.get("sample"):
        fresh["sample"] = data["sample"]
    return fresh


def _made(store: Path) -> bool:
    """Whether there is a run in the store: at first it is half made."""
    try:
        with Reader.open(store) as reader:
            return bool(reader.runs())
    except LocalsynthError:
        return False


def _places(progress: dict[str, Any]) -> dict[str, Any]:
    if "latest" in progress:
        progress["latest"] = [list(sample_place(sample)[1:]) for sample in progress["latest"]]
    return progress


def _samples(reader: Reader, db: sqlite3.Connection, run: str) -> Iterator[dict[str, Any]]:
    keys = dict(reader.instruction_keys())
    for (number,) in db.execute("SELECT id FROM samples WHERE run = ? ORDER BY id", (run,)).fetchall():
        row = reader.sample(number)
        vectors = db.execute("SELECT field, encoder, content_hash, vector FROM embeddings WHERE sample = ?", (number,))
        yield {
            "id": number,
            "sample": {
                name: getattr(row, name) for name in ("index", "attempt", "state", "operation", "error", "detail")
            },
            "turns": [_small(asdict(turn)) for turn in row.turns],
            "scores": [_small(asdict(score), keep=("value", "passed")) for score in row.scores],
            "neighbours": [
                {"place": sample_place(near.neighbour)[1:], "encoder": near.encoder, "similarity": near.similarity}
                for near in row.neighbours
            ],
            "key": keys.get(number),
            "embeddings": [
                {"field": field, "encoder": encoder, "content_hash": known, "vector": base64.b64encode(vector).decode()}
                for field, encoder, known, vector in vectors
            ],
        }


def _small(data: dict[str, Any], keep: tuple[str, ...] = ()) -> dict[str, Any]:
    """Without the sample's id, and without what is the default anyway."""
    return {
        name: value for name, value in data.items() if name in keep or (name != "sample" and value not in (None, ()))
    }


if __name__ == "__main__":
    sys.exit(main())
