"""`localsynth handoff cluster`: the shards of a packed job on a Ray cluster."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from localsynth.cli.options import json_option, model_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from localsynth.handoff.cluster.standing import Standing

_LINE_EVERY = 5.0


@click.command(short_help="Run a packed job on a Ray cluster.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--address",
    default="auto",
    show_default=True,
    help="The cluster: HOST:PORT, `auto` for RAY_ADDRESS or this machine's, `local` to start one here for this job.",
)
@click.option("--workers", type=click.IntRange(1), help="Shards at the same time.  [default: a GPU each, or a node]")
@click.option("--cpus", type=click.IntRange(1), help="CPUs, and llama.cpp's threads, of a worker.  [default: a share]")
@click.option("-m", "--model", help="The model's file, folder or name there.  [default: the packed one]")
@click.option("--answer-model", help="Another model for the answers.")
@click.option("--slots", type=click.IntRange(1), help="Sequences generated at the same time by a worker.")
@click.option("--tensor-parallel", type=click.IntRange(1), help="GPUs that share the model (vLLM).")
@model_options
@json_option
def cluster(folder: Path, *, address: str, workers: int | None, cpus: int | None, as_json: bool, **typed: Any) -> int:
    """Run every shard of the packed FOLDER on a Ray cluster: vLLM where it has GPUs, llama.cpp otherwise.

    FOLDER must be at the same path on every node, as on a shared disk, and so must localsynth. The shards tell each
    other what they have, so that few duplicates are paid for; `localsynth merge` removes the rest. A worker that dies
    is replaced and its shard goes on. The same command goes on with a job that was stopped.

    The first Ctrl-C finishes what is in flight and stops, the second stops at once.
    """
    from localsynth.cli.exits import Exit
    from localsynth.cli.narration import data_json, say
    from localsynth.cli.shards import carry_out
    from localsynth.handoff.cluster.driver import Request, run_on_cluster
    from localsynth.handoff.job import read_job

    job = read_job(folder.expanduser().absolute())
    request = Request(address, workers or 0, cpus or 0, {key: value for key, value in typed.items() if value})
    lines = _Lines()
    with _interrupts() as count:
        standing = run_on_cluster(job, request, carry_out, lines.show, count)
        interrupted = count() > 0
    for line in unfinished(standing):
        say(line)
    say(f"{standing.finished} of {job.shards} shards finished with {standing.kept} of {job.plan.target} kept")
    say(f"  next: {_next(folder, finished=standing.finished == job.shards)}")
    if as_json:
        data_json(standing.summary())
    if standing.finished == job.shards:
        return Exit.OK
    return Exit.INTERRUPTED if interrupted else Exit.INCOMPLETE


def _next(folder: Path, *, finished: bool) -> str:
    merge = f"localsynth merge MAIN.db {folder}/shards/*.db"
    return merge if finished else f"the same command goes on; {merge} brings in what is there"


class _Lines:
    """A line every few seconds, and at once when a shard ends or is retried."""

    def __init__(self) -> None:
        self._next = 0.0
        self._seen = (0, 0, False)
        self._last = ""

    def show(self, standing: Standing) -> None:
        """Say where the job stands, if it is time to."""
        from localsynth.cli.narration import say

        seen = len(standing.outcomes), standing.retried, standing.draining
        if seen == self._seen and time.monotonic() < self._next:
            return
        if standing.retried > self._seen[1]:
            say("a worker died; its shard goes on with another one")
        self._seen, self._next = seen, time.monotonic() + _LINE_EVERY
        line = cluster_line(standing)
        if line != self._last:
            say(line)
        self._last = line


def cluster_line(standing: Standing) -> str:
    """Where the job stands, on one line."""
    from localsynth.cli.panel import duration

    job, working = standing.job, standing.working
    head = f"{standing.finished}/{job.shards} shards, {standing.kept}/{job.plan.target} kept"
    if not working:
        return f"{head}, starting" if len(standing.outcomes) < job.shards else head
    if standing.draining:
        return f"{head}, finishing what is in flight on {len(working)} workers"
    if not any(working.values()):
        return f"{head}, loading the model on {len(working)} workers"
    eta = standing.eta
    left = f"{duration(eta[0])} to {duration(eta[1])} left" if eta else "time left not known yet"
    return f"{head}, {len(working)} at work, {standing.tokens_per_second:.0f} tokens/s, {left}"


def unfinished(standing: Standing) -> list[str]:
    """Why shards are not finished: a line for each reason."""
    shards: dict[tuple[str, str], list[str]] = {}
    for shard, outcome in sorted(standing.outcomes.items()):
        if outcome.state != "finished":
            shards.setdefault((outcome.state, outcome.reason), []).append(str(shard))
    return [
        f"shard{'s' * (len(names) > 1)} {', '.join(names)} of {standing.job.shards} {state}: {reason}"
        for (state, reason), names in shards.items()
    ]


@contextmanager
def _interrupts() -> Iterator[Callable[[], int]]:
    """Counts Ctrl-C instead of being ended by it."""
    count = 0

    def one_more(number: int, frame: FrameType | None) -> None:
        nonlocal count
        del number, frame
        count += 1

    before = signal.signal(signal.SIGINT, one_more)
    try:
        yield lambda: count
    finally:
        signal.signal(signal.SIGINT, before)
