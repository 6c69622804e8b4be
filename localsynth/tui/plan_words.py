"""What the screen of a new run says beside the settings: the state of the plan, the doctor's report, the estimate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textual.content import Content

from localsynth.engine.fitness import Verdict, verdict_of
from localsynth.printable import one_line, printable
from localsynth.tui.draft import Fault
from localsynth.tui.jobs import JobView
from localsynth.tui.model_words import doctor, job_words
from localsynth.tui.plan_facts import Facts
from localsynth.tui.wording import beginning, duration, number, span

_MOST = 20_000  # characters of a plan
_CHECK = (
    "Never checked here. d asks it for 64 questions: a minute with a small model, many with a large one on a laptop."
)


def state(fault: Fault | None, facts: Facts | None, missing: str) -> Content:
    """Whether the plan can run, and what to do where it cannot."""
    if fault is not None:
        return Content.assemble(
            ("✗ ", "bold $text-error"), f"{one_line(fault.message, 200)}: {one_line(fault.hint, 120)}"
        )
    if missing:
        return Content.assemble(
            ("✗ ", "bold $text-error"), f"{one_line(missing, 80)} is not on this machine: p fetches it"
        )
    if facts is None:
        return Content("looking at the models ...")
    if facts.error is not None:
        error = facts.error
        return Content.assemble(
            ("✗ ", "bold $text-error"), f"{one_line(error.message, 200)}: {one_line(error.hint, 120)}"
        )
    room = f"{facts.memory:.1f} of {facts.room:.1f} GB" if facts.memory else "no memory here"
    if facts.room and facts.memory > facts.room:
        return Content.assemble(
            ("! ", "bold $text-warning"), f"The models take about {room}: too much for this machine"
        )
    notes = f"  {one_line(' '.join(facts.notes), 200)}" if facts.notes else ""
    return Content.assemble(("✓ ", "bold $text-success"), f"ready: {one_line(facts.asks, 60)}, {room}{notes}")


def report(facts: Facts | None, job: JobView | None) -> Content:
    """The doctor's report of the asking model."""
    if job is not None and job.state == "running":
        return job_words(job)
    if facts is None or facts.error is not None:
        return Content("...")
    verdict = facts.verdict or (_of_job(job) if job is not None else None)
    return doctor(verdict) if verdict is not None else Content(_CHECK)


def estimate(target: int, facts: Facts | None, job: JobView | None) -> Content:
    """How long the run would take: as it was calibrated, else as an earlier run was."""
    if job is not None and job.state == "running":
        return job_words(job)
    if job is not None and job.result and (found := _calibrated(target, job.result)):
        return Content(found)
    if facts is not None and facts.pace is not None:
        low, high = facts.pace.span(target)
        much = f"{number(target)} pairs in {span(low, high)}"
        return Content(f"{much}, by run {facts.pace.run} with these models. t measures: it generates for a minute.")
    return Content("Not known yet. t generates for a minute and says how long it will take.")


def toml(text: str) -> Content:
    """The plan with its comments set apart."""
    lines = [
        Content.styled(line, "dim") if line.lstrip().startswith("#") else Content(line)
        for line in beginning(text, _MOST).splitlines()
    ]
    return Content("\n").join(lines)


def _of_job(job: JobView) -> Verdict | None:
    return verdict_of(job.result) if job.result else None


def _calibrated(target: int, found: Mapping[str, Any]) -> str:
    try:
        low, middle, high = (3600 * float(hours) / found["pairs"] * target for hours in found["here"]["hours"])
        slots, share, tokens = found["here"]["slots"], float(found["kept_share"]), found["tokens_per_pair"][1]
        many = "1 slot" if slots == 1 else f"{slots} slots"
        said = f"{number(target)} pairs in about {duration(middle)} ({span(low, high)}) at {many}. "
        said += f"{share:.0%} of the questions are kept, {tokens:.0f} tokens a pair."
        if found["assumed"]:
            said += f" Too few ended, so assumed: {one_line(', '.join(found['assumed']), 200)}."
        for gpu in found["gpus"][:2]:
            said += (
                f"\n{gpu['count']} x {gpu['gpu']}: about {duration(3600 * gpu['hours'][1] / found['pairs'] * target)}"
            )
    except (KeyError, TypeError, ValueError, ZeroDivisionError, IndexError):
        return ""
    return printable(said)
