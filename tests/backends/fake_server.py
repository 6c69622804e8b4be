"""A small server that speaks /v1/completions, llama-server's and Ollama's interfaces, and can be told to fail.

python tests/backends/fake_server.py FOLDER    prints its URL and serves until it is stopped
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parent))

from fake_model import BOS, BOS_ID, CONTEXT, END, END_ID, MODEL, TEMPLATE, FakeModel, Written

Answer = tuple[int, bytes | list[bytes]]


@dataclass(frozen=True)
class Fault:
    """How one completion goes wrong."""

    kind: Literal["status", "cut", "truncated", "silence", "trickle", "model", "endless"] = "status"
    status: int = 500
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b'{"error":{"message":"the fake server was told to fail"}}'


@dataclass
class Script:
    """What the server is. `fault`: by number of the completion, from 0, and its body. `room`: more at once are answered 429.

    `edit`: what becomes of an answer, by its path ("" for completions) and the body that it answers.
    """

    kind: Literal["vllm", "llama-server", "server", "chat", "ollama"] = "vllm"
    models: tuple[str, ...] = (MODEL,)
    key: str | None = None
    adds_bos: bool = False
    bos: str = BOS
    templates: bool = False
    deaf: bool = False
    ids: bool = True
    usage: bool = True
    refuses: frozenset[str] = frozenset()
    delay: float = 0.0
    room: int = 0
    tells_root: bool = True
    fault: Callable[[int, dict[str, Any]], Fault | None] = lambda *_: None
    redirect: str = ""
    show: dict[str, Any] = field(default_factory=dict)
    edit: Callable[[str, dict[str, Any], Answer], Answer] = lambda _path, _body, answer: answer


class FakeServer:
    """One server on a free port of this machine. `bodies` keeps what was asked for, the latest last."""

    def __init__(self, model: FakeModel, script: Script | None = None, *, keep: bool = True, tls: Any = None) -> None:
        self.model, self.script = model, script or Script()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.inside = self.most_inside = self.count = self.finished = 0
        self._keep, self._tls = keep, tls
        self._server: asyncio.Server | None = None
        self.lines: set[asyncio.Transport] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Line(self), "127.0.0.1", self.port, ssl=self._tls, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and cut every connection."""
        assert self._server is not None
        self._server.close()
        for line in list(self.lines):
            line.abort()
        await self._server.wait_closed()

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        """Everything but completions."""
        return self.script.edit(path, body, self._told(path, body))

    def _told(self, path: str, body: dict[str, Any]) -> Answer:
        script = self.script
        if path == "/v1/models":
            return 200, _json({"data": [self._card(name) for name in script.models]})
        if script.kind == "server" and path == "/api/v0/models":
            return 200, _json({"data": [{"id": name, "loaded_context_length": 2048} for name in script.models]})
        if script.kind == "vllm" and path == "/version":
            return 200, b'{"version":"0.0-fake"}'
        if script.kind == "llama-server" and path == "/props":
            props = {
                "default_generation_settings": {"n_ctx": CONTEXT},
                "total_slots": script.room or 4,
                "chat_template": TEMPLATE,
                "bos_token": script.bos,
                "eos_token": END,
                "build_info": "b1-fake",
                "model_path": str(self.model.folder) if script.tells_root else "/models/x.gguf",
            }
            return 200, _json(props)
        if script.kind == "llama-server" and path == "/tokenize":
            return 200, _json({"tokens": self.model.encode(body["content"])})
        if script.kind == "ollama":
            return self._ollama(path, body)
        return 404, b'{"detail":"Not Found"}'

    def completes(self, path: str) -> bool:
        if self.script.kind == "ollama":
            return path == "/api/generate"
        return path == "/v1/completions" and self.script.kind != "chat"

    def complete(self, body: dict[str, Any], fault: Fault | None) -> Answer:
        """One completion, whole or as the lines of its stream."""
        return self.script.edit("", body, self._completed(body, fault))

    def _completed(self, body: dict[str, Any], fault: Fault | None) -> Answer:
        if self.script.kind == "ollama":
            return self._generate(body)
        script, prompt = self.script, body["prompt"]
        if body["model"] not in script.models:
            return 404, _error(f"The model `{body['model']}` does not exist.")
        unknown = sorted(script.refuses & body.keys()) or (not script.ids and isinstance(prompt, list) and ["prompt"])
        if unknown:
            return 400, _error(f"unknown or wrong parameter: {unknown[0]}")
        ids = prompt if isinstance(prompt, list) else self._encode(prompt)
        most = body["max_tokens"]
        if len(ids) + most > CONTEXT:
            return 400, _error(f"This model's maximum context length is {CONTEXT} tokens.")
        written = self.model.write(
            self.model.decode(ids),
            seed=body.get("seed", 0),
            greedy=body["temperature"] == 0,
            most=most,
            stop=tuple(body.get("stop", ())),
            stop_ids=tuple(body.get("stop_token_ids", ())),
            never=_never(body.get("logit_bias")),
        )
        self.finished += 1
        name = "another-model" if fault is not None and fault.kind == "model" else body["model"]
        return 200, self._stream(body, name, written, ids) if body.get("stream") else self._whole(
            body, name, written, ids
        )

    def _card(self, name: str) -> dict[str, Any]:
        if self.script.kind == "vllm":
            root = str(self.model.folder) if self.script.tells_root else name
            return {"id": name, "owned_by": "vllm", "root": root, "max_model_len": CONTEXT}
        return {"id": name, "owned_by": "library" if self.script.kind == "ollama" else "fake"}

    def _encode(self, prompt: str) -> list[int]:
        script = self.script
        if script.templates:
            prompt = f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
        ids = self.model.encode(prompt.replace("<|", "< |") if script.deaf else prompt)
        return [BOS_ID, *ids] if script.adds_bos else ids

    def _usage(self, written: Written, ids: list[int]) -> dict[str, Any]:
        if not self.script.usage:
            return {}
        return {"usage": {"prompt_tokens": len(ids), "completion_tokens": len(written.ids)}}

    def _choice(self, body: dict[str, Any], written: Written, text: str, at: slice, *, last: bool) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "text": text, "finish_reason": written.finish if last else None}
        ids, logprobs = written.ids[at], written.logprobs[at]
        if self.script.kind == "vllm":
            choice["stop_reason"] = written.reason if last else None
            if body.get("return_token_ids"):
                choice["token_ids"] = ids
        if "logprobs" in body:
            choice["logprobs"] = (
                {"token_logprobs": logprobs}
                if self.script.kind != "llama-server"
                else {
                    "content": [{"id": number, "logprob": value} for number, value in zip(ids, logprobs, strict=True)]
                }
            )
        return choice

    def _whole(self, body: dict[str, Any], name: str, written: Written, ids: list[int]) -> bytes:
        choice = self._choice(body, written, written.text, slice(None), last=True)
        return _json({"model": name, "choices": [choice]} | self._usage(written, ids))

    def _stream(self, body: dict[str, Any], name: str, written: Written, ids: list[int]) -> list[bytes]:
        pieces = written.pieces + [""] * max(0, len(written.ids) - len(written.pieces))
        last = len(pieces) - 1
        lines = []
        for at, piece in enumerate(pieces):
            place = slice(at, at + 1) if at < last else slice(at, None)
            choice = self._choice(body, written, piece, place, last=at == last)
            lines.append(_event({"model": name, "choices": [choice]}))
        lines.append(_event({"model": name, "choices": []} | self._usage(written, ids)))
        return [*lines, b"data: [DONE]\n\n"]

    def _ollama(self, path: str, body: dict[str, Any]) -> Answer:
        if path == "/api/version":
            return 200, b'{"version":"0.0.0-fake"}'
        if path == "/api/tags":
            return 200, _json({"models": [{"name": name, "model": name} for name in self.script.models]})
        if path == "/api/show":
            found = body.get("model") in self.script.models
            return (200, _json(self.script.show)) if found else (404, b'{"error":"model not found"}')
        return 404, b"404 page not found"

    def _generate(self, body: dict[str, Any]) -> Answer:
        if body["model"] not in self.script.models:
            return 404, _json({"error": f"model '{body['model']}' not found"})
        if not body.get("raw"):
            return 400, b'{"error":"the fake speaks raw prompts only"}'
        options = body["options"]
        ids = self._encode(body["prompt"])
        written = self.model.write(
            self.model.decode(ids),
            seed=options["seed"],
            greedy=options["temperature"] == 0,
            most=options["num_predict"],
            stop=tuple(options.get("stop", ())),
        )
        self.finished += 1
        counts = {"prompt_eval_count": len(ids), "eval_count": len(written.ids), "done_reason": written.finish}
        if not body.get("stream", True):
            return 200, _json({"model": body["model"], "response": written.text, "done": True} | counts)
        lines = [_json({"model": body["model"], "response": piece, "done": False}) + b"\n" for piece in written.pieces]
        return 200, [*lines, _json({"model": body["model"], "response": "", "done": True} | counts) + b"\n"]


class Line(asyncio.Protocol):
    """One connection: HTTP/1.1 with content lengths, as much of it as a client of ours needs."""

    def __init__(self, server: FakeServer) -> None:
        self._fake = server
        self._buffer = b""
        self._task: asyncio.Task[None] | None = None
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._fake.lines.add(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fake.lines.discard(self.transport)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._buffer.startswith(b"\x16"):  # the first byte of TLS
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()
            return
        head, gap, rest = self._buffer.partition(b"\r\n\r\n")
        if not gap:
            return
        first, *fields = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        method, path, *_ = first.split()
        self._handle(method, path, headers, json.loads(rest[:length]) if length else {})

    def _handle(self, method: str, path: str, headers: dict[str, str], body: dict[str, Any]) -> None:
        fake, script = self._fake, self._fake.script
        if fake._keep:
            fake.headers.append(headers)
        if script.redirect:
            self._send(307, b"", (("location", script.redirect),))
        elif script.key and headers.get("authorization") != f"Bearer {script.key}":
            self._send(401, _error(f"the key {headers.get('authorization')} is wrong"))
        elif not fake.completes(path):
            self._send(*fake.answer(method, path, body))
        else:
            number, fake.count = fake.count, fake.count + 1
            if fake._keep:
                fake.bodies.append(body)
            fault = script.fault(number, body)
            if not script.delay and fault is None and not script.room:
                self._send(*fake.complete(body, fault))
            else:
                self._task = asyncio.create_task(self._slowly(body, fault))

    async def _slowly(self, body: dict[str, Any], fault: Fault | None) -> None:
        fake = self._fake
        if fake.script.room and fake.inside >= fake.script.room:
            self._send(429, _error("too many requests"), (("retry-after", "0"),))
            return
        fake.inside += 1
        fake.most_inside = max(fake.most_inside, fake.inside)
        try:
            await asyncio.sleep(fake.script.delay)
            if fault is None or fault.kind == "model":
                self._send(*fake.complete(body, fault))
            else:
                await self._fail(fault, fake.complete(body, fault))
        finally:
            fake.inside -= 1

    async def _fail(self, fault: Fault, answer: Answer) -> None:
        whole = answer[1] if isinstance(answer[1], bytes) else b"".join(answer[1])
        if fault.kind == "status":
            self._send(fault.status, fault.body, fault.headers)
        elif fault.kind == "cut":
            self.transport.write(_head(200, len(whole)) + whole[: len(whole) // 2])
            self.transport.close()
        elif fault.kind == "truncated":
            self._send(200, whole[: len(whole) // 2])
        elif fault.kind == "silence":
            await asyncio.Event().wait()
        elif fault.kind == "trickle":
            self.transport.write(_head(200, 1 << 30))
            while True:
                self.transport.write(b" ")
                await asyncio.sleep(0.005)
        elif fault.kind == "endless":
            self.transport.write(_head(200, 1 << 40))
            while not self.transport.is_closing():
                self.transport.write(b" " * 65536)
                await asyncio.sleep(0)

    def _send(self, status: int, body: bytes | list[bytes], headers: tuple[tuple[str, str], ...] = ()) -> None:
        if isinstance(body, bytes):
            self.transport.write(_head(status, len(body), headers) + body)
            return
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(line), line) for line in body)
        start = b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        self.transport.write(start + chunks + b"0\r\n\r\n")


@asynccontextmanager
async def running(model: FakeModel, script: Script | None = None, *, tls: Any = None) -> AsyncIterator[FakeServer]:
    """A server in this event loop."""
    server = FakeServer(model, script, tls=tls)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@contextmanager
def in_thread(model: FakeModel, script: Script | None = None) -> Iterator[FakeServer]:
    """A server on a thread of its own, for code that runs its own event loop."""
    server, ready, over = FakeServer(model, script), threading.Event(), None

    async def serve() -> None:
        nonlocal over
        over = asyncio.Event()
        await server.start()
        loop.append(asyncio.get_running_loop())
        ready.set()
        await over.wait()
        await server.stop()

    loop: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield server
    finally:
        assert over is not None
        loop[0].call_soon_threadsafe(over.set)
        thread.join(30)


def _never(bias: Any) -> frozenset[int]:
    if isinstance(bias, dict):
        return frozenset(int(number) for number in bias) - {END_ID}
    return frozenset(number for number, _ in bias or ()) - {END_ID}


def _head(status: int, length: int, headers: tuple[tuple[str, str], ...] = ()) -> bytes:
    more = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{more}content-length: {length}\r\n\r\n".encode()


def _json(data: Any) -> bytes:
    return json.dumps(data).encode()


def _event(data: Any) -> bytes:
    return b"data: " + _json(data) + b"\n\n"


def _error(message: str) -> bytes:
    return _json({"error": {"message": message}})


async def _main(folder: Path) -> None:
    server = FakeServer(FakeModel(folder), keep=False)
    await server.start()
    print(server.url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
