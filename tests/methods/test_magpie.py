"""Magpie and the plain answer over a fake context: exact prompts, a seed for every step, choices that are recorded."""

from __future__ import annotations

import random
from collections import Counter

from localsynth.backends.scripted import TEMPLATE
from localsynth.chat import DEFAULT, ChatFormat, derive
from localsynth.config import Plan, plan_from
from localsynth.methods.base import Draft, FollowUps, Message, Written
from localsynth.methods.imported import Imported
from localsynth.methods.magpie import Magpie
from localsynth.methods.responses.plain import Plain
from localsynth.records import Completion, Request, SpecialTokens, derive_seed

TOKENS = SpecialTokens(eos="<|im_end|>", control={"<|im_start|>": 1, "<|im_end|>": 2}, end_ids=(2,))
QUESTION = "<|im_start|>user\n"
ANSWER = "<|im_end|>\n<|im_start|>assistant\n"
DEFAULT_SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"


class Fake:
    """A context that notes every request and answers with its number."""

    def __init__(self, plan: Plan, index: int = 0, attempt: int = 0) -> None:
        self.plan, self.index, self.attempt = plan, index, attempt
        self.requests: list[tuple[str, Request]] = []

    def rng(self, purpose: str) -> random.Random:
        return random.Random(f"{self.index}/{purpose}")

    def seed(self, step: str) -> int:
        return derive_seed(self.index, self.attempt, step)

    def model(self, role: str) -> str:
        return f"the {role} model"

    def format(self, role: str, system: str | None) -> ChatFormat:
        return derive(TEMPLATE, TOKENS, system=DEFAULT if system is None else system)

    def opening(self, system: str | None) -> str:
        return self.format("ask", system).ask_prompt() if self.plan.system_in_answer or not system else ""

    async def generate(self, role: str, request: Request) -> Completion:
        self.requests.append((role, request))
        return Completion(f"text {len(self.requests)}", "stop", 2, 5, 7, 0.1)


async def test_the_question_is_asked_from_the_pre_query_template_alone() -> None:
    ctx = Fake(plan_from({"ask": {"sampling": {"temperature": 0.7, "max_tokens": 99}}}), index=3, attempt=1)
    draft = await Magpie().propose(ctx)
    [(role, request)] = ctx.requests
    assert role == "ask"
    assert request.prompt == DEFAULT_SYSTEM + QUESTION
    assert request.seed == derive_seed(3, 1, "user/0")
    assert request.stop_ids == (1, 2)
    assert (request.sampling.temperature, request.sampling.max_tokens) == (0.7, 99)
    assert draft.written.text == "text 1"
    assert draft.written.model == "the ask model"
    assert (draft.messages, draft.system, draft.detail, draft.operation) == ((), None, {}, "magpie")


async def test_a_weighted_system_prompt_steers_and_is_recorded_by_its_number() -> None:
    systems = [
        {"text": "You teach history.", "weight": 3},
        {"text": "You teach maths.", "topic": "math", "weight": 1.0},
    ]
    plan = plan_from({"systems": systems})
    seen: Counter[int] = Counter()
    for index in range(200):
        ctx = Fake(plan, index)
        draft = await Magpie().propose(ctx)
        number = draft.detail["system"]
        assert isinstance(number, int)
        seen[number] += 1
        text = systems[number]["text"]
        assert ctx.requests[0][1].prompt == f"<|im_start|>system\n{text}<|im_end|>\n{QUESTION}"
        assert draft.system == text
        assert draft.detail.get("topic") == (None, "math")[number]
    assert 130 <= seen[0] <= 170


async def test_a_mix_of_samplings_is_drawn_by_weight_and_the_same_row_draws_the_same() -> None:
    mix = [{"temperature": 0.5, "weight": 3.0}, {"temperature": 1.5, "weight": 1.0}]
    plan = plan_from({"ask": {"sampling": mix}})
    drawn = []
    for index in range(200):
        draws = []
        for _ in range(2):
            ctx = Fake(plan, index)
            await Magpie().propose(ctx)
            draws.append(ctx.requests[0][1].sampling.temperature)
        assert draws[0] == draws[1]
        drawn.append(draws[0])
    assert 130 <= drawn.count(0.5) <= 170


async def test_a_follow_up_stands_after_the_whole_conversation_and_each_try_has_its_seed() -> None:
    ctx = Fake(plan_from({"turns": 2}))
    assert isinstance(Magpie(), FollowUps)
    draft = await Magpie().propose(ctx)
    talk = (Message("user", "Why?"), Message("assistant", "Because."))
    for attempt in range(2):
        await Magpie().follow_up(draft, talk, attempt, ctx)
    first, second, third = (request for _, request in ctx.requests)
    whole = f"{DEFAULT_SYSTEM}{QUESTION}Why?{ANSWER}Because.<|im_end|>\n{QUESTION}"
    assert second.prompt == third.prompt == whole
    assert len({first.seed, second.seed, third.seed}) == 3


async def test_the_answer_sees_the_steering_only_when_the_plan_says_so() -> None:
    draft = Draft((), Written("Why?"), "magpie", "You teach history.", {"system": 0})
    talk = (Message("user", "Why?"),)
    for own, system in ((False, DEFAULT_SYSTEM), (True, "<|im_start|>system\nYou teach history.<|im_end|>\n")):
        ctx = Fake(plan_from({"system_in_answer": own}))
        [written] = await Plain().answer(draft, talk, ctx)
        [(role, request)] = ctx.requests
        assert role == "answer"
        assert request.prompt == f"{system}{QUESTION}Why?{ANSWER}"
        assert request.seed == ctx.seed("assistant/1") == written.seed
        assert request.sampling.temperature == 0
        assert written.model == "the answer model"


async def test_imported_instructions_come_in_their_order_and_end() -> None:
    from localsynth.methods.base import Exhausted

    source = Imported(["one", "two"])
    plan = plan_from({})
    assert [(await source.propose(Fake(plan, index))).written.text for index in range(2)] == ["one", "two"]
    try:
        await source.propose(Fake(plan, 2))
    except Exhausted:
        return
    raise AssertionError("the list has no third")


async def test_a_turn_says_what_it_goes_on_from_and_whether_another_takes_it_up() -> None:
    """(opening, continued) of question, answer, follow-up and second answer: the system prompt may cut them apart."""
    system = "<|im_start|>system\nYou teach history.<|im_end|>\n"
    for steered, shown, opening in (
        (False, False, DEFAULT_SYSTEM + QUESTION),
        (True, True, system + QUESTION),
        (True, False, ""),
    ):
        systems = [{"text": "You teach history."}] if steered else []
        ctx = Fake(plan_from({"turns": 2, "systems": systems, "system_in_answer": shown}))
        draft = await Magpie().propose(ctx)
        talk = (Message("user", "Why?"),)
        await Plain().answer(draft, talk, ctx)
        talk += (Message("assistant", "Because."),)
        await Magpie().follow_up(draft, talk, 0, ctx)
        await Plain().answer(draft, (*talk, Message("user", "How?")), ctx)
        found = [(request.opening, request.continued) for _, request in ctx.requests]
        together = bool(opening)
        assert found == [("", together), (opening, together), (opening, together), (opening, False)]


async def test_nothing_is_kept_of_a_question_that_is_not_answered() -> None:
    ctx = Fake(plan_from({"instructions_only": True}))
    await Magpie().propose(ctx)
    assert not ctx.requests[0][1].continued
