"""Answering the question of one row once more: a run of its own, whose answer stands beside the old one."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from localsynth import paths
from localsynth.config import GatePlan, Limits, Plan, plan_from
from localsynth.engine import launch
from localsynth.engine.lock import refuse_busy
from localsynth.errors import DataError, StoreError
from localsynth.importing.reader import locate
from localsynth.records import Candidate, Sample
from localsynth.store.queries import Reader
from localsynth.store.rows import RunRow, SampleRow

_NAME = "again-"
_WARM = 0.8  # temperature where the plan is greedy: the same answer would come again
_ENDED = {"finished", "failed", "stopped"}


@dataclass(frozen=True, slots=True)
class Attempt:
    """A run that answers one row again. `over`: it writes no more; `fault` says why it wrote no answer."""

    run: str
    over: bool
    answered: bool
    fault: str = ""


def create(store: Path, sample: int) -> str:
    """Write the run, with the models of the row's own run; its id. StoreBusy while a run is at work, DataError where
    the row cannot be answered again."""
    refuse_busy(store)
    with Reader.open(store) as reader:
        row = reader.sample(sample)
        run = reader.run(row.run)
    _refuse(row, run)
    plan = plan_from(run.plan)
    # It stays as long as the run: resuming reads it, and its digest is in the plan. Another attempt uses it again.
    question = paths.runs_dir(store) / f"{_NAME}{sample}.jsonl"
    try:
        question.parent.mkdir(parents=True, exist_ok=True)
        question.write_text(json.dumps({"instruction": row.instruction}) + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {question}: {error.strerror}", "free some space") from None
    return launch.create(store, _again(plan, question, sample), f"{_NAME}{sample}")


def look(store: Path, run: str, starting: bool) -> Attempt:
    """How far such a run is; `starting`: its process is there, whether it has taken the store or not."""
    with Reader.open(store) as reader:
        row = reader.run(run)
        answer = _answer(reader, run)
    over = row.state in _ENDED or not (starting or launch.alive(store, run))
    if not over or answer is not None:
        return Attempt(run, over, answer is not None)
    said = launch.log_tail(store, run, 1)
    return Attempt(run, over, answered=False, fault=row.error or " ".join(said) or "a rule rejected what was written")


def answers(store: Path, sample: int) -> tuple[Candidate, ...]:
    """What was written for a row again, the newest first."""
    found: list[Candidate] = []
    with Reader.open(store) as reader:
        for run in reversed(reader.runs()):
            if run.name == f"{_NAME}{sample}" and (answer := _answer(reader, run.id)) is not None:
                found.append(Candidate(sample, answer[0], len(found), "answer", answer[1]))
    return tuple(found)


def _answer(reader: Reader, run: str) -> tuple[str, str] | None:
    """Model and text of the newest answer of a run."""
    for row in reader.rows([Sample(run, 0, attempt).id for attempt in range(15, -1, -1)]):
        for turn in reversed(row.turns):
            if turn.role == "assistant":
                return turn.model or "", turn.content
    return None


def _refuse(row: SampleRow, run: RunRow) -> None:
    roles = [turn.role for turn in row.turns]
    if run.method == "import":
        raise DataError(
            f"row {row.index} was imported: no model of this store wrote it", "edit its answer: e, or E for your editor"
        )
    if "system" in roles:
        raise DataError(
            f"row {row.index} has a system turn, and another answer would be written without it",
            "edit its answer: e, or E for your editor",
        )
    if roles[-2:] != ["user", "assistant"] or roles.count("user") != 1:
        raise DataError(
            f"row {row.index} is not one question with its answer", "edit its answer: e, or E for your editor"
        )


def _again(plan: Plan, question: Path, sample: int) -> Plan:
    sampling = tuple(replace(each, temperature=each.temperature or _WARM) for each in plan.answer.sampling)
    return replace(
        plan,
        target=1,
        method="imported",
        seed=secrets.randbelow(2**32),
        turns=1,
        language="any",
        instructions_only=False,
        instructions=str(question),
        instructions_sha256=locate(question).digest(),
        again=sample,
        force=True,
        systems=(),
        answer=replace(plan.answer, sampling=sampling),
        gate=GatePlan(exact_duplicates=False, near_duplicates=False),
        limits=Limits(attempts=1),
    )
