"""What a server says may hold the key, a path that is none, or half a character; none of it does harm."""

from __future__ import annotations

import json

import pytest
from contract import opened
from fake_model import ASK, MODEL, FakeModel
from fake_server import Script, running
from test_openai_faults import KEY, request

from localsynth.backends.openai import OpenAIBackend
from localsynth.errors import BackendError
from localsynth.records import Request, Sampling

KEY2 = 'sk/very"secret/0123456789'


@pytest.mark.parametrize("key", [KEY, KEY2])
@pytest.mark.parametrize("listen", [None, lambda _: None], ids=["whole", "streamed"])
@pytest.mark.parametrize("field", ["error", "model", "finish_reason"])
async def test_the_key_is_in_no_words_of_a_server(served_model: FakeModel, monkeypatch, key: str, listen, field: str):
    """With status 200 too, and where a cut to so many characters would leave the beginning of the key."""
    monkeypatch.setenv("LOCALSYNTH_API_KEY", key)
    said = ("x " * 90 if field == "error" else "x " * 15) + key
    choice = {"text": "x", "finish_reason": said if field == "finish_reason" else "stop"}
    part = {"model": said if field == "model" else MODEL, "choices": [choice]}
    data = json.dumps(part | ({"error": {"message": said}} if field == "error" else {}))
    async with running(served_model, Script(key=key)) as server, opened(OpenAIBackend(server.url)) as backend:
        stream = [f"data: {data}\n\n".encode(), b"data: [DONE]\n\n"]
        server.script.edit = lambda _, body, __: (200, stream if body["stream"] else data.encode())
        with pytest.raises(BackendError) as caught:
            await backend.generate(request(), listen)
    assert key[:10] not in caught.value.message + caught.value.hint
    assert "x" in caught.value.message


@pytest.mark.parametrize("spell", [str, json.dumps, lambda key: json.dumps(key).replace("/", "\\/")])
async def test_a_key_is_found_however_json_spells_it(served_model: FakeModel, monkeypatch, spell):
    monkeypatch.setenv("LOCALSYNTH_API_KEY", KEY2)
    async with running(served_model, Script(key=KEY2)) as server, opened(OpenAIBackend(server.url)) as backend:
        said = backend._server.http.words(f"no JSON: {spell(KEY2)}".encode())
    assert "secret" not in said


@pytest.mark.parametrize("listen", [None, lambda _: None], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", ["vllm", "llama-server"])
async def test_a_stop_text_across_the_first_token(served_model: FakeModel, kind: str, listen):
    sampling = Sampling(max_tokens=20, avoid_first=("What",))
    script = Script(kind=kind)
    async with running(served_model, script) as server, opened(OpenAIBackend(server.url)) as backend:
        plain = await backend.generate(Request(ASK, sampling, 5))
        first = served_model.decode(served_model.encode(plain.text)[:1])
        stop = plain.text[len(first) - 1 : len(first) + 3]
        done = await backend.generate(Request(ASK, sampling, 5, stop=(stop,)), listen)
    assert (done.text, done.finish_reason, done.stopped_by) == (first[:-1], "stop", stop)


@pytest.mark.parametrize("text", ["", "\ufffd"])
@pytest.mark.parametrize("ids", [True, False])
async def test_a_first_token_that_is_half_a_character(served_model: FakeModel, text: str, ids: bool):
    def edit(path: str, body: dict, answer: tuple) -> tuple:
        if path or "logit_bias" not in body:
            return answer
        data = json.loads(answer[1])
        data["choices"][0] |= {"text": text}
        return 200, json.dumps(data).encode()

    script = Script(kind="llama-server" if ids else "server", ids=ids)
    async with (
        running(served_model, script) as server,
        opened(OpenAIBackend(server.url, tokenizer=served_model.folder)) as backend,
    ):
        probes = server.count
        script.edit = edit
        with pytest.raises(BackendError, match="half a character") as caught:
            await backend.generate(Request(ASK, Sampling(max_tokens=9, avoid_first=("What",)), 5))
        assert server.count == probes + 1
    assert caught.value.retryable
    assert caught.value.hint


async def test_a_path_of_5000_letters_is_no_file(served_model: FakeModel):
    def edit(path: str, _: dict, answer: tuple) -> tuple:
        if path != "/props":
            return answer
        return 200, json.dumps(json.loads(answer[1]) | {"model_path": "/" + "a" * 5000}).encode()

    script = Script(kind="llama-server", edit=edit)
    async with running(served_model, script) as server, opened(OpenAIBackend(server.url)) as backend:
        assert (await backend.generate(request())).text


@pytest.mark.parametrize(
    ("told", "slots", "most"), [(2_000_000_000, 0, 1024), (7, 0, 7), (7, 5000, 1024), (-3, 0, 128)]
)
async def test_how_many_slots_a_server_may_tell(served_model: FakeModel, told: int, slots: int, most: int):
    def edit(path: str, _: dict, answer: tuple) -> tuple:
        if path != "/props":
            return answer
        return 200, json.dumps(json.loads(answer[1]) | {"total_slots": told}).encode()

    script = Script(kind="llama-server", edit=edit)
    async with running(served_model, script) as server, opened(OpenAIBackend(server.url, slots=slots)) as backend:
        assert backend.info.max_concurrency == backend.gate.concurrency.most == most
