"""Product backends in Ray actors: the contract over the wire, and errors with what to do next. `make test-ray` runs it."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contract import Absent, Contract, Prompts, opened
from ray_backend import RayBackend
from test_llamacpp import ASK as STARTER_ASK
from test_llamacpp import answering
from test_scripted import ANSWER, ASK
from tiny_models import write_tokenizer

from localsynth.config import Plan, plan_from
from localsynth.errors import BackendError, MissingPackage
from localsynth.handoff.cluster.connect import LOCAL, connected
from localsynth.records import Request, Sampling

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed here: make test-ray"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]
Make = Callable[[Plan], RayBackend]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One of this machine, on the loopback interface, as `--address local` starts it."""
    with pytest.MonkeyPatch.context() as environment:  # what the processes of the cluster get
        environment.setenv("LOCALSYNTH_HOME", str(tmp_path_factory.mktemp("home")))
        environment.setenv("HF_HUB_OFFLINE", "1")
        with connected(LOCAL, 2):
            yield


@pytest.fixture
def remote(cluster: None) -> Iterator[Make]:
    """Makes backends whose processes end with the test."""
    import ray

    made: list[RayBackend] = []

    def make(plan: Plan) -> RayBackend:
        made.append(RayBackend(plan))
        return made[-1]

    yield make
    for backend in made:
        ray.kill(backend.owner)


def plan(backend: str, slots: int, model: str = "", context: int = 512) -> Plan:
    return plan_from(
        {
            "ask": {"backend": backend, "model": model},
            "machine": {"slots": slots, "context": context, "threads": 1},
        }
    )


class TestScriptedOverRay(Contract, Absent):
    instant = True

    @pytest.fixture
    def backend(self, remote: Make):
        return lambda slots: remote(plan("scripted", slots))

    @pytest.fixture
    def absent(self, remote: Make, tmp_path: Path) -> RayBackend:
        return remote(plan("llamacpp", 1, str(tmp_path / "absent.gguf")))

    @pytest.fixture
    def prompts(self) -> Prompts:
        return Prompts(ASK, (ANSWER, ANSWER.replace("bees", "wasps")), 5)


@pytest.mark.starter
class TestLlamaCppOverRay(Contract):
    cap = 12

    @pytest.fixture
    def backend(self, starter: Path, remote: Make):
        return lambda slots: remote(plan("llamacpp", slots, str(starter)))

    @pytest.fixture
    def prompts(self) -> Prompts:
        return Prompts(STARTER_ASK, (answering("What is tea?"), answering("Name three rivers of Europe.")), 24)


@pytest.mark.starter
async def test_cancelling_reaches_the_backend_that_writes(starter: Path, remote: Make):
    async with opened(remote(plan("llamacpp", 1, str(starter), 2048))) as backend:
        begun = asyncio.Event()
        # The starter never comes to an end of this.
        endless = answering("Write the word tea a thousand times.")
        long = Request(endless, Sampling(temperature=0, max_tokens=1900), 0)
        task = asyncio.create_task(backend.generate(long, lambda _: begun.set()))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await backend.generate(Request(STARTER_ASK, Sampling(max_tokens=2), 2))
        assert await backend.owner.cancelled.remote() == 1


async def test_a_package_that_is_missing_there_is_told_with_what_to_type(remote: Make, tmp_path: Path):
    if importlib.util.find_spec("vllm"):
        pytest.skip("vLLM is installed here")
    folder = write_tokenizer(tmp_path / "model")
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(MissingPackage) as caught:
        await remote(plan("vllm", 1, str(folder))).open()
    assert "pip install 'localsynth[vllm]'" in caught.value.hint


async def test_a_process_that_dies_is_an_error_that_may_pass(remote: Make):
    import ray

    backend = remote(plan("scripted", 1))
    await backend.open()
    ray.kill(backend.owner)
    with pytest.raises(BackendError) as caught:
        await backend.generate(Request(ASK, Sampling(), 0))
    assert caught.value.retryable
    assert caught.value.hint
