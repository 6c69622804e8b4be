"""Who waits for vLLM's engine and hears nothing."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from localsynth.backends.vllm.silence import LOOKS, Silence


class Engine:
    """What the silence is told about; with a limit of 0 it looks once in every turn of the event loop."""

    def __init__(self) -> None:
        self.dead = False
        self.broken = 0
        self.silence = Silence(lambda: self.dead, self.end, limit_s=0.0)

    def end(self) -> None:
        self.broken += 1
        self.dead = True

    async def waits(self) -> str:
        try:
            async with self.silence.broken_off():
                await asyncio.Event().wait()
        except TimeoutError:
            return "ended"
        return "answered"


async def test_all_who_wait_are_ended_when_nobody_is_answered():
    engine = Engine()
    async with asyncio.timeout(60):
        assert await asyncio.gather(*[engine.waits() for _ in range(3)]) == ["ended"] * 3
    assert engine.broken == 1


async def test_one_who_waits_long_is_not_ended_while_others_are_answered():
    engine = Engine()
    waiting = asyncio.create_task(engine.waits())
    for _ in range(20 * LOOKS):
        await asyncio.sleep(0)
        engine.silence.heard()
    assert not waiting.done()
    async with asyncio.timeout(60):
        assert await waiting == "ended"
    assert engine.broken == 1


async def test_a_silence_in_which_nobody_waits_does_not_count():
    engine = Engine()
    for _ in range(2 * LOOKS):
        async with engine.silence.broken_off():
            for _ in range(LOOKS // 2):
                await asyncio.sleep(0)
    assert not engine.broken


async def test_a_dead_engine_of_which_nobody_was_told_is_noticed_at_the_next_look():
    engine = Engine()
    engine.dead = True
    async with asyncio.timeout(60):
        assert await engine.waits() == "ended"
    assert not engine.broken


async def test_who_comes_while_the_others_are_ended_is_ended_too():
    engine = Engine()
    late: list[asyncio.Task[str]] = []
    engine.end = lambda: late.append(asyncio.create_task(engine.waits()))
    engine.silence = Silence(lambda: bool(late), engine.end, limit_s=0.0)
    async with asyncio.timeout(60):
        assert await engine.waits() == "ended"
        assert await late[0] == "ended"


async def test_a_cancelled_or_closed_one_is_not_timed_out():
    engine = Engine()
    waiting = asyncio.create_task(engine.waits())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    async def tokens():
        async with engine.silence.broken_off():
            yield 1
            yield 2

    async with contextlib.aclosing(tokens()) as stream:
        assert await anext(stream) == 1
    assert not engine.silence._waiting
    assert engine.silence._timer.cancelled()
