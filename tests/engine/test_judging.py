"""Judging rows leaves a run that is at work its turn to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from localsynth.config.thresholds import Threshold
from localsynth.engine import judging
from localsynth.engine.lock import hold
from localsynth.records import Sample, Score
from localsynth.store import Reader, Store
from localsynth.store.thresholds import Change, Thresholds


@pytest.mark.parametrize(("busy", "rests"), [(True, 2), (False, 0)])
def test_it_rests_after_each_piece_while_a_run_is_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy: bool, rests: int
) -> None:
    path = tmp_path / "rows.db"
    with Store.open(path) as store:
        run = store.create_run(method="magpie", plan={}, seed=1, target=5)
        for index in range(6):
            sample = Sample(run, index, state="done")
            store.save([sample, Score(sample.id, "words", 1, float(index), True)])
    slept: list[float] = []
    monkeypatch.setattr(judging.time, "sleep", slept.append)
    monkeypatch.setattr("localsynth.store.thresholds._PIECE", 2)
    with Thresholds(path) as thresholds:
        thresholds.put([Change("words", Threshold(3))], "you")
        if busy:
            with hold(path, run):
                assert judging.judge(thresholds, lambda done, total: False)
        else:
            assert judging.judge(thresholds, lambda done, total: False)
    assert len(slept) == rests
    with Reader.open(path) as reader:
        assert [row.index for row in reader.samples() if row.kept] == [3, 4, 5]
