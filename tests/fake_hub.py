"""A hub of models on the loopback that misbehaves as it is told."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SHA = "0123456789abcdef0123456789abcdef01234567"
BIG = b"GGUF" + bytes(range(256)) * 12_000


@dataclass
class Hub:
    """What the fake hub serves and how it misbehaves. `held`: a big file waits in its middle until `gate` is set."""

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    damaged: bool = False
    cut_after: list[int] = field(default_factory=list)
    status: int | None = None
    ranges: list[str | None] = field(default_factory=list)
    url: str = ""
    held: bool = False
    gate: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep the test's output clean."""

    def do_GET(self) -> None:
        if self.path.startswith("/api/models/"):
            self.info(self.path.removeprefix("/api/models/").split("?")[0])
        else:
            repo, _, rest = self.path.removeprefix("/").partition("/resolve/")
            self.file(repo, rest.partition("/")[2])

    do_HEAD = do_GET  # noqa: N815

    def info(self, repo: str) -> None:
        files = self.hub.repos.get(repo)
        if self.hub.status or files is None:
            return self.answer(self.hub.status or 404, b"{}", {"X-Error-Code": "RepoNotFound"} if files is None else {})
        siblings = [
            {"rfilename": name, "size": len(body), "blobId": "b" * 40}
            | (
                {"lfs": {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 1}}
                if len(body) > 99
                else {}
            )
            for name, body in files.items()
        ]
        return self.answer(200, json.dumps({"id": repo, "sha": SHA, "siblings": siblings}).encode(), {})

    def file(self, repo: str, name: str) -> None:
        wanted = self.headers.get("Range")
        self.hub.ranges.append(wanted)
        if repo in self.hub.gated:
            return self.answer(403, b"", {"X-Error-Code": "GatedRepo"})
        body = self.hub.repos[repo][name]
        if self.hub.damaged:
            body = bytes([body[0] ^ 1]) + body[1:]
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        return self.answer(206 if wanted else 200, body[start:], {})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status < 300 and len(body) > 10_000 and self.hub.cut_after:
            body = body[: self.hub.cut_after.pop(0)]
            self.close_connection = True
        if status < 300 and len(body) > 10_000 and self.hub.held:
            self.wfile.write(body[:1_200_000])
            self.hub.gate.wait()
            body = body[1_200_000:]
        self.wfile.write(body)


@contextmanager
def serving() -> Iterator[Hub]:
    """The hub, until the block ends."""
    served = Hub()
    handler = type("Served", (Handler,), {"hub": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield served
    finally:
        served.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
