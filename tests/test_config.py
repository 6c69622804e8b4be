"""Plans: they go round, and a wrong key or value is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localsynth.config import (
    GatePlan,
    Plan,
    RolePlan,
    SystemPrompt,
    WeightedSampling,
    mix,
    plan_data,
    plan_from,
    read_plan,
)
from localsynth.errors import PlanError

samplings = st.builds(
    WeightedSampling,
    temperature=st.floats(0, 5),
    top_p=st.floats(0.01, 1),
    top_k=st.integers(0, 1000),
    min_p=st.floats(0, 0.99),
    max_tokens=st.integers(1, 9999),
    avoid_first=st.lists(st.text(), max_size=3).map(tuple),
    weight=st.floats(0.1, 9),
)
roles = st.builds(RolePlan, model=st.text(), sampling=st.lists(samplings, min_size=1, max_size=3).map(tuple))
plans = st.builds(
    Plan,
    target=st.integers(1, 10**6),
    seed=st.integers(0, 2**32 - 1),
    turns=st.integers(1, 16),
    ask=roles,
    answer=roles,
    systems=st.lists(st.builds(SystemPrompt, text=st.text(), weight=st.floats(0.1, 9)), max_size=3).map(tuple),
    gate=st.builds(GatePlan, similarity=st.floats(-1, 1)),
)


@given(plans)
def test_a_plan_goes_round_through_json(plan: Plan) -> None:
    assert plan_from(json.loads(json.dumps(plan_data(plan)))) == plan


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("targt = 5", "'targt'", "'target'"),
        ("[gate]\nsimilarty = 0.9", "'gate.similarty'", "'similarity'"),
        ("target = 'many'", "target must be a whole number", "change"),
        ("target = true", "target must be a whole number", "change"),
        ("target = 0", "target must be at least 1", "change target"),
        ("seed = -1", "seed must be between", "change seed"),
        ("[ask]\nbackend = 'cloud'", "ask.backend = 'cloud'", "llamacpp"),
        ("[ask]\nsampling = 'airy'", "no sampling preset 'airy'", "air, pro"),
        ("[ask.sampling]\ntop_p = 0.0", "top_p must be above 0", "change"),
        ("[ask.sampling]\ntemperature = nan", "must be a finite number", "change"),
        ("systems = 'math'", "systems must be a list", "change"),
        ("[[systems]]\ntext = 'a'\nweight = 0.0", "weights must not sum to 0", "change"),
        ("method = 'imported'", "instructions must name a file", "change"),
        ("ask = {backend = 'openai'}", "ask.servers must name the server's address", "change"),
        ("answer = {servers = ['http://here']}", "answer.servers go with", "change"),
        ("ask = {tokenizer = 'm'}", "ask.tokenizer is of served models", "change"),
        ("machine = {tensor_parallel = 0}", "machine.tensor_parallel must be at least 1", "change"),
        ("machine = {memory_share = 1.5}", "machine.memory_share is a share", "change"),
        ("target = [", "not a readable TOML file", "mend"),
    ],
)
def test_a_wrong_plan_names_the_key(tmp_path: Path, text: str, message: str, hint: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(PlanError) as caught:
        plan_from(read_plan(path))
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_missing_plan_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no plan at"):
        plan_from(read_plan(tmp_path / "none.toml"))


def test_weights_need_not_sum_to_one(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text("systems = [" + ",".join("{text='a', weight=0.1}" for _ in range(10)) + "]")
    assert len(plan_from(read_plan(path)).systems) == 10


def test_the_papers_mixes_have_its_weights() -> None:
    air = mix("air", 256)
    assert sum(entry.weight for entry in air) == 30
    assert {(e.temperature, e.top_p) for e in mix("pro", 256)} == {(1.0, 1.0), (1.1, 0.995), (1.2, 0.995), (1.25, 0.99)}
    assert sum(e.weight for e in air if e.temperature == 1.25) / 30 == pytest.approx(0.1)


@pytest.mark.parametrize("url", ["http://me:secret@host/v1", "me:secret@host:80", "https://secret@host"])
def test_a_password_never_gets_into_a_plan(url: str) -> None:
    with pytest.raises(PlanError, match="must not hold a user name or a password") as caught:
        plan_from({"ask": {"backend": "openai", "servers": [url]}})
    assert "secret" not in str(caught.value) + caught.value.hint
    plan_from({"ask": {"backend": "openai", "servers": ["http://host/@/v1"]}})


@pytest.mark.parametrize("url", ["https://host/v1?api_key=secret", "http://host/#secret"])
def test_nor_does_a_key(url: str) -> None:
    with pytest.raises(PlanError, match="must end before any") as caught:
        plan_from({"ask": {"backend": "openai", "servers": [url]}})
    assert "secret" not in str(caught.value) + caught.value.hint
