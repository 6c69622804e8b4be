"""From the store's rows to what `export` takes, one page at a time, and the card's facts gathered on the way."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from localsynth import catalog
from localsynth.errors import NotFound, PlanError
from localsynth.export import CardModel, CardRun, CardSource, ExportRow
from localsynth.filters.language import guess_language
from localsynth.printable import one_line
from localsynth.records import Turn
from localsynth.store.queries import Reader
from localsynth.store.rows import RunRow, SampleRow

_T = TypeVar("_T")
_PAGE = 500
_USUAL = 0.02  # of the rows: a language below it may be a wrong guess, and is not named on the card


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows. `everything` adds rejected rows; `answered` None takes rows with and without answers."""

    run: str | None = None
    everything: bool = False
    answered: bool | None = None
    search: str | None = None
    limit: int | None = None

    def words(self) -> str:
        """For the card."""
        parts = ["kept and rejected rows" if self.everything else "kept rows"]
        parts += {True: ["with answers"], False: ["instructions only"], None: []}[self.answered]
        parts += ["that match a search"] if self.search else []
        parts += [f"the first {self.limit}"] if self.limit else []
        return ", ".join(parts)

    def options(self) -> list[str]:
        """As `localsynth export` takes them."""
        parts = ["--run", self.run] if self.run else []
        parts += ["--all"] if self.everything else []
        parts += {True: ["--answered"], False: ["--instructions"], None: []}[self.answered]
        parts += ["--search", self.search] if self.search else []
        return parts + (["--limit", str(self.limit)] if self.limit else [])


def command_line(
    target: str, store: str, fmt: str, chosen: Selection, *, thinking: bool = False, split: bool = False
) -> str:
    """The command that makes this export. Names of files only, where it is for a card: folders are private."""
    parts = ["localsynth", "export", target, "--format", fmt, "--store", store, *chosen.options()]
    parts += ["--split"] if split else []
    return shlex.join(parts + (["--thinking"] if thinking else []))


def thinking_words(*, thinking: bool) -> str:
    """For the card: where a model's reasoning is."""
    return "Reasoning stands before answers in `<think>` tags." if thinking else "Reasoning is left out."


def count_rows(reader: Reader, chosen: Selection) -> int:
    """How many rows `RowStream` gives."""
    kept = None if chosen.everything else True
    found = reader.sample_count(chosen.run, kept=kept, answered=chosen.answered, search=chosen.search)
    return found if chosen.limit is None else min(found, chosen.limit)


class RowStream:
    """Rows of a selection, in the order of runs and indices; iterate it once, then ask for the facts.

    `after`: the id of the row behind which it begins. `page`: rows that are read at once.
    """

    def __init__(
        self,
        reader: Reader,
        selection: Selection,
        *,
        scored: bool,
        on_row: Callable[[int], None] | None = None,
        after: int | None = None,
        page: int = _PAGE,
    ) -> None:
        self._reader = reader
        self._selection = selection
        self._scored = scored
        self._on_row = on_row
        self._after = after
        self._page = page
        self._count = 0
        self._kept: Counter[str] = Counter()
        self._models: dict[str, set[str]] = {}
        self._languages: Counter[str] = Counter()

    def __iter__(self) -> Iterator[ExportRow]:
        for sample in self._samples():
            if self._selection.limit is not None and self._count >= self._selection.limit:
                return
            row = self._row(sample)
            self._count += 1
            self._note(row, sample)
            if self._on_row:
                self._on_row(self._count)
            yield row

    def _samples(self) -> Iterator[SampleRow]:
        chosen, after = self._selection, self._after
        while True:
            page = self._reader.samples(
                chosen.run,
                kept=None if chosen.everything else True,
                answered=chosen.answered,
                search=chosen.search,
                limit=self._page,
                after=after,
            )
            yield from (sample for sample in page if sample.state == "done" and sample.turns)
            if len(page) < self._page:
                return
            after = page[-1].id

    def _row(self, sample: SampleRow) -> ExportRow:
        if self._scored:
            sample = self._reader.sample(sample.id)
        asked = next((turn for turn in sample.turns if turn.role == "user"), None)
        answer = next((turn for turn in sample.turns if turn.role == "assistant"), None)
        topic = sample.detail.get("topic")
        sampled = {"ask": asked, "answer": answer}
        return ExportRow(
            id=sample.id,
            run=sample.run,
            index=sample.index,
            messages=tuple((message.role, message.content) for message in sample.messages),
            thinking=_filled([turn.thinking for turn in sample.turns]),
            model=asked.model if asked else None,
            answer_model=answer.model if answer else None,
            sampling={name: turn.sampling for name, turn in sampled.items() if turn and turn.sampling},
            seeds=_filled([turn.seed for turn in sample.turns]),
            scores={score.name: score.value for score in sample.scores},
            topic=topic if isinstance(topic, str) else None,
            language=guess_language(sample.instruction),
            created=sample.created,
            near=tuple((link.neighbour, link.similarity) for link in sample.neighbours),
        )

    def _note(self, row: ExportRow, sample: SampleRow) -> None:
        self._kept[row.run] += 1
        for turn in sample.turns:
            if turn.model:
                self._models.setdefault(turn.model, set()).add(_wrote(turn))
        if row.language:
            self._languages[row.language] += 1

    def card(self, title: str, command: str, version: str, thinking: str) -> CardSource:
        """What the card says about the rows that were read."""
        runs = [run for run in self._reader.runs() if self._kept[run.id]]
        guessed = self._languages.total()
        languages = [code for code, rows in self._languages.most_common() if rows >= _USUAL * guessed]
        return CardSource(
            title=title,
            command=command,
            version=version,
            runs=tuple(self._run(run) for run in runs),
            models=_models(self._models, runs),
            languages=tuple(languages),
            selection=self._selection.words(),
            thinking=thinking,
            thresholds=_thresholds(self._reader, runs),
        )

    def _run(self, run: RunRow) -> CardRun:
        source = run.plan.get("import")
        return CardRun(
            number=run.number,
            id=run.id,
            method=run.method,
            seed=run.seed,
            kept=self._kept[run.id],
            sampling=() if source else tuple(_mixes(run.plan)),
            rejected=dict(self._reader.counts(run.id).by_rule),
            source=_public(str(source.get("source"))) if isinstance(source, Mapping) else None,
        )


def _thresholds(reader: Reader, runs: list[RunRow]) -> tuple[tuple[str, str], ...]:
    """What is in force for these runs; a score twice where a run's plan says otherwise than another's."""
    from localsynth.store.thresholds import in_force, planned

    history = reader.thresholds()
    found = [in_force(history, planned(run.plan), run.created) for run in runs]
    return tuple(sorted({(score, bounds.words()) for force in found for score, bounds in force.items()}))


def _public(source: str) -> str:
    """A data set of the Hub by its name, a file without its folders: a card is published, they are private."""
    return source if source.startswith("hf:") else Path(source).name


def _filled(values: list[_T | None]) -> tuple[_T | None, ...]:
    return tuple(values) if any(value is not None for value in values) else ()


def _wrote(turn: Turn) -> str:
    return "answers" if turn.role == "assistant" else "instructions"


def _models(models: Mapping[str, set[str]], runs: list[RunRow]) -> tuple[CardModel, ...]:
    """With the licence where the catalogue knows the model, under its id or a repository's."""
    try:
        cards: catalog.Catalogue | None = catalog.load()
    except PlanError:
        cards = None  # a broken card of the user's own must not stop an export
    revisions = {run.model: run.revision for run in runs}
    found = []
    for name, roles in sorted(models.items()):
        try:
            card = cards.find(name) if cards else None
        except NotFound:
            card = None
        licence, note = (card.licence, card.licence_note) if card else (None, "")
        found.append(CardModel(name, tuple(sorted(roles, reverse=True)), licence, revisions.get(name), note))
    return tuple(found)


def _mixes(plan: Mapping[str, Any]) -> Iterator[str]:
    """One line per role of the plan as it was stored."""
    for role in ("ask", "answer"):
        part = plan.get(role)
        entries = part.get("sampling") if isinstance(part, Mapping) else None
        if entries and not (role == "answer" and plan.get("instructions_only")):
            mixes = [_mix(entry, alone=len(entries) == 1) for entry in entries if isinstance(entry, Mapping)]
            yield f"{role}: {'; '.join(mixes)}"


def _mix(entry: Mapping[str, Any], *, alone: bool) -> str:
    names = {
        "temperature": "temperature",
        "top_p": "top-p",
        "top_k": "top-k",
        "min_p": "min-p",
        "max_tokens": "at most",
    }
    off = {"top_p": 1.0, "top_k": 0, "min_p": 0.0}
    parts = [f"{label} {entry[key]}" for key, label in names.items() if key in entry and entry[key] != off.get(key)]
    weight = "" if alone else f" (weight {entry.get('weight', 1)})"
    return one_line(", ".join(parts) + (" tokens" if "max_tokens" in entry else ""), 200) + weight
