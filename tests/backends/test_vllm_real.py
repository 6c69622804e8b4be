"""vLLM for real, on the starter as a folder: `make test-vllm` runs this with the interpreter that has vLLM."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from contract import Contract, Prompts, opened, same

from localsynth.backends.base import Backend, BackendInfo
from localsynth.backends.vllm import VllmBackend, VllmSettings
from localsynth.errors import BackendError, ModelError
from localsynth.records import Completion, Request, Sampling

MODEL = Path(os.environ.get("LOCALSYNTH_TEST_VLLM_MODEL", ""))
URL = os.environ.get("LOCALSYNTH_TEST_VLLM_URL", "")
HAS_VLLM = importlib.util.find_spec("vllm") is not None and MODEL.name != ""
# One event loop for the module: an engine lives on the loop that it was started on.
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.slow,
    pytest.mark.skipif(not HAS_VLLM, reason="needs vLLM and a model folder: make test-vllm"),
]

SYSTEM = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
ASK = SYSTEM + "<|im_start|>user\n"
Make = Callable[[int], Backend]
# Nothing here takes a third of it: what is not done by then never will be.
BOUND_S = 150


def answering(question: str) -> str:
    return f"{ASK}{question}<|im_end|>\n<|im_start|>assistant\n"


class Bounded(VllmBackend):
    """Fails where it would wait for ever."""

    async def open(self) -> None:
        async with asyncio.timeout(BOUND_S):
            await super().open()

    async def generate(self, request: Request, on_text: Callable[[str], None] | None = None) -> Completion:
        async with asyncio.timeout(BOUND_S):
            return await super().generate(request, on_text)

    async def aclose(self) -> None:
        async with asyncio.timeout(BOUND_S):
            await super().aclose()


def small(slots: int) -> VllmBackend:
    return Bounded(MODEL, VllmSettings(slots=slots, context=512))


def engines() -> list[multiprocessing.process.BaseProcess]:
    return [child for child in multiprocessing.active_children() if child.name.startswith("EngineCore")]


class Lasting:
    """A backend whose engine the module's tests share: one takes about twenty seconds to start."""

    def __init__(self, kept: dict[int, VllmBackend], slots: int) -> None:
        self._kept, self._slots, self._open = kept, slots, False

    @property
    def info(self) -> BackendInfo:
        return self._own.info

    @property
    def _own(self) -> VllmBackend:
        return self._kept[self._slots] if self._open else small(self._slots)

    async def open(self) -> None:
        if self._slots not in self._kept:
            backend = small(self._slots)
            await backend.open()
            self._kept[self._slots] = backend
        self._open = True

    async def generate(self, request: Request, on_text: Callable[[str], None] | None = None) -> Completion:
        return await self._own.generate(request, on_text)

    async def aclose(self) -> None:
        """It is closed after the last test."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kept() -> AsyncIterator[dict[int, VllmBackend]]:
    backends: dict[int, VllmBackend] = {}
    yield backends
    for backend in backends.values():
        await backend.aclose()
    assert not engines()


class TestVllm(Contract):
    """The weights are bfloat16, and how their sums are rounded depends on the rows beside: a seed promises the same
    random numbers, and the same text only to a request that runs alone."""

    cap = 12
    exact = False

    @pytest.fixture
    def backend(self, kept: dict[int, VllmBackend], request: pytest.FixtureRequest) -> Make:
        if request.node.name == "test_closing_twice_and_while_busy":
            return small
        return lambda slots: Lasting(kept, slots)

    @pytest.fixture
    def prompts(self) -> Prompts:
        return Prompts(ASK, (answering("What is tea?"), answering("Name three rivers of Europe.")), 24)


@pytest.fixture
def backend(kept: dict[int, VllmBackend]) -> Backend:
    return Lasting(kept, 4)


async def test_vllm_gets_the_ids_of_the_prompt_with_one_bos(kept: dict[int, VllmBackend], backend: Backend):
    async with opened(backend):
        client = kept[4]._engine._client
        seen = []

        async def spying(*arguments):
            async for output in client.generate(*arguments):
                seen.append(output.prompt_token_ids)
                yield output

        spy = type("Spy", (), {"generate": staticmethod(spying), "errored": False})()
        kept[4]._engine._client = spy
        try:
            done = await backend.generate(Request("<|im_start|>user\n", Sampling(max_tokens=1), 0))
        finally:
            kept[4]._engine._client = client
    assert seen[0] == [1, 4093, 198]  # <|im_start|> is the starter's BOS
    assert done.prompt_tokens == 3


async def test_logprobs_are_those_before_temperature_and_truncation(backend: Backend):
    async with opened(backend):
        greedy = Request(answering("What is tea?"), Sampling(temperature=0.0, max_tokens=8), 1, logprobs=True)
        narrow = Request(greedy.prompt, Sampling(temperature=0.3, top_k=1, max_tokens=8), 1, logprobs=True)
        one, other = await asyncio.gather(backend.generate(greedy), backend.generate(narrow))
    assert one.text == other.text
    # Behind top-k 1 every one would be 0. Rows of a batch differ by the rounding of bfloat16.
    assert min(one.logprobs) < -0.5
    assert one.logprobs == pytest.approx(other.logprobs, abs=0.2)


async def test_a_stop_id_of_the_request_ends_it(backend: Backend):
    async with opened(backend):
        request = Request(answering("What is tea?"), Sampling(temperature=0.0, max_tokens=60), 0, stop_ids=(30,))
        done = await backend.generate(request)
    assert (done.finish_reason, done.stopped_by) == ("stop", 30)  # a full stop
    assert done.text
    assert "." not in done.text


async def test_ctrl_c_does_not_reach_the_engine(backend: Backend):
    import psutil

    request = Request(answering("What is tea?"), Sampling(max_tokens=30), 1)
    async with opened(backend):
        before = await backend.generate(request)
        task = asyncio.create_task(backend.generate(request))
        await asyncio.sleep(0)
        for engine in engines():
            for process in (psutil.Process(engine.pid), *psutil.Process(engine.pid).children()):
                process.send_signal(signal.SIGINT)
        assert same(await task, before)


async def test_the_engine_is_started_again_after_it_died(kept: dict[int, VllmBackend]):
    backend = Lasting(kept, 1)
    async with opened(backend):
        request = Request(answering("What is tea?"), Sampling(temperature=0.0, max_tokens=40), 1)
        whole = await backend.generate(request)
        task = asyncio.create_task(backend.generate(request))
        for pid in kept[1]._engine._processes:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(BackendError) as caught:
            await task
        assert caught.value.retryable
        assert caught.value.hint
        assert same(await backend.generate(request), whole)


async def test_an_engine_that_answers_nobody_is_ended(kept: dict[int, VllmBackend]):
    backend = Lasting(kept, 1)
    async with opened(backend):
        engine = kept[1]._engine
        engine._silence.limit_s = 2.0
        for pid in engine._processes:
            os.kill(pid, signal.SIGSTOP)
        with pytest.raises(BackendError, match="no answer for 2 seconds") as caught:
            await backend.generate(Request(ASK, Sampling(max_tokens=4), 1))
        assert caught.value.retryable
        assert engine.dead


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        (VllmSettings(slots=1, context=256, quantisation="fp3"), "--quantisation"),
        (VllmSettings(slots=1, context=256, tensor_parallel=2), "--tensor-parallel"),
    ],
)
async def test_what_vllm_refuses_is_one_line_and_what_to_change(settings: VllmSettings, hint: str):
    before = {engine.pid for engine in engines()}
    with pytest.raises(ModelError) as caught:
        await Bounded(MODEL, settings).open()
    assert "\n" not in caught.value.message
    assert hint in caught.value.hint
    # One that died before may be gone by now.
    assert {engine.pid for engine in engines()} <= before


async def test_the_cause_is_told_where_the_engine_fails_while_it_loads(tmp_path: Path):
    before = {engine.pid for engine in engines()}
    for file in MODEL.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, tmp_path)
    weights = next(MODEL.glob("*.safetensors"))
    with weights.open("rb") as whole:
        (tmp_path / weights.name).write_bytes(whole.read(1 << 20))
    with pytest.raises(ModelError) as caught:
        await Bounded(tmp_path, VllmSettings(slots=1, context=256)).open()
    assert "Safetensor" in caught.value.message
    assert "initialization failed" not in caught.value.message
    # One that died before may be gone by now.
    assert {engine.pid for engine in engines()} <= before


HOLDER = """
import asyncio, json, os, sys
from pathlib import Path
import psutil
from localsynth.backends.vllm import VllmBackend, VllmSettings

async def main():
    backend = VllmBackend(Path(sys.argv[1]), VllmSettings(slots=1, context=256))
    await backend.open()
    children = psutil.Process().children(recursive=True)
    print(json.dumps([c.pid for c in children if "resource_tracker" not in " ".join(c.cmdline())]), flush=True)
    await asyncio.sleep(600)

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_a_killed_run_leaves_no_process_behind(tmp_path: Path):
    import psutil

    script = tmp_path / "holder.py"
    script.write_text(HOLDER)
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, str(script), str(MODEL)], stdout=subprocess.PIPE, env=env) as holder:
        late = threading.Timer(BOUND_S, holder.kill)
        late.start()
        try:
            started = [psutil.Process(pid) for pid in json.loads(holder.stdout.readline())]
        finally:
            late.cancel()
            holder.kill()
    assert len(started) >= 3  # the guard, the engine, its worker
    _, alive = psutil.wait_procs(started, timeout=30)
    assert not alive


def pairs(tmp_path: Path, count: int, *how: str) -> list[dict]:
    """Make pairs with the command line, as a user would, and read the export."""
    out = tmp_path / "pairs.jsonl"
    own = {"LOCALSYNTH_HOME": str(tmp_path / "home"), "LOCALSYNTH_STORE": str(tmp_path / "run.db")}
    run = [sys.executable, "-m", "localsynth"]
    short = ["--question-tokens", "160", "--answer-tokens", "384", "--seed", "1"]
    made = subprocess.run(
        [*run, "generate", "-n", str(count), *short, *how],
        env=os.environ | own, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
        timeout=4 * BOUND_S,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    subprocess.run(
        [*run, "export", str(out)], env=os.environ | own, cwd=Path(__file__).parents[2], capture_output=True, check=True
    )
    with sqlite3.connect(tmp_path / "run.db") as store:
        assert store.execute("SELECT state FROM runs").fetchall() == [("finished",)]
    store.close()
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def test_a_short_run_in_process(tmp_path: Path):
    rows = pairs(tmp_path, 4, "--backend", "vllm", "--model", str(MODEL), "--slots", "8")
    assert len(rows) == 4


@pytest.mark.skipif(not URL, reason="needs a vLLM server: make test-vllm")
def test_fifty_pairs_from_a_vllm_server(tmp_path: Path):
    served = ["--backend", "openai", "--server", f"{URL}/v1", "--tokenizer", str(MODEL)]
    rows = pairs(tmp_path, 50, *served)
    assert len(rows) == 50
    assert len({json.dumps(row) for row in rows}) == 50
