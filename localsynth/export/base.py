"""What every export takes and gives back: plain frozen rows in, one result out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from localsynth.errors import DataError
from localsynth.records import Sampling

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One row of the data set.

    `messages` are (role, content); `thinking` and `seeds` have one entry a message, or are empty. `model` wrote the
    instruction, `answer_model` the answer; `sampling` has the keys "ask" and "answer" where they are known. `near`:
    (row id, cosine similarity) of the nearest rows. `scores` are values by the score's name.
    """

    id: int
    run: str
    index: int
    messages: tuple[tuple[str, str], ...]
    thinking: tuple[str | None, ...] = ()
    model: str | None = None
    answer_model: str | None = None
    sampling: Mapping[str, Sampling] = field(default_factory=dict)
    seeds: tuple[int | None, ...] = ()
    scores: Mapping[str, float | None] = field(default_factory=dict)
    topic: str | None = None
    language: str | None = None
    created: str = ""
    near: tuple[tuple[int, float], ...] = ()

    @property
    def answered(self) -> bool:
        """Whether the last word is the model's."""
        return bool(self.messages) and self.messages[-1][0] == "assistant"


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written. `sha256` is the file's; of several files, that of their `sha256  name` lines, sorted."""

    format: str
    paths: tuple[Path, ...]
    card: Path
    count: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Written:
    """One finished data file: its name inside the folder ("" for a single file), rows and digest."""

    name: str
    count: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write rows. `suffix` "" means a folder.

    `records` gives what is written of each row, in the same order; one JSON object a row, whatever the file's form.
    `write` takes rows and the path to fill (a file, or an empty folder that is there) and returns what it wrote.
    `scored` says that it uses scores and neighbours, which cost a reader more; `owned` are a folder's file names.
    """

    name: str
    help: str
    suffix: str
    records: Callable[[Iterable[ExportRow]], Iterator[Mapping[str, object]]]
    write: Callable[[Iterable[ExportRow], Path], list[Written]]
    scored: bool = False
    owned: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A conversation cut into a system text and (user, assistant) pairs; the last answer may be missing."""

    system: str | None
    pairs: tuple[tuple[str, str | None], ...]


def dialogue(row: ExportRow, fmt: str, *, answered: bool) -> Dialogue:
    """Cut a row into pairs. DataError names the row when turns do not alternate, or an answer that is needed lacks."""
    messages = list(row.messages)
    system = messages.pop(0)[1] if messages and messages[0][0] == "system" else None
    roles = [role for role, _ in messages]
    if not roles or roles != ["user" if i % 2 == 0 else "assistant" for i in range(len(roles))]:
        raise DataError(
            f"format {fmt} needs user and assistant turns in alternation; row {row.run}:{row.index} has "
            f"{', '.join(role for role, _ in row.messages) or 'no turns'}"[:300],
            "export as openai, which holds any order",
        )
    if answered and not row.answered:
        raise DataError(
            f"format {fmt} cannot hold instructions without answers, and row {row.run}:{row.index} has none",
            "add --answered to leave such rows out, or export as openai, sharegpt, magpie, trl or parquet",
        )
    contents: list[str | None] = [content for _, content in messages]
    if len(contents) % 2:
        contents.append(None)
    pairs = tuple((contents[i] or "", contents[i + 1]) for i in range(0, len(contents), 2))
    return Dialogue(system, pairs)


def with_thinking(row: ExportRow) -> ExportRow:
    """The row with each answer's reasoning before it, as `<think>` text; most chat templates know these tags."""
    if not any(row.thinking):
        return row
    thinking = (*row.thinking, *[None] * (len(row.messages) - len(row.thinking)))
    merged = tuple(
        (role, f"<think>\n{thought}\n</think>\n\n{content}" if thought and role == "assistant" else content)
        for (role, content), thought in zip(row.messages, thinking, strict=False)
    )
    return replace(row, messages=merged, thinking=())


def scrubbed(row: ExportRow) -> ExportRow:
    """The row without lone surrogates: they have no UTF-8 form, and readers refuse them even as JSON escapes."""
    clean = tuple((role, _scrub(content)) for role, content in row.messages)
    thinking = tuple(None if thought is None else _scrub(thought) for thought in row.thinking)
    return replace(row, messages=clean, thinking=thinking)


def _scrub(text: str) -> str:
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)
