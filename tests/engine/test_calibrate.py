"""A calibration goes the real way, in a store of its own; figures are right where they can be known, ranges honest."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import signal
from pathlib import Path

import pytest
from pacing import STEP, pace

from localsynth.backends.scripted_texts import answer, question
from localsynth.config import Plan, plan_from
from localsynth.engine.calibrate import Calibration, calibrate, slot_counts
from localsynth.engine.metering import RoleTally, Speed, slowdown
from localsynth.engine.perpair import best, per_pair
from localsynth.errors import BackendError

SCRIPTED = {"ask": {"backend": "scripted"}, "answer": {"backend": "scripted"}, "gate": {"near_duplicates": False}}
FOUND = Calibration(
    model="m", backend="b", speeds=(Speed(1, 10, 50, 0.01, 50, 40), Speed(8, 40, 200, 0.01, 25, 20)),
    asked=100, usable=80, decided=80, admitted=60, answered=50, kept=40, questions=100, answers=50,
    question_tokens=20.0, answer_tokens=300.0, seconds=60, slowdown=None,
)  # fmt: skip


def plan(**more: object) -> Plan:
    return plan_from({**SCRIPTED, "seed": 5, "machine": {"slots": 6}, **more})


def run(seconds: float, chosen: Plan | None = None, **options) -> tuple[Calibration, list[str]]:
    said: list[str] = []
    return asyncio.run(calibrate(chosen or plan(), seconds, said.append, **options)), said


def test_a_calibration_counts_what_the_run_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pace(monkeypatch)
    found, said = run(5)
    assert [speed.slots for speed in found.speeds] == [1, 2, 6]
    assert said[0] == "loading the model"
    assert found.model == "scripted"
    assert 0 < found.kept <= found.answered <= found.admitted <= found.decided <= found.usable <= found.asked
    assert found.questions >= found.asked
    assert found.question_tokens == pytest.approx(25, rel=0.3)
    assert found.answer_tokens == pytest.approx(90, rel=0.3)
    assert list(tmp_path.iterdir()) == [], "nothing is written where the user is"
    low, tokens, high = per_pair(found, plan()).tokens()
    assert low < tokens < high
    assert 100 < tokens < 160


def test_a_decoder_of_known_speed_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes 2 ms, for one row as for six."""
    pace(monkeypatch)
    found, _ = run(4, choose=lambda most: [1, most])
    one, six = sorted(found.speeds, key=lambda speed: speed.slots)
    # A row that ends hears of it some steps later, the more of them the busier the machine.
    assert 0.5 / STEP < one.tokens_per_second < 1.1 / STEP
    assert 2 * one.tokens_per_second < six.tokens_per_second < 6.1 / STEP
    assert best(found, per_pair(found, plan())) == six


def test_answers_that_do_not_end_count_as_far_as_they_went(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(f"word{number}" for number in range(5000))

    def write(request) -> str:
        return text if request.prompt.rstrip("\n").endswith("assistant") else f"What is number {request.seed} good for?"

    pace(monkeypatch, 4, write=write)
    limits = {"backend": "scripted", "sampling": {"max_tokens": 4000}}
    chosen = plan(answer=limits)
    found, _ = run(1, chosen, choose=lambda most: [most])
    assert (found.answers, found.answer_tokens, found.kept) == (0, None, 0)
    assert found.speeds[0].answer_rate > 0
    pair = per_pair(found, chosen)
    assert pair.assumed == ["answers of 390 tokens", "90% of them kept"]
    low, tokens, high = pair.tokens()
    assert low < tokens / 2.5 < tokens < high / 2.5


def test_a_mean_of_broken_off_texts_is_not_the_mean_of_the_short_ones() -> None:
    tally = RoleTally(requests=2, tokens=100, characters=400, broken_off=1200)
    assert tally.mean_tokens == 200
    assert RoleTally(broken_off=100).mean_tokens is None


def test_an_interrupt_gives_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def write(request) -> str:
        nonlocal asked
        asked += 1
        if asked == 60:
            os.kill(os.getpid(), signal.SIGINT)
        if request.prompt.rstrip("\n").endswith("assistant"):
            return answer(request.seed, request.prompt)
        return question(request.seed)

    pace(monkeypatch, 4, write=write)
    found, _ = run(600)
    assert found.seconds < 300
    assert found.kept > 0


def test_imported_instructions_are_only_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pace(monkeypatch)
    file = tmp_path / "in.txt"
    file.write_text("".join(f"What is the capital of country number {n}?\n" for n in range(40)))
    chosen = plan(method="imported", instructions=str(file))
    found, _ = run(120, chosen)
    assert found.question_tokens is None
    assert 30 <= found.kept <= 40
    pair = per_pair(found, chosen)
    assert pair.tokens()[1] >= (found.answer_tokens or 0) > 0
    assert pair.assumed == []
    assert found.slowdown is None


def test_nothing_written_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = pace(monkeypatch)
    ticks = itertools.count()
    monkeypatch.setattr(clock, "monotonic", lambda: float(next(ticks)))  # every window is over at its first look
    with pytest.raises(BackendError, match="nothing was written"):
        run(0.2)


def test_an_error_of_the_backend_is_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = {3: BackendError("the server burns", "put it out")}
    pace(monkeypatch, 4, faults=faults)
    with pytest.raises(BackendError, match="burns"):
        run(5)


def test_a_pair_costs_what_is_lost_on_the_way_to_it() -> None:
    pair = per_pair(FOUND, plan())
    assert pair.assumed == []
    assert pair.share == pytest.approx(0.8 * 0.75 * 0.8, rel=0.02)
    assert pair.tokens()[1] == pytest.approx((20 / (0.8 * 0.75) + 300) / 0.8, rel=0.02)
    assert pair.seconds(FOUND.speeds[1])[1] == pytest.approx((20 / 0.6 / 25 + 300 / 20) / 0.8 / 8, rel=0.02)
    two = per_pair(FOUND, plan(turns=2)).tokens()[1]
    assert two == pytest.approx((20 / 0.6 + 600 + 20) / 0.8, rel=0.02)
    alone = dataclasses.replace(FOUND, answered=60, kept=60, answers=0, answer_tokens=None)
    questions = per_pair(alone, plan(instructions_only=True))
    assert questions.assumed == []
    assert questions.tokens()[1] == pytest.approx(20 / 0.6, rel=0.02)


def test_more_observations_narrow_the_range() -> None:
    more = dataclasses.replace(
        FOUND, **{name: 25 * getattr(FOUND, name)
                  for name in ("asked", "usable", "decided", "admitted", "answered", "kept", "questions", "answers")}
    )  # fmt: skip
    few, many = per_pair(FOUND, plan()).tokens(), per_pair(more, plan()).tokens()
    assert few[1] == pytest.approx(many[1], rel=0.01)
    assert few[0] < many[0] < many[2] < few[2]


def test_no_text_is_longer_than_its_limit() -> None:
    short = plan(answer={"backend": "scripted", "sampling": {"max_tokens": 100}})
    assert per_pair(FOUND, short).answer.value == 100


def test_a_machine_too_slow_for_a_minute_is_estimated_with_doubt() -> None:
    speeds = (Speed(1, 30, 2.0, 0.1, 2.0, 0.0),)
    slow = dataclasses.replace(
        FOUND, speeds=speeds, asked=1, usable=1, decided=0, admitted=0, answered=0, kept=0, questions=1, answers=0,
        question_tokens=30.0, answer_tokens=None,
    )  # fmt: skip
    pair = per_pair(slow, plan())
    assert len(pair.assumed) == 4
    low, middle, high = pair.seconds(best(slow, pair))
    assert 0 < 2 * low < middle < high / 2


def test_the_best_slot_count_is_the_quickest_for_a_pair() -> None:
    pair = per_pair(FOUND, plan())
    assert best(FOUND, pair).slots == 8
    slow = (FOUND.speeds[0], dataclasses.replace(FOUND.speeds[1], ask_rate=4.0, answer_rate=4.0))
    assert best(dataclasses.replace(FOUND, speeds=slow), pair).slots == 1


@pytest.mark.parametrize(
    ("last", "noise", "lost"), [(50, 0.01, None), (47, 0.01, None), (30, 0.01, 0.4), (30, 0.3, None), (70, 0.01, None)]
)
def test_throttling_is_told_from_noise(last: float, noise: float, lost: float | None) -> None:
    first = Speed(1, 9, 50, noise, 50, 50)
    again = dataclasses.replace(first, tokens_per_second=last)
    assert slowdown((first, FOUND.speeds[1], again)) == pytest.approx(lost)
    assert slowdown((first, FOUND.speeds[1])) is None


def test_slot_counts_are_one_some_and_all() -> None:
    assert [slot_counts(most) for most in (1, 2, 8, 32, 256)] == [[1], [1, 2], [1, 3, 8], [1, 6, 32], [1, 16, 256]]
