"""The scripted backend keeps the contract, and drives every path of SteppedBackend with its faults."""

from __future__ import annotations

import asyncio
import threading

import pytest
from contract import Contract, Prompts, opened

from localsynth.backends.scripted import CONTEXT, END_ID, Script, ScriptedBackend, ScriptedDecoder, _Counter
from localsynth.backends.scripted_texts import answer, question
from localsynth.backends.stepped import SteppedBackend
from localsynth.chat import derive
from localsynth.errors import BackendError, ModelError
from localsynth.records import Request, Sampling

ASK = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
ANSWER = ASK + "Tell me about honey bees.<|im_end|>\n<|im_start|>assistant\n"


def request(seed: int = 0, prompt: str = ASK, **parts) -> Request:
    return Request(prompt, Sampling(max_tokens=200), seed, **parts)


class TestScripted(Contract):
    @pytest.fixture(params=[0.0, 0.0005], ids=["at once", "piece by piece"])
    def backend(self, request: pytest.FixtureRequest):
        self.instant = request.param == 0.0
        return lambda slots: ScriptedBackend(slots, Script(delay=request.param))

    @pytest.fixture
    def prompts(self) -> Prompts:
        return Prompts(ASK, (ANSWER, ANSWER.replace("bees", "wasps")), 5)


async def test_its_template_gives_its_prompts():
    async with opened(ScriptedBackend()) as backend:
        fmt = derive(backend.info.template, backend.info.tokens)
    assert fmt.ask_prompt() == ASK
    assert END_ID in fmt.stop_ids


async def test_whole_texts_and_pieces_are_the_same_texts():
    requests = [request(seed, prompt, logprobs=False) for seed in range(6) for prompt in (ASK, ANSWER)]
    async with opened(ScriptedBackend(4)) as at_once, opened(ScriptedBackend(4, Script(delay=1e-5))) as slow:
        for one in requests:
            fast, pieces = await at_once.generate(one), await slow.generate(one)
            assert (fast.text, fast.completion_tokens) == (pieces.text, pieces.completion_tokens)
            assert (fast.finish_reason, fast.stopped_by) == (pieces.finish_reason, pieces.stopped_by)


def test_texts_differ_and_vary_in_length():
    questions = {question(seed) for seed in range(2000)}
    answers = [answer(seed, ANSWER) for seed in range(200)]
    assert len(questions) > 1990
    assert all("honey bees" in text for text in answers if len(text) > 600)
    assert min(map(len, answers)) < 150
    assert max(map(len, answers)) > 800


async def test_an_error_in_one_request_leaves_the_others():
    fault = BackendError("the server said 500", "try again", retryable=True)
    async with opened(ScriptedBackend(4, Script(faults={2: fault}))) as backend:
        done = await asyncio.gather(*(backend.generate(request(seed)) for seed in range(6)), return_exceptions=True)
    assert [isinstance(one, BackendError) for one in done] == [False, False, True, False, False, False]
    assert (done[2].message, done[2].hint, done[2].retryable) == (fault.message, fault.hint, True)


async def test_a_request_that_the_decoder_cannot_take_fails_alone():
    def write(one: Request) -> str:
        return str(1 / (one.seed - 1))

    async with opened(ScriptedBackend(2, Script(write=write))) as backend:
        done = await asyncio.gather(*(backend.generate(request(seed)) for seed in range(3)), return_exceptions=True)
    assert [isinstance(one, BackendError) for one in done] == [False, True, False]
    assert not done[1].retryable


async def test_a_decoder_that_dies_fails_all_that_wait_and_is_loaded_again():
    async with opened(ScriptedBackend(2, Script(faults={1: RuntimeError("out of memory")}))) as backend:
        done = await asyncio.gather(*(backend.generate(request(seed)) for seed in range(5)), return_exceptions=True)
        assert all(isinstance(one, BackendError) and one.retryable and one.hint for one in done)
        assert "out of memory" in done[0].message
        assert len({id(one) for one in done}) == 5
        again = await backend.generate(request(0))
    async with opened(ScriptedBackend(2)) as healthy:
        assert (await healthy.generate(request(0))).text == again.text


async def test_a_decoder_that_dies_at_a_cancellation_is_loaded_again():
    class Fragile(ScriptedDecoder):
        def remove(self, uid: int) -> None:
            raise RuntimeError("no such row")

        def close(self) -> None:
            raise RuntimeError("nor can it be freed")

    made = []

    def load() -> ScriptedDecoder:
        kind = ScriptedDecoder if made else Fragile
        made.append(kind(2, Script(delay=1e-4, write=lambda _: "word " * 150), "scripted", _Counter()))
        return made[-1]

    async with opened(SteppedBackend(load)) as backend:
        started = asyncio.Event()
        first = asyncio.create_task(backend.generate(request(0), lambda _: started.set()))
        neighbour = asyncio.create_task(backend.generate(request(1)))
        await started.wait()
        first.cancel()
        with pytest.raises(BackendError, match="no such row") as caught:
            await neighbour
        assert caught.value.retryable
        assert (await backend.generate(request(1))).text.strip() == ("word " * 150).strip()
    assert [type(decoder) for decoder in made] == [Fragile, ScriptedDecoder]


async def test_a_decoder_that_keeps_dying_is_over():
    faults = {number: RuntimeError("no such device") for number in range(10)}
    async with opened(ScriptedBackend(1, Script(faults=faults))) as backend:
        errors = []
        for seed in range(4):
            with pytest.raises(BackendError) as caught:
                await backend.generate(request(seed))
            errors.append(caught.value)
    assert [error.retryable for error in errors] == [True, False, False, False]


async def test_a_model_that_does_not_load():
    def load():
        raise ValueError("bad magic")

    backend = SteppedBackend(load)
    with pytest.raises(ModelError, match="bad magic") as caught:
        await backend.open()
    assert caught.value.hint
    with pytest.raises(BackendError):
        await backend.generate(request())
    await backend.aclose()


async def test_text_arrives_while_it_is_written_on_the_loops_thread(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("localsynth.backends.worker.TEXT_EVERY", 0.0)
    said: list[str] = []
    threads: set[int] = set()

    def on_text(text: str) -> None:
        said.append(text)
        threads.add(threading.get_ident())

    async with opened(ScriptedBackend(1, Script(delay=1e-5))) as backend:
        done = await backend.generate(request(), on_text)
    assert "".join(said) == done.text
    assert len(said) > 3
    assert threads == {threading.get_ident()}


async def test_a_listener_that_fails_does_not_stop_the_text():
    problems = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context["exception"]))
    async with opened(ScriptedBackend(1)) as backend:
        done = await backend.generate(request(), lambda _: 1 / 0)
    assert done.text
    assert isinstance(problems[0], ZeroDivisionError)


async def test_cancelled_rows_leave_no_trace():
    async with opened(ScriptedBackend(2, Script(delay=1e-5, write=lambda _: "word " * 150))) as backend:
        tasks = [asyncio.create_task(backend.generate(request(seed))) for seed in range(20)]
        await asyncio.sleep(0.005)
        for task in tasks[::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(one.text.strip() == ("word " * 150).strip() for one in done[1::2])


async def test_context_is_counted_with_the_tokens_asked_for():
    async with opened(ScriptedBackend(1)) as backend:
        most = Sampling(max_tokens=CONTEXT - 5)
        assert (await backend.generate(Request(ASK, most, 0))).text
        with pytest.raises(BackendError):
            await backend.generate(Request(ASK, Sampling(max_tokens=CONTEXT - 4), 0))
