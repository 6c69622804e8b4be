"""What is found out about a server before the first request: only from what it says, never from a failure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from contract import opened
from fake_model import ASK, BOS, END, TEMPLATE, FakeModel, write_model
from fake_server import Fault, Script, running
from test_openai_faults import once, refused, request

from localsynth.backends.openai import OpenAIBackend
from localsynth.errors import BackendError


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_failure_while_probing_is_no_refusal(served_model: FakeModel, status: int):
    """Every probe in turn: none may turn ids into text or drop a parameter for the whole run."""
    strict = Script(kind="server", ids=False, refuses=frozenset({"min_p"}))
    for script, tokenizer in ((Script(), None), (strict, served_model.folder)):
        async with running(served_model, script) as server:
            async with opened(OpenAIBackend(server.url, tokenizer=tokenizer)) as backend:
                probes, manners = server.count, backend._server.manners
            for at in range(probes):
                server.count, script.fault = 0, once(Fault(status=status), at)
                error = await refused(OpenAIBackend(server.url, tokenizer=tokenizer))
                assert error.retryable
            script.fault = lambda *_: None
            async with opened(OpenAIBackend(server.url, tokenizer=tokenizer)) as backend:
                assert backend._server.manners == manners
    assert probes > 10


@pytest.mark.parametrize("kind", ["server", "llama-server"])
async def test_a_bos_before_the_prompts_of_a_model_without_one(tmp_path: Path, kind: str):
    folder = write_model(tmp_path / "none")
    config = {"bos_token": None, "eos_token": END, "chat_template": TEMPLATE.replace("{{ bos_token }}", "")}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    script = Script(kind=kind, ids=False, adds_bos=True, tells_root=False, bos="")
    async with running(FakeModel(folder), script) as server:
        error = await refused(OpenAIBackend(server.url, tokenizer=folder if kind == "server" else None))
        assert "no BOS" in error.message
        script.adds_bos = False
        async with opened(OpenAIBackend(server.url, tokenizer=folder)) as backend:
            assert (await backend.generate(request(prompt=ASK.removeprefix(BOS)))).text


async def test_a_prompt_without_the_bos_that_a_server_adds(served_model: FakeModel):
    script = Script(ids=False, adds_bos=True)
    async with running(served_model, script) as server, opened(OpenAIBackend(server.url)) as backend:
        probes = server.count
        with pytest.raises(BackendError, match="is to have none") as caught:
            await backend.generate(request(prompt=ASK.removeprefix(BOS)))
        assert server.count == probes
    assert caught.value.hint


async def test_a_server_that_falls_over_ids_gets_text(served_model: FakeModel):
    """Each time it is given some, unlike one that fails once."""

    def fault(_: int, body: dict) -> Fault | None:
        return Fault(status=500) if isinstance(body["prompt"], list) else None

    script = Script(kind="server", fault=fault)
    async with (
        running(served_model, script) as server,
        opened(OpenAIBackend(server.url, tokenizer=served_model.folder)) as backend,
    ):
        assert not backend._server.manners.ids
        assert (await backend.generate(request())).text
