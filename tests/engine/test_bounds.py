"""A run judges its rows by thresholds as it writes them, and keeps what its rules themselves had said."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from localsynth.config import GatePlan, Limits, Plan, RolePlan
from localsynth.config.thresholds import Threshold
from localsynth.embedding.encoders import CharNgramEncoder
from localsynth.embedding.index import NearestIndex
from localsynth.engine import launch, runner
from localsynth.engine.bounds import Bounds
from localsynth.engine.tally import read_table
from localsynth.filters.gate import check_answer, check_instruction
from localsynth.filters.neighbours import NearDuplicates
from localsynth.store import Reader
from localsynth.store.rows import ThresholdRow
from localsynth.store.thresholds import Change, Thresholds

LENGTH = "instruction.length"


def scripted(**changes: object) -> Plan:
    role = RolePlan(backend="scripted")
    gate = GatePlan(near_duplicates=False)
    return Plan(**{"target": 12, "seed": 5, "ask": role, "answer": role, "gate": gate} | changes)


def test_a_stricter_bound_stops_the_gate_and_a_looser_one_lets_it_go_on() -> None:
    bounds = Bounds({LENGTH: Threshold(9, 20)})
    last = check_instruction("Why is the sky blue?", judge=bounds.judge("instruction"))[-1]
    assert (last.rule, last.passed, last.reason) == ("length", False, "5 is below 9")
    score, ruling = last.rows(7, "instruction")
    assert (score.name, score.passed) == (LENGTH, False)
    assert (ruling.name, ruling.passed, ruling.reason) == (LENGTH, True, "words")
    bounds = Bounds({LENGTH: Threshold(1)})
    findings = check_instruction("Explain gravity", judge=bounds.judge("instruction"))
    assert [(each.rule, each.passed) for each in findings][:2] == [("too_short", True), ("repetition", True)]
    assert findings[0].rows(7, "instruction")[1].passed is False
    answer = check_answer("Because.", question="Why?", judge=bounds.judge("answer"))
    assert all(each.overruled is None for each in answer)


def test_the_latest_word_counts() -> None:
    bounds = Bounds({LENGTH: Threshold(9)}, "2026-05-01")
    assert bounds.now == {LENGTH: Threshold(9)}
    early = ThresholdRow(1, 1, LENGTH, 5.0, None, "you", None, "2026-04-01")
    late = ThresholdRow(2, 2, LENGTH, 6.0, None, "you", None, "2026-06-01")
    gone = ThresholdRow(3, 3, LENGTH, None, None, "undo", 2, "2026-06-02")
    found = []
    for rows in ([early], [early, late], [early, late, gone]):
        bounds.take(rows)
        found.append(bounds.now[LENGTH].low)
    assert found == [9, 6.0, 9]


class Fixed:
    """Texts are angles in degrees."""

    name = "fixed"

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        angles = np.radians([float(text) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    def coverage(self, texts: list[str]) -> Fixed:
        self.unknown, self.truncated = np.zeros(len(texts)), np.zeros(len(texts), bool)
        return self


def test_near_duplicates_go_by_the_bound_and_remember_the_rule() -> None:
    corpus = NearDuplicates((Fixed(), NearestIndex(2)), (CharNgramEncoder(), NearestIndex(512)), 0.975)
    corpus.bounds = Threshold(high=0.9)  # about 26 degrees; 0.975 is about 13
    judged = corpus.admit([1, 2, 3], ["0", "20", "30"])
    assert [each.finding.passed for each in judged] == [True, False, True]
    assert judged[1].finding.reason.endswith("is above 0.9")
    assert judged[1].finding.overruled == (True, "0.939 like sample 1, limit 0.975, by fixed")
    assert judged[2].neighbour.neighbour == 1, "what was rejected is no neighbour"
    corpus.bounds = Threshold(high=0.999)
    looser = corpus.admit([4], ["5"])[0].finding
    assert (looser.passed, looser.overruled[0]) == (True, False)


def test_a_run_goes_by_its_plans_thresholds(tmp_path: Path) -> None:
    path = tmp_path / "rows.db"
    run = launch.create(path, scripted(thresholds={LENGTH: Threshold(21)}, limits=Limits(attempts=80)))
    runner.run(path, run)
    table = read_table(path)
    assert table.strays == 0
    with sqlite3.connect(path) as store:
        rejected = store.execute(
            "SELECT s.value, s.reason, r.passed, r.reason FROM scores s JOIN rulings r ON r.sample = s.sample "
            "AND r.name = s.name WHERE s.passed = 0"
        ).fetchall()
        lowest = store.execute(
            "SELECT min(value) FROM scores JOIN verdicts USING (sample) WHERE kept AND name = ?", (LENGTH,)
        ).fetchone()[0]
    store.close()
    assert rejected
    assert all(
        value < 21 and reason == f"{value:g} is below 21" and passed == 1 for value, reason, passed, _ in rejected
    )
    assert lowest >= 21
    with Thresholds(path) as thresholds:
        thresholds.put([Change(LENGTH, Threshold())], "you")
        thresholds.apply()
    with Reader.open(path) as reader:
        assert reader.counts(run).kept == table.tally({LENGTH: Threshold()}).kept > table.tally({}).kept
