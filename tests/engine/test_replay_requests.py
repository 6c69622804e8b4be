"""A replay asks for exactly what the run asked for: what a row is computed from decides its last bits."""

from __future__ import annotations

from pathlib import Path

import pytest

from localsynth.backends.scripted import Script, ScriptedDecoder, _Counter
from localsynth.backends.stepped import SteppedBackend
from localsynth.config import plan_from
from localsynth.engine import launch, roles, runner
from localsynth.engine.replay import replay_row
from localsynth.records import Request
from localsynth.store import Reader


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("steered", [True, False])
def test_every_turn_is_asked_for_again_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, steered: bool, shown: bool
) -> None:
    asked: list[tuple[str, int, str]] = []

    class Noting(ScriptedDecoder):
        def add(self, uid: int, request: Request) -> int:
            asked.append((request.prompt, request.seed, request.opening))
            return super().add(uid, request)

    monkeypatch.setattr(
        roles, "build_backend", lambda role, plan: SteppedBackend(lambda: Noting(4, Script(), "scripted", _Counter()))
    )
    scripted = {"backend": "scripted"}
    plan = {"target": 2, "seed": 3, "turns": 2, "ask": scripted, "answer": scripted, "system_in_answer": shown}
    plan["systems"] = [{"text": "You are a chemist."}] if steered else []
    plan["gate"] = {"near_duplicates": False}
    store = tmp_path / "rows.db"
    run = launch.create(store, plan_from(plan))
    assert runner.run(store, run)[0] == "finished"
    first = set(asked)
    asked.clear()
    with Reader.open(store) as reader:
        replayed = [replay_row(reader.run(run), row) for row in reader.samples(run, kept=True)]
    assert len(replayed) == 2
    assert all(turn.same for row in replayed for turn in row)
    assert len(asked) == 8
    assert set(asked) <= first
    openings = {opening for _, _, opening in asked}
    assert bool(openings - {""}) == (shown or not steered)
