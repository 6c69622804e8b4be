"""`localsynth merge`: the shards of a job into one store."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

import click

from localsynth.cli.options import json_option

if TYPE_CHECKING:
    from localsynth.handoff.merge import MergeReport

_EVERY = 10.0  # seconds between two looks at a folder
_REST = 4.0  # times what a merge took: it compares with all that is there, and the machine has other work


@click.command(short_help="Merge the shards of a packed job into a store.")
@click.argument("main", metavar="MAIN.db", type=click.Path(path_type=Path))
@click.argument("shards", metavar="[SHARD.db]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--watch", type=click.Path(path_type=Path), metavar="FOLDER", help="Merge this job's shards as they grow."
)
@json_option
def merge(main: Path, shards: tuple[Path, ...], *, watch: Path | None, as_json: bool) -> int:
    """Merge SHARD.db ... into MAIN.db: every finished row once; duplicates of each other or of MAIN's are not kept.

    Merging the same shards again changes nothing, in whatever order; a merge that was cut off is completed by the next
    one. Rows keep where and with what they were made. A row that MAIN has with other words stays as it is in MAIN and
    is reported as a conflict. Reviews made in a shard's store are taken where MAIN has none of that row.

    The exit code is 0 when every shard is merged and finished, and 6 while there is more to come. A finished job can
    have fewer rows than its target, by the duplicates that its shards could not know of.
    """
    from localsynth.cli.exits import Exit
    from localsynth.cli.narration import data_json, say
    from localsynth.engine.tally import unjudged
    from localsynth.handoff.merge_words import report_lines

    # A merge multiplies many small blocks, over which BLAS's threads wait for each other longer than they compute.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    main = main.expanduser().resolve()  # a link to it is held as itself
    if bool(shards) == bool(watch):
        raise click.UsageError("name the shards' stores, or a packed job's folder with --watch")
    report = _watch(main, watch) if watch else _merge(main, [path.absolute() for path in shards])
    found = dataclasses.asdict(report) | {"not_judged": unjudged(main)}
    if as_json:
        data_json(found | {"whole": report.whole})
    else:
        for line in report_lines(str(main), found):
            say(line)
    return Exit.OK if report.whole else Exit.INCOMPLETE


def _merge(main: Path, paths: list[Path]) -> MergeReport:
    from localsynth.engine.lock import hold
    from localsynth.handoff.merge import merge as write
    from localsynth.handoff.merge import read_shards

    files = read_shards(main, paths)
    with hold(main, files[0].run.id, "a merge"):
        return write(main, files, _Progress().told)


def _watch(main: Path, folder: Path) -> MergeReport:
    """Look again and again at the shards of a packed job, and merge those that changed, until all are finished."""
    from localsynth.cli.narration import say
    from localsynth.errors import StoreBusy
    from localsynth.handoff.job import read_job

    job = read_job(folder.expanduser().absolute())
    merged: dict[Path, tuple[int, int]] = {}
    while True:
        now = {path: _stamp(path) for path in map(job.shard_store, range(1, job.shards + 1)) if path.exists()}
        changed = [path for path, stamp in now.items() if merged.get(path) != stamp]
        wait, begun = _EVERY, monotonic()
        if changed:
            try:
                report = _merge(main, changed)
            except StoreBusy as error:
                say(f"waiting: {error.message}")
            else:
                merged = now
                wait = max(_EVERY, _REST * (monotonic() - begun))
                say(_line(report))
                if report.whole:
                    return report
        elif not now:
            say(f"waiting for the first shard in {folder}")
        sleep(wait)


def _stamp(path: Path) -> tuple[int, int]:
    """Changes whenever the store was written to: new rows go into the log beside it; reading leaves an empty one."""
    try:
        log = path.with_name(f"{path.name}-wal").stat()
    except FileNotFoundError:  # between two looks the last writer may have closed it
        return path.stat().st_mtime_ns, 0
    return path.stat().st_mtime_ns, log.st_mtime_ns if log.st_size else 0


class _Progress:
    """A line every few seconds, so that a long merge is seen to go on."""

    def __init__(self) -> None:
        self._next = monotonic() + 2.0

    def told(self, what: str) -> None:
        from localsynth.cli.narration import say

        if monotonic() >= self._next:
            self._next = monotonic() + 5.0
            say(what)


def _line(report: MergeReport) -> str:
    new = sum(shard.new for shard in report.shards)
    return (
        f"run {report.run}: {report.kept} of {report.target} kept, {new} new rows, "
        f"{report.exact + report.near} duplicates, {len(report.missing) + len(report.unfinished)} shards to come"
    )
