"""From imported rows to the store: one run per content of a file, so that importing it again adds nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from localsynth.filters.duplicates import instruction_key
from localsynth.importing import BadLine, ImportedRow, Located, locate, read
from localsynth.records import Pair, Sample, Score, Turn
from localsynth.store.queries import Reader
from localsynth.store.rows import InstructionKey, RunRow
from localsynth.store.store import Row, Store

METHOD = "import"
_BATCH_ROWS, _BATCH_CHARACTERS = 500, 8_000_000  # of one transaction
_SHOWN = 50  # bad lines that are kept to be listed
_EXTRA = 4000  # characters of one value that a row keeps beside its turns
_UNFINISHED = "the import did not finish; import the same file again"


@dataclass(slots=True)
class Imported:
    """What an import did. `added` is 0 when the same content is in the store already, as run `number`."""

    run: str
    number: int
    source: str
    added: int = 0
    answered: int = 0
    pairs: int = 0
    rejected: int = 0
    bad: int = 0
    bad_lines: list[BadLine] = field(default_factory=list)
    already: bool = False


Report = Callable[[Imported], None]


def import_into(
    store_path: Path, source: str | Path, *, name: str | None = None, progress: Report | None = None
) -> Imported:
    """Import a file, a folder or `hf:OWNER/NAME`; the store is made where it does not exist.

    DataError: nothing to import; it is raised before a run is made. An import that was cut off goes on where the same
    content is imported again.
    """
    located = locate(source)
    digest = located.digest()
    items = read(located)
    first = next(items)
    with Store.open(store_path) as store:
        run = _earlier(store_path, digest)
        if run is not None and run.state == "finished":
            return Imported(run.id, run.number, located.name, already=True)
        made = run.id if run else _create(store, located, digest, name)
        with Reader.open(store_path) as reader:
            done = Imported(made, reader.run(made).number, located.name)
        for batch in _batches(chain([first], items), done):
            store.save(batch)
            if progress:
                progress(done)
        finished = datetime.now(UTC).isoformat(timespec="milliseconds")
        store.update_run(made, state="finished", error=None, finished=finished, target=done.added)
    return done


def _earlier(store_path: Path, digest: str) -> RunRow | None:
    """The run that holds this content."""
    with Reader.open(store_path) as reader:
        for run in reader.runs():
            facts = run.plan.get(METHOD)
            if run.method == METHOD and isinstance(facts, Mapping) and facts.get("sha256") == digest:
                return run
    return None


def _create(store: Store, located: Located, digest: str, name: str | None) -> str:
    """A run that counts as failed until its last row is in: a kill needs no cleaning up.

    Its plan names the source and is none that could be run: nothing must generate into these rows.
    """
    facts = {"source": located.name, "sha256": digest, "files": [file for file, _ in located.files]}
    return store.create_run(
        method=METHOD,
        plan={METHOD: facts},
        seed=0,
        target=0,
        name=name,
        state="failed",
        error=_UNFINISHED,
    )


def _batches(items: Iterable[ImportedRow | BadLine], done: Imported) -> Iterator[list[Row]]:
    """Store rows in groups; `done` is counted along. A sample's index is its place among all rows and bad lines."""
    batch: list[Row] = []
    rows = size = 0
    for index, item in enumerate(items):
        if isinstance(item, BadLine):
            done.bad += 1
            if len(done.bad_lines) < _SHOWN:
                done.bad_lines.append(item)
            continue
        batch += _rows(done.run, index, item)
        done.added += 1
        done.answered += item.answered
        done.pairs += item.rejected is not None
        done.rejected += item.label is False
        rows += 1
        size += sum(len(message.content) for message in item.messages)
        if rows >= _BATCH_ROWS or size >= _BATCH_CHARACTERS:
            yield batch
            batch, rows, size = [], 0, 0
    yield batch


def _rows(run: str, index: int, item: ImportedRow) -> Iterator[Row]:
    sample = Sample(run, index, state="done", operation=METHOD, detail=_detail(item))
    yield sample
    model = item.extra.get("model")
    for position, message in enumerate(item.messages):
        yield Turn(
            sample=sample.id,
            position=position,
            role=message.role,
            content=message.content,
            raw=message.content if message.raw is None else message.raw,
            rules=() if message.raw is None else ("import",),
            thinking=message.thinking,
            model=model if isinstance(model, str) and message.role == "assistant" else None,
        )
    question = next(message.content for message in item.messages if message.role == "user")
    yield InstructionKey(sample.id, instruction_key(question) % (1 << 64))
    if item.chosen is not None and item.rejected is not None:
        yield Pair(sample.id, item.chosen, item.rejected, None, METHOD)
    if item.label is not None:
        reason = "" if item.label else "the file marks this answer as a bad one"
        yield Score(sample.id, "label", 1, float(item.label), item.label, reason)


def _detail(item: ImportedRow) -> dict[str, object]:
    """Where the row stood and what else it said; values too large to keep are named."""
    extra: dict[str, object] = {}
    large: list[str] = []
    for key, value in item.extra.items():
        if len(json.dumps(value, default=str)) <= _EXTRA:
            extra[key] = value
        else:
            large.append(key)
    detail: dict[str, object] = {"source": item.source, "line": item.line}
    return detail | ({"extra": extra} if extra else {}) | ({"left_out": large} if large else {})
