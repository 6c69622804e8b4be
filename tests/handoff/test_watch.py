"""`merge --watch`: merges as shards grow, and ends when all are finished."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from handed import Made, kept, packed, shard_store

from localsynth.cli import merge
from localsynth.cli.main import main as command
from localsynth.engine.lock import hold
from localsynth.handoff.job import Job
from localsynth.handoff.merge import MergeReport


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return packed(tmp_path, target=4)


def watch(job: Job, home: Path, happenings: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch) -> int:
    """Each look at the folder is followed by the next thing that happens there."""
    monkeypatch.setattr(merge, "sleep", lambda seconds: happenings.pop(0)())
    with pytest.raises(SystemExit) as ended:
        command(["merge", str(home), "--watch", str(job.folder)])
    return int(ended.value.code or 0)


def test_it_merges_what_grew_and_ends_with_the_last_shard(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, seen = tmp_path / "main.db", []

    def grow(shard: int, *made: Made, state: str) -> Callable[[], object]:
        store = job.shard_store(shard)
        return lambda: shard_store(store, shard, 2, made, job=job.digest, run=job.id, state=state, total=4)

    def look() -> None:
        seen.append(kept(home, job.id))

    happenings = [
        grow(1, Made(0, "First?"), state="running"),
        look,
        grow(1, Made(2, "Third?"), state="finished"),
        look,
        grow(2, Made(1, "Second?"), Made(3, "first"), state="finished"),
    ]
    assert watch(job, home, happenings, monkeypatch) == 0
    assert seen == [[0], [0, 2]]
    assert kept(home, job.id) == [0, 1, 2]
    said = capsys.readouterr().err
    assert "waiting for the first shard" in said
    assert "run 1: 1 of 4 kept, 1 new rows, 0 duplicates, 2 shards to come" in said
    assert said.count(" new rows, ") == 3


def test_it_waits_for_a_run_at_home(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "main.db"
    for shard in (1, 2):
        made = [Made(shard - 1, f"Question {shard}?")]
        shard_store(job.shard_store(shard), shard, 2, made, job=job.digest, run=job.id, total=4)
    held = hold(home, "01RUN")
    held.__enter__()
    assert watch(job, home, [lambda: held.__exit__(None, None, None)], monkeypatch) == 0
    assert "waiting: run 01RUN" in capsys.readouterr().err
    assert kept(home, job.id) == [0, 1]


def test_it_rests_a_multiple_of_what_a_merge_took(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rests, clock, write = [], [100.0], merge._merge

    def slowly(main: Path, paths: list[Path]) -> MergeReport:
        clock[0] += 60.0
        return write(main, paths)

    def rest(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 3:
            shard_store(job.shard_store(2), 2, 2, [Made(1, "Two?")], job=job.digest, run=job.id, total=4)

    monkeypatch.setattr(merge, "monotonic", lambda: clock[0])
    monkeypatch.setattr(merge, "_merge", slowly)
    monkeypatch.setattr(merge, "sleep", rest)
    shard_store(job.shard_store(1), 1, 2, [Made(0, "One?")], job=job.digest, run=job.id, total=4)
    with pytest.raises(SystemExit):
        command(["merge", str(tmp_path / "main.db"), "--watch", str(job.folder)])
    assert rests == [60.0 * merge._REST, merge._EVERY, merge._EVERY]


def test_a_log_that_goes_away_between_two_looks_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = shard_store(tmp_path / "1.db", 1, 1, [Made(0, "Why?")])
    closed = merge._stamp(store)
    log = tmp_path / "1.db-wal"
    log.write_bytes(b"rows")
    assert merge._stamp(store) != closed
    # It is there when it is asked for, and gone when it is looked at.
    monkeypatch.setattr(Path, "exists", lambda path: True)
    log.unlink()
    assert merge._stamp(store) == closed
