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
