"""What every backend must do, written once. A test module subclasses Contract and gives the fixtures `backend`, a
function that makes unopened backends, and `prompts`; Installed and Absent are for those that they can concern."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import pytest

from localsynth.backends.base import Backend
from localsynth.errors import BackendError, ContextOverflow, MissingPackage, ModelError
from localsynth.records import Completion, Request, Sampling

Make = Callable[..., Backend]


class _Cached(Protocol):
    def cache_clear(self) -> None: ...


@dataclass(frozen=True)
class Prompts:
    """Raw prompts for the model under test, one that ends by itself; `tokens` of the first one."""

    ask: str
    answers: tuple[str, ...]
    tokens: int


@asynccontextmanager
async def opened(backend: Backend) -> AsyncIterator[Backend]:
    await backend.open()
    try:
        yield backend
    finally:
        await backend.aclose()


def same(one: Completion, other: Completion) -> bool:
    """Equal but for the time it took."""
    return replace(one, duration=0.0) == replace(other, duration=0.0)


class Contract:
    """Subclasses set `cap`, tokens a row may have, and `slots`.

    `instant`: a stand-in that writes nothing token by token; that its requests overlap is shown by a test of its own.
    `exact`: rows are the same to the last bit whatever runs beside them. A backend that says so of itself
    (`info.exact_replay`) is held to it in any case.
    """

    cap = 24
    slots = 4
    instant = False
    exact = True

    def alike(self, it: Backend, one: Completion, other: Completion) -> bool:
        if self.exact or it.info.exact_replay:
            return same(one, other)
        # Rounding beside other neighbours decides between tokens that are almost equally likely.
        return (one.text[:3], one.prompt_tokens) == (other.text[:3], other.prompt_tokens)

    def asks(self, prompts: Prompts, count: int, **sampling) -> list[Request]:
        chosen = Sampling(**{"max_tokens": self.cap} | sampling)
        mixed = (prompts.ask, *prompts.answers)
        return [Request(mixed[seed % len(mixed)], chosen, seed) for seed in range(count)]

    async def test_facts_are_whole_once_open(self, backend: Make, prompts: Prompts):
        unopened = backend(self.slots)
        with pytest.raises(BackendError) as caught:
            _ = unopened.info
        assert caught.value.hint
        with pytest.raises(BackendError) as caught:
            await unopened.generate(self.asks(prompts, 1)[0])
        assert caught.value.hint
        async with opened(unopened) as it:
            info = it.info
            assert info.name
            assert info.version
            assert info.model
            assert info.max_concurrency == self.slots
            assert info.context >= 256
            assert info.template
            assert info.tokens.end_ids
            assert set(info.tokens.end_ids) & set(info.tokens.control.values())

    async def test_the_prompt_is_taken_as_it_is(self, backend: Make, prompts: Prompts):
        async with opened(backend(self.slots)) as it:
            done = await it.generate(Request(prompts.ask, Sampling(max_tokens=1), 0))
        assert done.prompt_tokens == prompts.tokens

    async def test_a_bos_in_the_prompt_is_one_token_more(self, backend: Make, prompts: Prompts):
        async with opened(backend(self.slots)) as it:
            bos = it.info.tokens.bos
            plain = await it.generate(Request(prompts.ask, Sampling(max_tokens=1), 0))
            more = await it.generate(Request(bos + prompts.ask, Sampling(max_tokens=1), 0))
        assert more.prompt_tokens == plain.prompt_tokens + bool(bos)

    async def test_length_and_stop_are_told_apart(self, backend: Make, prompts: Prompts):
        async with opened(backend(self.slots)) as it:
            cut = await it.generate(Request(prompts.ask, Sampling(max_tokens=2), 0))
            requests = [Request(prompts.ask, Sampling(max_tokens=200), seed) for seed in range(4)]
            whole = await asyncio.gather(*map(it.generate, requests))
        assert (cut.finish_reason, cut.stopped_by, cut.completion_tokens) == ("length", None, 2)
        assert any(done.finish_reason == "stop" for done in whole)
        for done in whole:
            if done.finish_reason == "stop":
                assert done.stopped_by in it.info.tokens.end_ids
                assert done.text
                assert not any(text in done.text for text in it.info.tokens.control)

    async def test_a_stop_text_ends_the_text_before_it(self, backend: Make, prompts: Prompts):
        async with opened(backend(self.slots)) as it:
            plain = await it.generate(Request(prompts.ask, Sampling(max_tokens=self.cap), 5))
            stop = plain.text[len(plain.text) // 2 :][:7]
            said: list[str] = []
            done = await it.generate(
                Request(prompts.ask, Sampling(max_tokens=self.cap), 5, stop=(stop, "\0")), said.append
            )
        assert done.text == plain.text[: plain.text.index(stop)]
        assert (done.finish_reason, done.stopped_by) == ("stop", stop)
        assert "".join(said) == done.text
        assert done.completion_tokens <= plain.completion_tokens

    async def test_a_text_that_only_begins_like_a_stop_text_is_whole(self, backend: Make, prompts: Prompts):
        async with opened(backend(self.slots)) as it:
            plain = await it.generate(Request(prompts.ask, Sampling(max_tokens=self.cap), 5))
            said: list[str] = []
            request = Request(prompts.ask, Sampling(max_tokens=self.cap), 5, stop=(plain.text[-3:] + "\0",))
            done = await it.generate(request, said.append)
        assert same(done, plain)
        assert "".join(said) == plain.text

    async def test_requests_overlap_and_more_than_slots_are_queued(self, backend: Make, prompts: Prompts):
        ended: list[str] = []

        async def one(name: str, request: Request) -> None:
            await it.generate(request)
            ended.append(name)

        async with opened(backend(self.slots)) as it:
            requests = self.asks(prompts, 3 * self.slots)
            done = await asyncio.gather(*map(it.generate, requests))
            long = Request(prompts.ask, Sampling(max_tokens=self.cap), 5)
            await asyncio.gather(one("long", long), one("short", replace(long, sampling=Sampling(max_tokens=1))))
        assert len(done) == 3 * self.slots
        if not self.instant:  # one after the other, the long one that came first would end first
            assert ended == ["short", "long"]

    async def test_the_seed_decides_whatever_the_neighbours(self, backend: Make, prompts: Prompts):
        requests = self.asks(prompts, 2 * self.slots)
        async with opened(backend(self.slots)) as it:
            together = await asyncio.gather(*map(it.generate, requests))
            backwards = await asyncio.gather(*map(it.generate, reversed(requests)))
            other = await it.generate(replace(requests[0], seed=requests[0].seed + 1000))
            exact = self.exact or it.info.exact_replay
        if exact:
            assert all(same(*pair) for pair in zip(together, reversed(backwards), strict=True))
        else:  # rounding beside other neighbours may draw another token; alone a seed is held to, see below
            assert [one.prompt_tokens for one in together] == [one.prompt_tokens for one in reversed(backwards)]
        assert other.text != together[0].text

    async def test_what_is_kept_of_a_row_changes_nothing(self, backend: Make, prompts: Prompts):
        async with opened(backend(self.slots)) as it:
            first = await it.generate(Request(prompts.ask, Sampling(max_tokens=self.cap), 5, continued=True))
            text = f"{prompts.ask}{first.text} And more"
            request = Request(text, Sampling(max_tokens=self.cap), 6, opening=prompts.ask, continued=True)
            await asyncio.gather(*map(it.generate, self.asks(prompts, self.slots)))  # every slot is used again
            kept = await it.generate(request)
            again = await it.generate(request)
            second = replace(request, prompt=f"{text}{kept.text} And more", seed=7)
            after = await it.generate(second)
        async with opened(backend(self.slots)) as it:
            pairs = [(kept, await it.generate(request)), (after, await it.generate(second)), (kept, again)]
            assert all(self.alike(it, *pair) for pair in pairs)

    @pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1])
    async def test_every_seed_is_a_seed(self, backend: Make, prompts: Prompts, seed: int):
        async with opened(backend(self.slots)) as it:
            request = Request(prompts.ask, Sampling(max_tokens=self.cap), seed)
            assert same(await it.generate(request), await it.generate(request))

    async def test_greedy_in_a_batch_is_greedy_alone(self, backend: Make, prompts: Prompts):
        requests = self.asks(prompts, self.slots, temperature=0.0)
        async with opened(backend(self.slots)) as it:
            together = await asyncio.gather(*map(it.generate, requests))
            alone = [await it.generate(replace(request, seed=99)) for request in requests]
            assert all(self.alike(it, *pair) for pair in zip(together, alone, strict=True))

    async def test_one_logprob_per_sampled_token(self, backend: Make, prompts: Prompts):
        async with opened(backend(self.slots)) as it:
            request = Request(prompts.ask, Sampling(max_tokens=200), 0, logprobs=True)
            done = await it.generate(request)
            without = await it.generate(replace(request, logprobs=False))
        assert without.logprobs is None
        if it.info.logprobs:
            assert len(done.logprobs) == done.completion_tokens
            assert all(value <= 0 for value in done.logprobs)
        else:
            assert done.logprobs is None

    async def test_the_first_token_avoids(self, backend: Make, prompts: Prompts):
        async with opened(backend(self.slots)) as it:
            plain = await it.generate(Request(prompts.ask, Sampling(max_tokens=self.cap), 5))
            start = plain.text.split()[0]
            sampling = Sampling(max_tokens=self.cap, avoid_first=(start[:1],))
            done = await it.generate(Request(prompts.ask, sampling, 5))
        assert not done.text.lstrip().startswith(start[:1])
        assert done.text

    async def test_cancelling_frees_the_slot(self, backend: Make, prompts: Prompts):
        async with opened(backend(1)) as it:
            long = asyncio.create_task(it.generate(Request(prompts.ask, Sampling(max_tokens=200), 1)))
            queued = asyncio.create_task(it.generate(Request(prompts.ask, Sampling(max_tokens=200), 2)))
            await asyncio.sleep(0)
            long.cancel()
            queued.cancel()
            done = await it.generate(Request(prompts.ask, Sampling(max_tokens=3), 3))
            assert done.completion_tokens <= 3
            for task in (long, queued):
                with pytest.raises(asyncio.CancelledError):
                    await task

    async def test_a_prompt_that_is_too_long_fails_alone(self, backend: Make, prompts: Prompts):
        async with opened(backend(self.slots)) as it:
            too_long = Request(prompts.ask + "far too long " * it.info.context, Sampling(max_tokens=8), 0)
            too_many = Request(prompts.ask, Sampling(max_tokens=it.info.context), 0)
            fine = Request(prompts.ask, Sampling(max_tokens=8), 0)
            results = await asyncio.gather(*map(it.generate, (too_long, fine, too_many)), return_exceptions=True)
        assert isinstance(results[1], Completion)
        for error in (results[0], results[2]):
            assert isinstance(error, ContextOverflow)
            assert error.hint
            assert not error.retryable

    async def test_closing_twice_and_while_busy(self, backend: Make, prompts: Prompts):
        it = backend(1)
        await it.open()
        tasks = [asyncio.create_task(it.generate(request)) for request in self.asks(prompts, 3, max_tokens=200)]
        await asyncio.sleep(0)
        await it.aclose()
        await it.aclose()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, Completion | BackendError)
        with pytest.raises(BackendError) as caught:
            await it.generate(self.asks(prompts, 1)[0])
        assert caught.value.hint


class Absent:
    """For backends whose model or server may not be there; subclasses give the fixture `absent`, such a backend."""

    async def test_a_model_that_is_not_there_is_told_with_what_to_type(self, absent: Backend):
        with pytest.raises((ModelError, BackendError)) as caught:
            await absent.open()
        assert not isinstance(caught.value, MissingPackage)
        assert caught.value.hint
        assert "\n" not in caught.value.message
        with pytest.raises(BackendError):
            _ = absent.info
        await absent.aclose()
        await absent.aclose()


class Installed:
    """For backends with a package of their own: its name, and the cached function that imports it."""

    package: str
    loaded: _Cached

    async def test_without_its_package_it_says_how_to_install_it(self, backend: Make, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, self.package, None)
        self.loaded.cache_clear()
        try:
            with pytest.raises(MissingPackage) as caught:
                await backend(1).open()
        finally:
            self.loaded.cache_clear()
        assert caught.value.hint.startswith("pip install")
        assert "not installed" in caught.value.message
