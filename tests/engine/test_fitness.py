"""Grades, and that a verdict is remembered for one file as it is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from localsynth import catalog, paths
from localsynth.config import plan_from
from localsynth.engine import fitness
from localsynth.engine.fitness import Checkup, examine, judge, refuse_unfit, too_low
from localsynth.errors import ModelError
from localsynth.filters.yields import assess

GOOD = "What is the best way to learn the {} language in a year?"


def report(good: int, bad: int):
    words = [f"{a}{b}" for a in "abcdefghijklm" for b in "nopqrstuvwxyz"]
    return assess([(GOOD.format(words[n]), True) for n in range(good)] + [("Tell me about", False)] * bad)


def test_a_grade_needs_the_interval_to_lie_beyond_its_limit() -> None:
    assert judge(report(64, 0))[0] == "fit"
    assert judge(report(40, 24))[0] == "usable with care"
    assert judge(report(30, 34))[0] == "usable with care"
    grade, reason = judge(report(10, 54))
    assert grade == "unfit"
    assert "16%" in reason
    assert "cut off" in reason
    assert (too_low(3, 8), too_low(30, 64), too_low(10, 64)) == (False, False, True)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    monkeypatch.setattr(catalog, "resolve", lambda name, backend=None: SimpleNamespace(path=path))
    return path


def test_an_unfit_model_is_refused_until_it_is_forced_or_becomes_another_file(model: Path) -> None:
    plan = plan_from({"ask": {"model": str(model), "backend": "llamacpp"}})
    refuse_unfit(plan)  # nobody has looked yet
    grade, reason = judge(report(10, 54))
    fitness._remember(model, Checkup("m", {}, report(10, 54), grade, reason, ()))
    with pytest.raises(ModelError, match="calls this model unfit") as caught:
        refuse_unfit(plan)
    assert "--force" in caught.value.hint
    refuse_unfit(plan_from({"ask": {"model": str(model), "backend": "llamacpp"}, "force": True}))
    refuse_unfit(plan_from({"method": "imported", "instructions": "in.jsonl"}))
    model.write_bytes(b"GGUF, another one")
    os.utime(model, ns=(1, 1))
    refuse_unfit(plan)


def test_the_doctor_examines_the_scripted_model() -> None:
    said: list[str] = []
    found = examine({"backend": "scripted"}, turns=32, language="en", seed=0, system=None, say=said.append)
    assert found.grade == "fit"
    assert found.report.n == 32
    assert 1 <= len(found.examples) <= 5
    assert said == ["asking for 32 user turns"]
    again = examine({"backend": "scripted"}, turns=32, language="en", seed=0, system=None, say=said.append)
    assert again.as_data() == found.as_data()


def test_the_doctors_word_is_kept_whole_and_holds_for_an_optimised_copy(model: Path) -> None:
    assert fitness.recall(model) is None
    found = report(10, 54)
    fitness._remember(model, Checkup("m", {}, found, "unfit", "why", ("One?", "Two?")))
    known = fitness.recall(model)
    assert known is not None
    assert (known.grade, known.reason, known.turns, known.rate) == ("unfit", "why", 64, found.rate)
    assert (known.low, known.high, known.causes) == (found.low95, found.high95, found.causes)
    assert known.examples == ("One?", "Two?")
    assert known.at.endswith("+00:00")
    copy = paths.optimised_dir() / "model.Q4_0.gguf"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"GGUF copy")
    catalog.copy_note(copy).write_text(json.dumps({"source": str(model)}))
    assert fitness.recall(copy) == known


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"grade": "superb", "reason": ""}', '{"grade": "fit", "reason": "", "causes": 3}']
)
def test_a_spoilt_word_of_the_doctor_is_none(model: Path, text: str) -> None:
    fitness._verdict_file(model).parent.mkdir(parents=True)
    fitness._verdict_file(model).write_text(text)
    assert fitness.recall(model) is None
    fitness._verdict_file(model).write_text('{"grade": "fit", "reason": "as it was kept once"}')
    assert fitness.recall(model) == fitness.Verdict("fit", "as it was kept once")
