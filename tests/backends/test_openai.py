"""The backend over /v1/completions keeps the contract against each kind of server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from contract import Contract, Prompts, opened
from fake_model import ANSWER, ASK, FakeModel
from fake_server import FakeServer, Script, running

from localsynth.backends.openai import OpenAIBackend
from localsynth.errors import BackendError
from localsynth.records import Request, Sampling

REAL = os.environ.get("LOCALSYNTH_TEST_VLLM_URL", "")


class Served(Contract):
    instant = True
    script = Script()

    @pytest.fixture
    async def server(self, served_model: FakeModel):
        async with running(served_model, self.script) as server:
            yield server

    @pytest.fixture
    def backend(self, server: FakeServer):
        return lambda slots: OpenAIBackend(server.url, slots=slots, tokenizer=self.tokenizer(server))

    def tokenizer(self, server: FakeServer) -> Path | None:
        return None

    @pytest.fixture
    def prompts(self, served_model: FakeModel) -> Prompts:
        return Prompts(ASK, (ANSWER, ANSWER.replace("bees", "wasps")), len(served_model.encode(ASK)))


class TestVllm(Served):
    pass


class TestVllmAsText(Served):
    """The same without token ids, by a server that puts a BOS before every text."""

    script = Script(ids=False, adds_bos=True)


class TestLlamaServer(Served):
    """llama-server on this machine: its model file is read here."""

    script = Script(kind="llama-server")


class TestLlamaServerFarAway(Served):
    """The vocabulary is the server's own, so the first token cannot be chosen and prompts are not counted here."""

    script = Script(kind="llama-server", tells_root=False, adds_bos=True)

    async def test_the_first_token_avoids(self, backend, prompts: Prompts):
        async with opened(backend(1)) as it:
            with pytest.raises(BackendError, match="avoid_first") as caught:
                await it.generate(Request(prompts.ask, Sampling(avoid_first=("#",)), 0))
        assert "tokenizer" in caught.value.hint


class TestOtherServer(Served):
    """A strict server that knows the oldest parameters alone; the user names the tokenizer."""

    script = Script(
        kind="server",
        ids=False,
        refuses=frozenset(
            {"min_p", "top_k", "repeat_penalty", "repetition_penalty", "stop_token_ids", "return_token_ids"}
        ),
    )

    def tokenizer(self, server: FakeServer) -> Path | None:
        return server.model.folder

    async def test_the_context_that_lm_studio_tells(self, backend):
        async with opened(backend(1)) as it:
            assert it.info.context == 2048


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="needs a real vLLM server that serves the starter: make test-vllm")
class TestRealVllm(Contract):
    """A vLLM server that serves the starter on this machine."""

    cap = 12
    exact = False  # its kernels round a row by what runs beside it

    @pytest.fixture
    def backend(self):
        return lambda slots: OpenAIBackend(REAL, slots=slots)

    @pytest.fixture
    def prompts(self) -> Prompts:
        system = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        ask = f"{system}<|im_start|>user\n"
        answers = [f"{ask}{text}<|im_end|>\n<|im_start|>assistant\n" for text in ("What is tea?", "Name three rivers.")]
        return Prompts(ask, tuple(answers), 24)
