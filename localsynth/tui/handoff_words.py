"""The hand-off's texts: what each step does, how it went, and what comes next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from textual.content import Content

from localsynth.handoff.estimate_words import estimate_lines
from localsynth.handoff.merge_words import report_lines
from localsynth.printable import one_line, printable
from localsynth.tui.handoff_choices import Step
from localsynth.tui.jobs import JobView
from localsynth.tui.wording import duration, number

ABOUT: Mapping[Step, str] = {
    "estimate": "Generates for a minute with the plan, in a store of its own, and says how long the whole job takes "
    "here and on GPUs. A run that is at work meanwhile spoils the figures. It ends with the UI.",
    "pack": "Writes a folder with the plan, localsynth itself and run.sh, which other machines run in shards; what "
    "this store has goes along as hashes, so that nothing is made twice.",
    "submit": "Copies the packed folder to the host with rsync and starts it there; it goes on without this machine. "
    "ssh must reach the host without a password.",
    "fetch": "Brings the shards' stores back as they are now; they may go on meanwhile.",
    "merge": "Takes every finished row of the shards into this store once; duplicates are rejected. Doing it again "
    "changes nothing. It goes on when you leave the UI.",
}
TITLES: Mapping[Step, str] = {
    "estimate": "Estimate",
    "pack": "Pack",
    "submit": "Submit",
    "fetch": "Fetch",
    "merge": "Merge",
}


def step(which: Step, command: str, missing: str) -> Content:
    """What a step does, what it lacks, and its command line."""
    lacks = [(f"\n✗ {printable(missing)}", "$text-error")] if missing else []
    return Content.assemble(ABOUT[which], *lacks, ("\n\ny copies the command:\n", "$text-muted"), printable(command))


def outcome(which: Step, job: JobView, store: str, width: int) -> Content:
    """How a step stands, or how it ended with what comes next."""
    if job.state == "running":
        said = f": {one_line(job.said, 200)}" if job.said else ""
        return Content(f"At work for {duration(job.seconds)}{said}\nX cancels it.")
    if job.state == "cancelled":
        return Content(CANCELLED[which])
    if job.state == "failed":
        return Content.assemble((f"✗ {printable(job.error, 600)}\n", "$text-error"), printable(job.hint, 600))
    return Content(printable("\n".join(_ended(which, job.result, store, width))))


CANCELLED: Mapping[Step, str] = {
    "estimate": "It was cancelled.",
    "pack": "It was cancelled; nothing of the folder is left.",
    "submit": "It was cancelled. Submitting again copies what is not there yet.",
    "fetch": "It was cancelled. Fetching again brings what is not here yet.",
    "merge": "It was cancelled. What is merged stays; merging again completes it.",
}


def _ended(which: Step, found: Mapping[str, Any], store: str, width: int) -> Iterator[str]:
    match which:
        case "estimate":
            yield from estimate_lines(found, width)
        case "pack":
            yield f"{number(found['target'])} rows are packed in {found['shards']} shards: {found['folder']}"
            yield f"  next: submit it; or copy the folder and run there: bash {found['folder']}/run.sh"
            yield f"  or on a Ray cluster: localsynth handoff cluster {found['folder']}"
        case "submit":
            yield f"{found['host']}: {found['said'] or 'copied'}"
            yield "  next: fetch the shards whenever you like, then merge them"
        case "fetch":
            yield f"{len(found['stores'])} shards are here"
            yield from (f"  {store}" for store in found["stores"])
            yield "  next: merge them"
        case _:
            yield from report_lines(store, found)
            if found["whole"]:
                yield "  next: review them (1, then r), or export them ([)"
