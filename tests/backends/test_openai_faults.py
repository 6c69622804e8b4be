"""What goes wrong with servers: each in one clear line with a hint, nothing retried here, nothing told that is secret."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from contract import opened
from fake_model import ANSWER, ASK, MODEL, FakeModel
from fake_server import Fault, Script, running

from localsynth.backends import address, http
from localsynth.backends.address import read_address, read_key
from localsynth.backends.ollama import OllamaBackend
from localsynth.backends.openai import OpenAIBackend, probe
from localsynth.chat import derive
from localsynth.errors import BackendError, ContextOverflow, LocalsynthError, ModelError
from localsynth.records import Completion, Request, Sampling

KEY = "sk-very-secret-0123456789"


def request(seed: int = 0, prompt: str = ASK, **parts) -> Request:
    return Request(prompt, Sampling(max_tokens=60), seed, **parts)


async def refused(backend: OpenAIBackend) -> LocalsynthError:
    with pytest.raises((BackendError, ModelError)) as caught:
        await backend.open()
    error = caught.value
    assert error.hint
    assert "\n" not in error.message
    await backend.aclose()
    return error


def once(fault: Fault, at: int = 4):
    return lambda number, _: fault if number == at else None


async def failed(model: FakeModel, fault: Fault, on_text=None, **limits: float) -> BackendError:
    """The error that a request ends with under these limits, after which the same request succeeds without them."""
    async with running(model) as server, opened(OpenAIBackend(server.url, slots=2)) as backend:
        probes = server.count
        server.script.fault = once(fault, probes)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in limits.items():
                patch.setattr(http, name, value)
            with pytest.raises(BackendError) as caught:
                await backend.generate(request(), on_text)
        assert server.count == probes + 1  # not one more: backends never retry
        assert (await backend.generate(request(), on_text)).text
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("listen", [None, lambda _: None], ids=["whole", "streamed"])
class TestFaults:
    async def test_too_many_requests(self, served_model: FakeModel, listen):
        error = await failed(served_model, Fault(status=429, headers=(("Retry-After", "7"),)), listen)
        assert (error.retryable, error.retry_after, error.overloaded) == (True, 7.0, True)
        assert "429" in error.message

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    async def test_a_server_that_fails(self, served_model: FakeModel, listen, status: int):
        error = await failed(served_model, Fault(status=status), listen)
        assert (error.retryable, error.retry_after, error.overloaded) == (True, None, status == 503)
        assert "told to fail" in error.message

    async def test_a_bad_request_is_not_tried_again(self, served_model: FakeModel, listen):
        error = await failed(served_model, Fault(status=400), listen)
        assert not error.retryable

    @pytest.mark.parametrize("kind", ["cut", "truncated"])
    async def test_an_answer_that_ends_in_the_middle(self, served_model: FakeModel, listen, kind):
        assert (await failed(served_model, Fault(kind), listen)).retryable

    async def test_silence(self, served_model: FakeModel, listen):
        error = await failed(served_model, Fault("silence"), listen, SILENCE=0.1)
        assert error.retryable
        assert "in time" in error.message

    async def test_a_trickle(self, served_model: FakeModel, listen):
        assert (await failed(served_model, Fault("trickle"), listen, WHOLE=0.1)).retryable

    async def test_an_answer_without_an_end(self, served_model: FakeModel, listen):
        error = await failed(served_model, Fault("endless"), listen, LARGEST=1 << 18, LARGEST_WHOLE=1 << 18)
        assert not error.retryable
        assert "larger than 256 KiB" in error.message

    async def test_another_model_answers(self, served_model: FakeModel, listen):
        error = await failed(served_model, Fault("model"), listen)
        assert "another-model" in error.message
        assert not error.retryable


async def test_overload_halves_what_is_sent_at_once_and_nothing_is_lost(served_model: FakeModel):
    script = Script(room=5, delay=0.001)
    async with running(served_model, script) as server, opened(OpenAIBackend(server.url, slots=32)) as backend:
        results = await asyncio.gather(*(backend.generate(request(seed)) for seed in range(60)), return_exceptions=True)
        limit = backend._gate.concurrency.limit
    assert server.most_inside == 5
    assert 1 <= limit <= 16
    for one in results:
        assert isinstance(one, Completion) or (one.retryable and one.retry_after == 0.0)


async def test_a_server_that_restarts_in_the_middle(served_model: FakeModel):
    async with running(served_model) as server, opened(OpenAIBackend(server.url, slots=2)) as backend:
        before = await backend.generate(request())
        await server.stop()
        with pytest.raises(BackendError) as caught:
            await backend.generate(request())
        assert caught.value.retryable
        await server.start()
        after = await backend.generate(request())
    assert after.text == before.text


async def test_a_server_that_restarts_with_another_model(served_model: FakeModel):
    async with running(served_model) as server, opened(OpenAIBackend(server.url)) as backend:
        server.script.models = ("other",)
        with pytest.raises(BackendError, match="no longer serves tiny-chat") as caught:
            await backend.generate(request())
    assert not caught.value.retryable


async def test_a_port_that_accepts_and_says_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http, "LOOK", 0.05)
    quiet = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    async with quiet:
        error = await refused(OpenAIBackend(f"127.0.0.1:{quiet.sockets[0].getsockname()[1]}"))
    assert "did not answer within 0.05 s" in error.message
    assert "port" in error.hint


async def test_a_server_that_is_silent_when_it_is_to_write(served_model: FakeModel, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe, "PROBE", 0.05)
    async with running(served_model, Script(fault=lambda *_: Fault("silence"))) as server:
        error = await refused(OpenAIBackend(server.url))
    assert "did not answer within 0.05 s" in error.message


async def test_an_unreachable_host_and_a_port_where_nobody_listens(served_model: FakeModel, monkeypatch):
    async with running(served_model) as server:
        pass
    error = await refused(OpenAIBackend(server.url))
    assert server.url in error.message
    assert "cannot be reached: Connection refused" in error.message
    assert "start the server" in error.hint

    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    error = await refused(OpenAIBackend("http://no-such-host.example:8000"))
    assert error.message.endswith("cannot be reached: Name or service not known")


async def test_a_port_that_speaks_something_else():
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
        writer.close()

    other = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with other:
        port = other.sockets[0].getsockname()[1]
        error = await refused(OpenAIBackend(f"127.0.0.1:{port}"))
    assert "broke off" in error.message


async def test_a_web_server_that_is_no_model_server(served_model: FakeModel):
    async with running(served_model, Script(kind="ollama")) as server:
        error = await refused(OpenAIBackend(server.url))
    assert "Ollama" in error.message
    assert "--backend ollama" in error.hint


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    """A self-signed certificate of this test's own."""
    files = [str(tmp_path / name) for name in ("key.pem", "cert.pem")]
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2",
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", files[0], "-out", files[1]],
            check=True, capture_output=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"openssl cannot make a certificate here: {error}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    return context


async def test_tls(served_model: FakeModel, certificate: ssl.SSLContext, tmp_path: Path, monkeypatch):
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the server's side of failed handshakes
    async with running(served_model) as plain, running(served_model, tls=certificate) as secure:
        error = await refused(OpenAIBackend(secure.url))
        assert "certificate is not trusted" in error.message
        assert "SSL_CERT_FILE" in error.hint
        error = await refused(OpenAIBackend(plain.url.replace("http:", "https:")))
        assert "TLS" in error.message
        assert plain.url in error.hint
        error = await refused(OpenAIBackend(secure.url.replace("https:", "http:")))
        assert "broke off" in error.message
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        async with opened(OpenAIBackend(secure.url)) as backend:
            assert (await backend.generate(request())).text


async def test_keys(served_model: FakeModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("LOCALSYNTH_API_KEY", raising=False)
    async with running(served_model, Script(key=KEY)) as server:
        error = await refused(OpenAIBackend(server.url))
        assert "wants an API key" in error.message
        monkeypatch.setenv("LOCALSYNTH_API_KEY", KEY + "x")
        error = await refused(OpenAIBackend(server.url))
        assert "refuses the API key" in error.message
        monkeypatch.setenv("LOCALSYNTH_API_KEY", KEY)
        async with opened(OpenAIBackend(server.url)) as backend:
            server.script.fault = lambda *_: Fault(status=500, body=json.dumps({"error": f"bad key {KEY}"}).encode())
            with pytest.raises(BackendError) as caught:
                await backend.generate(request())
            shown = [repr(backend), str(vars(backend)), repr(backend.info), str(vars(caught.value)), error.message]
    assert all(KEY not in text for text in [*shown, caught.value.message, caught.value.hint, caplog.text])
    assert "bad key …" in caught.value.message


def test_a_key_from_the_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LOCALSYNTH_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    code = "def get_password(service, name):\n    return {'example.org': 'from the ring'}[name] if service == 'localsynth' else 1"
    (tmp_path / "keyring.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keyring", raising=False)
    assert read_key(read_address("http://example.org")) == "from the ring"
    assert read_key(read_address("http://localhost")) is None  # a keyring that fails is no key
    monkeypatch.setenv("LOCALSYNTH_API_KEY", "mine")
    assert read_key(read_address("http://example.org")) == "mine"
    sys.modules.pop("keyring")


def test_a_keyring_that_cannot_be_imported_is_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LOCALSYNTH_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "keyring.py").write_text("raise RuntimeError('no D-Bus')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "keyring", raising=False)
    assert read_key(read_address("http://example.org")) is None


async def test_a_keyring_that_waits_for_its_owner_blocks_nobody(
    served_model: FakeModel, monkeypatch: pytest.MonkeyPatch
):
    loop, unlocked = asyncio.get_running_loop(), threading.Event()

    def waits(_: str) -> str:
        loop.call_soon_threadsafe(unlocked.set)  # by the very loop that a call on its thread would hold
        assert unlocked.wait(20)
        return KEY

    for name in ("LOCALSYNTH_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(address, "_from_keyring", waits)
    async with running(served_model) as server:
        pass
    assert "cannot be reached" in (await refused(OpenAIBackend(server.url))).message
    unlocked.clear()
    with pytest.raises(BackendError, match="cannot be reached"):
        await OllamaBackend(server.url, MODEL).open()


def test_where_keys_come_from_and_where_they_go(monkeypatch: pytest.MonkeyPatch):
    here, there, secure = map(read_address, ("http://127.0.0.1:1", "http://example.org", "https://example.org/v1/"))
    monkeypatch.delenv("LOCALSYNTH_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert [read_key(one) for one in (here, there, secure)] == [KEY, None, KEY]
    monkeypatch.setenv("LOCALSYNTH_API_KEY", " mine ")
    assert read_key(there) == "mine"
    monkeypatch.setenv("LOCALSYNTH_API_KEY", "a\nb")
    with pytest.raises(BackendError) as caught:
        read_key(there)
    assert "a\nb" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("http://[::1]:8000/v1", "http://[::1]:8000"),
        ("https://host/openai/v1/", "https://host/openai"),
        (" http://HOST ", "http://host"),
    ],
)
def test_addresses(url: str, root: str):
    assert read_address(url).root == root


@pytest.mark.parametrize("url", ["", "ftp://host", "http://", "http://host:99999", "http://host?key=1", "http://[::1"])
def test_what_is_no_address(url: str):
    with pytest.raises(BackendError) as caught:
        read_address(url)
    assert caught.value.hint


async def test_a_password_in_an_address_is_refused_and_not_repeated():
    error = await refused(OpenAIBackend(f"http://me:{KEY}@127.0.0.1:8000"))
    assert "LOCALSYNTH_API_KEY" in error.hint
    assert KEY not in error.message + error.hint


async def test_redirects_are_not_followed(served_model: FakeModel, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOCALSYNTH_API_KEY", KEY)
    async with (
        running(served_model) as other,
        running(served_model, Script(redirect=other.url + "/v1/models")) as server,
    ):
        error = await refused(OpenAIBackend(server.url))
    assert other.url in error.message
    assert not other.headers


async def test_a_chat_only_server(served_model: FakeModel):
    async with running(served_model, Script(kind="chat")) as server:
        error = await refused(OpenAIBackend(server.url, tokenizer=served_model.folder))
    assert "chat-only" in error.message
    assert "user's turn" in error.message
    assert "vLLM" in error.hint
    assert "--backend ollama" in error.hint


async def test_a_server_that_adds_its_template(served_model: FakeModel):
    async with running(served_model, Script(kind="server", ids=False, templates=True)) as server:
        error = await refused(OpenAIBackend(server.url, tokenizer=served_model.folder))
    assert "template of its own" in error.message
    assert "--backend ollama" in error.hint


async def test_a_server_that_reads_control_strings_as_text(served_model: FakeModel):
    async with running(served_model, Script(kind="server", ids=False, deaf=True)) as server:
        error = await refused(OpenAIBackend(server.url, tokenizer=served_model.folder))
    assert "plain text" in error.message


async def test_a_server_that_does_not_count(served_model: FakeModel):
    async with running(served_model, Script(usage=False)) as server:
        error = await refused(OpenAIBackend(server.url))
    assert "BOS" in error.message


async def test_the_tokenizer_of_another_model(served_model: FakeModel, tmp_path: Path):
    from tiny_models import write_tokenizer

    async with running(served_model) as server:
        error = await refused(OpenAIBackend(server.url, tokenizer=write_tokenizer(tmp_path / "other")))
    assert isinstance(error, ModelError)
    assert "not that of tiny-chat" in error.message
    assert "--tokenizer" in error.hint


async def test_no_tokenizer_to_be_found(served_model: FakeModel):
    async with running(served_model, Script(tells_root=False)) as server:
        error = await refused(OpenAIBackend(server.url))
    assert "chat template" in error.message
    assert "--tokenizer" in error.hint


async def test_model_names(served_model: FakeModel):
    async with running(served_model, Script(models=(MODEL, "large-chat"))) as server:
        error = await refused(OpenAIBackend(server.url, "tiny"))
        assert "'tiny'" in error.message
        assert error.hint == "it serves: tiny-chat, large-chat"
        error = await refused(OpenAIBackend(server.url))
        assert error.hint == "name one of: tiny-chat, large-chat"
        async with opened(OpenAIBackend(server.url, "large-chat")) as backend:
            assert backend.info.model == "large-chat"
    async with running(served_model, Script(models=())) as server:
        assert "no model" in (await refused(OpenAIBackend(server.url))).message


async def test_what_a_server_takes_not_is_said_and_not_left_out(served_model: FakeModel):
    strict = frozenset({"min_p", "top_k", "seed", "logit_bias"})
    async with running(served_model, Script(refuses=strict)) as server, opened(OpenAIBackend(server.url)) as backend:
        assert not backend.info.seeds
        assert (await backend.generate(request())).text
        assert not strict & server.bodies[-1].keys()
        for sampling in (Sampling(min_p=0.1), Sampling(top_k=5), Sampling(avoid_first=("How",))):
            with pytest.raises(BackendError, match="takes no") as caught:
                await backend.generate(Request(ASK, sampling, 0))
            assert caught.value.hint
    both = Script(refuses=frozenset({"repetition_penalty", "repeat_penalty"}))
    async with running(served_model, both) as server, opened(OpenAIBackend(server.url)) as backend:
        with pytest.raises(BackendError, match="repeat_penalty"):
            await backend.generate(Request(ASK, Sampling(repeat_penalty=1.2), 0))


@pytest.mark.parametrize(("ids", "adds"), [(True, False), (True, True), (False, False), (False, True)])
async def test_exactly_one_bos_reaches_the_model(served_model: FakeModel, ids: bool, adds: bool):
    """By token ids, as the server sees them, for the prompts that the chat format makes."""
    seen: list[list[int]] = []
    script = Script(ids=ids, adds_bos=adds)
    async with running(served_model, script) as server, opened(OpenAIBackend(server.url)) as backend:
        fmt = derive(backend.info.template, backend.info.tokens)
        for prompt in (fmt.ask_prompt(), fmt.answer_prompt((("user", "Tell me about honey bees."),))):
            await backend.generate(request(prompt=prompt))
            sent = server.bodies[-1]["prompt"]
            seen.append(sent if isinstance(sent, list) else server._encode(sent))
    assert [list(one).count(0) for one in seen] == [1, 1]
    assert seen[0] == served_model.encode(ASK)
    assert seen[1] == served_model.encode(ANSWER)
    assert isinstance(sent, list) == ids


async def test_everything_is_said_in_the_request(served_model: FakeModel):
    sampling = Sampling(0.7, 0.9, 40, 0.05, 1.1, 33)
    async with running(served_model) as server, opened(OpenAIBackend(server.url)) as backend:
        await backend.generate(Request(ASK, sampling, 2**32 - 1, stop_ids=(7,), stop=("\n\n",), logprobs=True))
        body = server.bodies[-1]
        await backend.generate(Request(ASK, replace(sampling, avoid_first=("What",)), 5))
        first, rest = server.bodies[-2:]
    expected = {
        "model": MODEL, "prompt": served_model.encode(ASK), "max_tokens": 33, "temperature": 0.7, "top_p": 0.9,
        "top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1, "seed": 2**32 - 1, "stop_token_ids": [7, 2],
        "stop": ["\n\n"], "logprobs": 0, "stream": False, "add_special_tokens": False, "skip_special_tokens": False,
        "spaces_between_special_tokens": False, "return_token_ids": True,
    }  # fmt: skip
    assert body == expected
    never = {served_model.decode([int(number)]) for number in first["logit_bias"]}
    assert never >= {"What"}
    assert all(text.lstrip().startswith("What") for text in never)
    assert (first["max_tokens"], rest["max_tokens"]) == (1, 32)
    assert "logit_bias" not in rest
    assert rest["prompt"][:-1] == first["prompt"]


async def test_a_context_that_the_server_alone_can_count(served_model: FakeModel):
    script = Script(kind="llama-server", tells_root=False)
    async with running(served_model, script) as server, opened(OpenAIBackend(server.url)) as backend:
        assert backend.info.context == 4096
        with pytest.raises(ContextOverflow) as caught:
            await backend.generate(Request(ASK, Sampling(max_tokens=4090), 0))
        assert caught.value.hint
    async with running(served_model) as server, opened(OpenAIBackend(server.url, context=300)) as backend:
        assert backend.info.context == 300
        with pytest.raises(ContextOverflow):
            await backend.generate(Request(ASK, Sampling(max_tokens=299), 0))
        assert server.bodies[-1]["max_tokens"] == 1  # a probe: nothing was sent


async def test_a_listener_that_fails_does_not_stop_the_text(served_model: FakeModel):
    problems = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context["exception"]))
    async with running(served_model) as server, opened(OpenAIBackend(server.url)) as backend:
        assert (await backend.generate(request(), lambda _: 1 / 0)).text
    assert isinstance(problems[0], ZeroDivisionError)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3.0), ("-1", 0.0), ("1e9", 3600.0), ("soon", None), ("nan", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_how_long_to_wait(header: str, seconds: float | None):
    assert http._retry_after({"retry-after": header}) == seconds
