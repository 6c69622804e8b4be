"""Several backends as one: the contract, who gets the next request, and what becomes of a dead one."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from contract import Contract, Prompts, opened
from fake_model import FakeModel
from fake_server import Script, running
from test_scripted import ANSWER, ASK, request

from localsynth.backends.base import BackendInfo
from localsynth.backends.concurrency import Concurrency, Gate
from localsynth.backends.openai import OpenAIBackend
from localsynth.backends.pool import FIRST_BREATH, FIRST_REST, STRIKES, PoolBackend
from localsynth.backends.scripted import ScriptedBackend
from localsynth.errors import BackendError, ContextOverflow, ModelError
from localsynth.records import Completion, Request, Sampling


class TestPool(Contract):
    instant = True

    @pytest.fixture
    def backend(self):
        def make(slots: int) -> PoolBackend:
            half = slots // 2
            return PoolBackend([ScriptedBackend(part) for part in (slots - half, half) if part])

        return make

    @pytest.fixture
    def prompts(self) -> Prompts:
        return Prompts(ASK, (ANSWER, ANSWER.replace("bees", "wasps")), 5)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Member:
    """A backend whose next answers are given; None waits until `go` is set."""

    def __init__(self, *answers: BackendError | ModelError | None, template: str = "t", openings: int = 0) -> None:
        self.answers, self.calls, self.openings, self.closed = list(answers), 0, openings, 0
        self.refusal = BackendError("cannot be reached", "start it", retryable=True)
        self.go = asyncio.Event()
        self.go.set()
        self._info = BackendInfo("member", "1", "m", max_concurrency=2, context=4096, template=template, logprobs=True)

    @property
    def info(self) -> BackendInfo:
        return self._info

    async def open(self) -> None:
        if self.openings > 0:
            self.openings -= 1
            raise self.refusal

    async def generate(self, request: Request, on_text=None) -> Completion:
        self.calls += 1
        answer = self.answers.pop(0) if self.answers else None
        await self.go.wait()
        if answer is not None:
            raise answer
        return Completion("text", "stop", 1, 1, 2, 0.0)

    async def aclose(self) -> None:
        self.closed += 1


def down() -> BackendError:
    return BackendError("the connection broke off", "look", retryable=True)


async def failing(pool: PoolBackend, count: int) -> list[BackendError]:
    found = []
    for _ in range(count):
        with pytest.raises(BackendError) as caught:
            await pool.generate(request())
        found.append(caught.value)
    return found


async def test_the_least_busy_gets_the_next_request():
    one, two = Member(), Member()
    two._info = replace(two._info, max_concurrency=6)
    one.go.clear()
    two.go.clear()
    async with opened(PoolBackend([one, two])) as pool:
        assert pool.info.max_concurrency == 8
        tasks = [asyncio.create_task(pool.generate(request(seed))) for seed in range(8)]
        await asyncio.sleep(0)
        assert (one.calls, two.calls) == (2, 6)
        one.go.set()
        two.go.set()
        await asyncio.gather(*tasks)
    assert (one.closed, two.closed) == (1, 1)


async def test_a_dead_one_is_put_aside_and_tried_again_by_one_request():
    clock = Clock()
    dead, well = Member(*[down()] * (STRIKES + 1)), Member()
    pool = PoolBackend([dead, well], clock=clock)
    async with opened(pool):
        errors = await failing(pool, STRIKES)
        assert all(error.retryable for error in errors)
        for _ in range(5):
            await pool.generate(request())
        assert (dead.calls, well.calls) == (STRIKES, 5)
        clock.now += FIRST_REST
        await failing(pool, 1)  # the one that tries it
        clock.now += FIRST_REST
        for _ in range(3):
            await pool.generate(request())
        assert (dead.calls, well.calls) == (STRIKES + 1, 8)  # the second rest is twice as long
        clock.now += FIRST_REST
        dead.go.clear()
        tasks = [asyncio.create_task(pool.generate(request())) for _ in range(4)]
        await asyncio.sleep(0)
        assert (dead.calls, well.calls) == (STRIKES + 2, 11)
        dead.go.set()
        await asyncio.gather(*tasks)
        dead.go.clear()
        well.go.clear()
        tasks = [asyncio.create_task(pool.generate(request())) for _ in range(4)]
        await asyncio.sleep(0)
        assert (dead.calls, well.calls) == (STRIKES + 4, 13)
        dead.go.set()
        well.go.set()
        await asyncio.gather(*tasks)


async def test_all_dead_says_so_and_when_to_come_back():
    clock = Clock()
    pool = PoolBackend([Member(*[down()] * 9)], clock=clock)
    async with opened(pool):
        await failing(pool, STRIKES)
        clock.now += 1
        (error,) = await failing(pool, 1)
    assert "no server is left: the connection broke off" in error.message
    assert error.retryable
    assert error.retry_after == FIRST_REST - 1


async def test_failures_of_requests_from_before_do_not_lengthen_the_rest():
    clock = Clock()
    dead, well = Member(*[down()] * 20), Member()
    dead.go.clear()
    well.go.clear()
    pool = PoolBackend([dead, well], clock=clock)
    async with opened(pool):
        tasks = [asyncio.create_task(pool.generate(request())) for _ in range(16)]
        await asyncio.sleep(0)
        dead.go.set()
        well.go.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(one, BackendError) for one in results) == 8
        dead.answers.clear()
        clock.now += FIRST_REST
        await pool.generate(request())
        assert dead.calls == 9


async def test_a_server_that_asks_for_time_gets_it_and_is_not_dead():
    clock = Clock()
    busy = Member(BackendError("429", "wait", retryable=True, retry_after=7.0))
    pool = PoolBackend([busy], clock=clock)
    async with opened(pool):
        (error,) = await failing(pool, 1)
        assert error.retry_after == 7.0
        (error,) = await failing(pool, 1)
        assert error.retry_after == 7.0
        clock.now += 7
        done = await asyncio.gather(pool.generate(request()), pool.generate(request()))
    assert len(done) == 2


def busy(retry_after: float | None = None) -> BackendError:
    return BackendError("429", "wait", retryable=True, retry_after=retry_after, overloaded=True)


@pytest.mark.parametrize("told", [None, 0.0])
async def test_a_busy_server_is_not_a_dead_one_but_comes_last_for_a_while(told: float | None):
    clock = Clock()
    one, other = Member(*[busy(told)] * STRIKES * 2), Member()
    one.go.clear()
    other.go.clear()
    pool = PoolBackend([one, other], clock=clock)
    async with opened(pool):
        one._info = replace(one._info, max_concurrency=STRIKES * 100)
        tasks = [asyncio.create_task(pool.generate(request())) for _ in range(STRIKES + 1)]
        await asyncio.sleep(0)
        one.go.set()
        other.go.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(result, BackendError) for result in results) == STRIKES
        await pool.generate(request())
        assert (one.calls, other.calls) == (STRIKES, 2)
        other.go.clear()
        tasks = [asyncio.create_task(pool.generate(request())) for _ in range(4)]
        await asyncio.sleep(0)
        assert (one.calls, other.calls) == (STRIKES, 6)
        clock.now += FIRST_BREATH  # not seconds of rest, and no single request that tries it
        one.answers.clear()
        one.go.clear()
        more = [asyncio.create_task(pool.generate(request())) for _ in range(4)]
        await asyncio.sleep(0)
        assert (one.calls, other.calls) == (STRIKES + 4, 6)
        one.go.set()
        other.go.set()
        await asyncio.gather(*tasks, *more)


async def test_servers_that_are_all_busy_are_asked_all_the_same():
    async with opened(PoolBackend([Member(*[busy()] * STRIKES * 3)], clock=Clock())) as pool:
        errors = await failing(pool, STRIKES * 3)
        assert all(error.message == "429" and error.retryable for error in errors)
        assert (await pool.generate(request())).text


class Queued(Member):
    """One whose requests wait at a gate for a single place."""

    def __init__(self, *answers: BackendError | None, limit: int = 1) -> None:
        super().__init__(*answers)
        self.gate = Gate(Concurrency(2, limit))

    async def generate(self, request: Request, on_text=None) -> Completion:
        await self.gate.enter()
        try:
            return await super().generate(request, on_text)
        finally:
            self.gate.leave()


async def test_what_waits_for_a_server_that_is_put_aside_is_told_at_once():
    dead, well = Queued(*[down()] * 100), Member()
    dead.go.clear()
    well.go.clear()
    async with opened(PoolBackend([dead, well], clock=Clock())) as pool:
        tasks = [asyncio.create_task(pool.generate(request())) for _ in range(60)]
        await asyncio.sleep(0)
        dead.go.set()
        well.go.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        failed = [one for one in results if isinstance(one, BackendError)]
    assert dead.calls == STRIKES + 1  # the last place was handed on before it was put aside
    assert len(failed) == 20
    assert all(error.retryable for error in failed)


async def test_the_load_is_measured_by_the_limit_that_holds_now():
    cut, well = Queued(limit=1), Queued(limit=2)
    for one in (cut, well):
        one.go.clear()
    async with opened(PoolBackend([cut, well])) as pool:
        tasks = [asyncio.create_task(pool.generate(request())) for _ in range(12)]
        await asyncio.sleep(0)
        assert [member.inside for member in pool._members] == [4, 8]
        cut.go.set()
        well.go.set()
        await asyncio.gather(*tasks)


async def test_one_that_comes_back_with_another_model_is_refused_for_good():
    clock = Clock()
    other, well = Member(template="other", openings=1), Member()
    async with opened(PoolBackend([other, well], clock=clock)) as pool:
        clock.now += FIRST_REST
        (error,) = await failing(pool, 1)
        assert "differ" in error.message
        assert error.retryable
        for _ in range(5):
            clock.now += 1e6
            assert (await pool.generate(request())).text
    first = Member(*[down()] * STRIKES)
    async with opened(PoolBackend([first, Member(template="other", openings=1)], clock=clock)) as pool:
        first.go.clear()
        waiting = asyncio.create_task(pool.generate(request()))
        await asyncio.sleep(0)
        clock.now += FIRST_REST
        await failing(pool, 1)
        first.go.set()
        await asyncio.gather(waiting, return_exceptions=True)
        await failing(pool, STRIKES - 1)
        (error,) = await failing(pool, 1)
    assert "no server is left: the connection broke off" in error.message
    assert error.retry_after == FIRST_REST


async def test_a_prompt_that_is_too_long_is_nobodys_fault():
    overflow = ContextOverflow("too long", "shorten it")
    one = Member(*[overflow] * (STRIKES + 2))
    async with opened(PoolBackend([one])) as pool:
        errors = await failing(pool, STRIKES + 2)
        assert all(isinstance(error, ContextOverflow) for error in errors)
        assert (await pool.generate(request())).text


async def test_an_error_that_is_final_for_one_server_is_another_try_for_the_pool():
    key = BackendError("refuses the API key", "set it")
    async with opened(PoolBackend([Member(key), Member()])) as pool:
        (error,) = await failing(pool, 1)
        assert error.retryable
        assert error.hint
    async with opened(PoolBackend([Member(*[key] * STRIKES)])) as pool:
        errors = await failing(pool, STRIKES)
    assert [error.retryable for error in errors] == [True, True, False]


async def test_one_that_does_not_open_joins_later():
    clock = Clock()
    late, well = Member(openings=1), Member()
    pool = PoolBackend([late, well], clock=clock)
    async with opened(pool):
        assert pool.info.max_concurrency == 2
        await pool.generate(request())
        assert late.calls == 0
        clock.now += FIRST_REST
        await pool.generate(request())
        assert (late.calls, well.calls) == (1, 1)


async def test_one_that_is_too_busy_to_open_is_asked_by_one_request_at_a_time():
    clock = Clock()
    late, well = Member(openings=3), Member()
    late.refusal = busy()
    async with opened(PoolBackend([late, well], clock=clock)) as pool:
        clock.now += FIRST_REST
        await failing(pool, 1)
        clock.now += FIRST_BREATH
        for _ in range(3):
            await pool.generate(request())
        assert (late.openings, well.calls) == (1, 3)
        clock.now += 2 * FIRST_REST
        await failing(pool, 1)
        clock.now += 4 * FIRST_REST
        await pool.generate(request())
        assert late.calls == 1


async def test_none_that_opens_gives_the_first_error():
    pool = PoolBackend([Member(openings=1), Member(openings=1)])
    with pytest.raises(BackendError, match="cannot be reached"):
        await pool.open()
    with pytest.raises(BackendError):
        _ = pool.info


async def test_different_models_are_refused_at_once_and_later():
    with pytest.raises(ModelError, match="differ") as caught:
        await PoolBackend([Member(), Member(template="other")]).open()
    assert caught.value.hint
    clock = Clock()
    late, first = Member(template="other", openings=1), Member(*[down()] * STRIKES)
    async with opened(PoolBackend([first, late], clock=clock)) as pool:
        await failing(pool, STRIKES)
        clock.now += FIRST_REST
        first.go.clear()
        waiting = asyncio.create_task(pool.generate(request()))
        await asyncio.sleep(0)
        with pytest.raises(BackendError, match="differ"):
            await pool.generate(request())
        first.go.set()
        await waiting
        assert late.calls == 0


async def test_two_real_servers_one_of_which_dies(served_model: FakeModel):
    async with running(served_model, Script()) as one, running(served_model, Script()) as two:
        pool = PoolBackend([OpenAIBackend(server.url, slots=4) for server in (one, two)])
        async with opened(pool):
            prompt = Request("Hello", Sampling(max_tokens=5), 1)
            await asyncio.gather(*(pool.generate(replace(prompt, seed=seed)) for seed in range(8)))
            assert one.finished > 0
            assert two.finished > 0
            await two.stop()
            results = await asyncio.gather(
                *(pool.generate(replace(prompt, seed=seed)) for seed in range(16)), return_exceptions=True
            )
            assert all(one.retryable for one in results if isinstance(one, BackendError))
            done = [await pool.generate(replace(prompt, seed=seed)) for seed in range(8)]
            await two.start()
    assert len(done) == 8
