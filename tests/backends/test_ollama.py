"""Ollama by its own interface: the contract, one BOS, and what it cannot do said instead of done wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from contract import Contract, Make, Prompts, opened
from fake_model import ANSWER, ASK, BOS, END, MODEL, TEMPLATE, FakeModel, write_model
from fake_server import FakeServer, Fault, Script, running

from localsynth.backends.gguf import read_facts
from localsynth.backends.ollama import OllamaBackend
from localsynth.chat import derive
from localsynth.errors import BackendError, ContextOverflow, ModelError
from localsynth.records import Request, Sampling


def script(**parts: object) -> Script:
    show = {
        "modelfile": f"# Modelfile\nFROM /nowhere/blobs/sha256-0123\nTEMPLATE {{{{ .Prompt }}}}\nPARAMETER stop {END}",
        "details": {"quantization_level": "Q4_K_M"},
        "model_info": {"general.architecture": "llama", "llama.context_length": 131072},
    }
    return Script(**{"kind": "ollama", "show": show} | parts)


def request(seed: int = 0, **parts) -> Request:
    return Request(ASK, Sampling(max_tokens=100), seed, **parts)


class TestOllama(Contract):
    instant = True

    @pytest.fixture(params=[False, True], ids=["plain", "adds BOS"])
    async def server(self, served_model: FakeModel, request: pytest.FixtureRequest) -> AsyncIterator[FakeServer]:
        async with running(served_model, script(adds_bos=request.param)) as server:
            yield server

    @pytest.fixture
    def backend(self, server: FakeServer) -> Make:
        return lambda slots: OllamaBackend(server.url, MODEL, tokenizer=server.model.folder, slots=slots)

    @pytest.fixture
    def prompts(self, served_model: FakeModel) -> Prompts:
        return Prompts(ASK, (ANSWER, ANSWER.replace("bees", "wasps")), len(served_model.encode(ASK)))

    async def test_one_logprob_per_sampled_token(self, backend: Make, prompts: Prompts):
        async with opened(backend(1)) as it:
            assert not it.info.logprobs
            assert (await it.generate(request(logprobs=True))).logprobs is None

    async def test_the_first_token_avoids(self, backend: Make, prompts: Prompts):
        async with opened(backend(1)) as it:
            with pytest.raises(BackendError, match="avoid_first") as caught:
                await it.generate(Request(ASK, Sampling(avoid_first=("#",)), 0))
        assert caught.value.hint


@pytest.mark.parametrize("adds", [False, True])
async def test_exactly_one_bos_and_everything_said(served_model: FakeModel, adds: bool):
    async with running(served_model, script(adds_bos=adds)) as server:
        async with opened(OllamaBackend(server.url, MODEL, tokenizer=served_model.folder)) as backend:
            prompt = derive(backend.info.template, backend.info.tokens).ask_prompt()
            await backend.generate(Request(prompt, Sampling(0.7, 0.9, 40, 0.05, 1.1, 33), 2**32 - 1))
            assert (backend.info.name, backend.info.quantisation) == ("ollama", "Q4_K_M")
            assert backend.info.context == 4096
        body = server.bodies[-1]
        assert list(server._encode(body["prompt"])).count(0) == 1
        assert body["prompt"].startswith(BOS) != adds
    assert body["raw"] is True
    assert body["options"] == {
        "num_predict": 33, "num_ctx": 4096, "seed": 2**32 - 1, "temperature": 0.7, "top_p": 0.9, "top_k": 40,
        "min_p": 0.05, "repeat_penalty": 1.1, "presence_penalty": 0.0, "frequency_penalty": 0.0, "stop": [END],
    }  # fmt: skip


async def test_a_bos_that_the_model_or_the_prompt_has_not(tmp_path: Path):
    folder = write_model(tmp_path / "tiny")
    async with running(FakeModel(folder), script(adds_bos=True)) as server:
        async with opened(OllamaBackend(server.url, MODEL, tokenizer=folder)) as backend:
            with pytest.raises(BackendError, match="is to have none"):
                await backend.generate(Request(ASK.removeprefix(BOS), Sampling(max_tokens=5), 0))
        config = {"bos_token": None, "eos_token": END, "chat_template": TEMPLATE.replace("{{ bos_token }}", "")}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        with pytest.raises(BackendError, match="no BOS") as caught:
            await OllamaBackend(server.url, MODEL, tokenizer=folder).open()
    assert caught.value.hint


@pytest.mark.starter
async def test_the_template_is_read_from_ollamas_own_copy(served_model: FakeModel, starter: Path):
    facts = script()
    facts.show = {"modelfile": f"FROM {starter}\nPARAMETER temperature 1"}
    async with running(served_model, facts) as server:
        backend = OllamaBackend(server.url, MODEL)
        with pytest.raises(BackendError, match="control string"):
            await backend.open()  # the fake does not serve the starter, and that is seen
    assert backend._vocabulary.template == read_facts(starter).template
    assert backend._vocabulary.tokens.end_ids


async def test_a_model_that_is_not_there_gives_the_pull_command(served_model: FakeModel):
    async with running(served_model, script(models=("llama3.2:3b",))) as server:
        with pytest.raises(ModelError, match=r"it has: llama3\.2:3b") as caught:
            await OllamaBackend(server.url, "qwen3:4b").open()
        assert caught.value.hint == "ollama pull qwen3:4b"
        async with opened(OllamaBackend(server.url, "llama3.2:3b", tokenizer=served_model.folder)) as backend:
            server.script.models = ()
            with pytest.raises(BackendError) as gone:
                await backend.generate(request())
            assert gone.value.hint == "ollama pull llama3.2:3b"


@pytest.mark.parametrize("models", [b"5", b"null", b'"x"', b'[1, {"name": 2}]'])
async def test_a_list_of_models_that_is_none(served_model: FakeModel, models: bytes):
    def edit(path: str, _: dict, answer: tuple) -> tuple:
        return (200, b'{"models": ' + models + b"}") if path == "/api/tags" else answer

    async with running(served_model, script(edit=edit)) as server:
        with pytest.raises(ModelError, match="has no model"):
            await OllamaBackend(server.url, "other").open()


async def test_a_path_of_5000_letters_is_no_file(served_model: FakeModel):
    async with running(served_model, script(show={"modelfile": "FROM /" + "a" * 5000})) as server:
        with pytest.raises(ModelError, match="chat template"):
            await OllamaBackend(server.url, MODEL).open()


async def test_a_stream_that_goes_on_is_cut_off(pair):
    server, unopened = pair
    async with opened(unopened) as backend:
        line = b'{"response": "x", "done": false}\n'
        server.script.edit = lambda *_: (200, [line] * 5000)
        with pytest.raises(BackendError, match="behind the 100 tokens") as caught:
            await backend.generate(request())
    assert not caught.value.retryable


@pytest.mark.parametrize("last", ["error", "done_reason"])
async def test_the_key_is_in_no_words_of_a_server(pair, monkeypatch: pytest.MonkeyPatch, last: str):
    key = "sk-very-secret-0123456789"
    monkeypatch.setenv("LOCALSYNTH_API_KEY", key)
    server, unopened = pair
    server.script.key = key
    async with opened(unopened) as backend:
        line = json.dumps({"response": "x", "done": True, last: f"said to {key}"}).encode()
        server.script.edit = lambda *_: (200, [line])
        with pytest.raises(BackendError, match="said to …") as caught:
            await backend.generate(request())
    assert key not in caught.value.message


async def test_no_template_to_be_found(served_model: FakeModel):
    async with running(served_model, script()) as server:
        with pytest.raises(ModelError, match="chat template") as caught:
            await OllamaBackend(server.url, MODEL).open()
    assert "--tokenizer" in caught.value.hint


async def test_another_server_is_no_ollama(served_model: FakeModel):
    async with running(served_model) as server:
        with pytest.raises(BackendError, match="no Ollama") as caught:
            await OllamaBackend(server.url, MODEL).open()
    assert "--backend openai" in caught.value.hint


async def test_a_raw_mode_that_is_not_raw(served_model: FakeModel):
    async with running(served_model, script(templates=True)) as server:
        with pytest.raises(BackendError, match="does not reach the model as it is"):
            await OllamaBackend(server.url, MODEL, tokenizer=served_model.folder).open()


@pytest.fixture
async def pair(served_model: FakeModel) -> AsyncIterator[tuple[FakeServer, OllamaBackend]]:
    async with running(served_model, script()) as server:
        yield server, OllamaBackend(server.url, MODEL, tokenizer=served_model.folder, context=200)


@pytest.mark.parametrize(
    ("fault", "retryable"),
    [
        (Fault(status=500), True),
        (Fault(status=503, headers=(("retry-after", "2"),)), True),
        (Fault("cut"), True),
        (Fault("truncated"), True),
        (Fault(status=400), False),
    ],
)
async def test_faults(pair, fault: Fault, retryable: bool):
    server, unopened = pair
    async with opened(unopened) as backend:
        server.script.fault = lambda number, _: fault if number == 1 else None
        with pytest.raises(BackendError) as caught:
            await backend.generate(request())
        assert caught.value.retryable == retryable
        assert caught.value.hint
        assert (await backend.generate(request())).text
        assert backend._gate.concurrency.limit == (2 if fault.status == 503 else 4)


async def test_a_prompt_that_ollama_would_cut_is_refused(pair):
    server, unopened = pair
    async with opened(unopened) as backend:
        with pytest.raises(ContextOverflow) as caught:
            await backend.generate(Request(ASK, Sampling(max_tokens=195), 0))
        assert caught.value.hint
        assert (await backend.generate(Request(ASK, Sampling(max_tokens=20), 0))).text
    assert [body["options"]["num_ctx"] for body in server.bodies] == [200, 200]
