"""Fetching models from a hub that runs on the loopback: resumed, checked, refused, and never outside its folder."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from localsynth import catalog, paths
from localsynth.catalog import pulling
from localsynth.catalog.partial import Partial, claim, partial
from localsynth.errors import ModelError, NotFound

SHA = "0123456789abcdef0123456789abcdef01234567"
BIG = b"GGUF" + bytes(range(256)) * 12_000


@dataclass
class Hub:
    """What the fake hub serves and how it misbehaves."""

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    damaged: bool = False
    cut_after: list[int] = field(default_factory=list)
    status: int | None = None
    ranges: list[str | None] = field(default_factory=list)
    url: str = ""


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
        self.wfile.write(body)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    served = Hub()
    handler = type("Served", (Handler,), {"hub": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("HF_ENDPOINT", served.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_catalogue_model_is_fetched_and_resolved(hub: Hub) -> None:
    repo = "Qwen/Qwen2.5-0.5B-Instruct-GGUF"
    hub.repos[repo] = {"qwen2.5-0.5b-instruct-q8_0.gguf": b"GGUFq8", "qwen2.5-0.5b-instruct-q4_k_m.gguf": BIG}
    seen: list[catalog.Progress] = []
    path = catalog.pull("qwen2.5-0.5b", seen.append, backend="llamacpp")
    assert path.read_bytes() == BIG
    assert path.parent == paths.models_dir() / "Qwen--Qwen2.5-0.5B-Instruct-GGUF"
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[-1] == catalog.Progress(path.name, len(BIG), len(BIG), len(BIG), len(BIG))
    found = catalog.resolve("qwen2.5-0.5b")
    assert (found.path, found.revision) == (path, SHA)
    assert sorted(p.name for p in path.parent.iterdir()) == ["pulled.json", path.name]


def test_what_is_here_is_not_fetched_again(hub: Hub) -> None:
    hub.repos["o/m"] = {"m.gguf": BIG}
    catalog.pull("o/m:m.gguf")
    catalog.pull("o/m:m.gguf")
    assert hub.ranges == [None]


def test_a_cut_connection_is_taken_up_where_it_broke(hub: Hub) -> None:
    hub.repos["o/m"] = {"m.gguf": BIG}
    hub.cut_after = [1_200_000, 1_100_000]
    assert catalog.pull("o/m:m.gguf").read_bytes() == BIG
    starts = [int(r.removeprefix("bytes=").rstrip("-")) for r in hub.ranges if r]
    assert hub.ranges[0] is None
    assert 0 < starts[0] < starts[1] < len(BIG)


def test_a_connection_that_brings_nothing_stops_and_the_next_pull_goes_on(hub: Hub) -> None:
    hub.repos["o/m"] = {"m.gguf": BIG}
    hub.cut_after = [1_500_000, 0, 0]
    with pytest.raises(ModelError) as caught:
        catalog.pull("o/m:m.gguf")
    assert caught.value.retryable
    assert "goes on where it stopped" in caught.value.hint
    folder = paths.models_dir() / "o--m"
    assert not (folder / "m.gguf").exists()
    assert catalog.local_models() == []
    hub.cut_after = []
    assert catalog.pull("o/m:m.gguf").read_bytes() == BIG
    assert hub.ranges[-1]


def test_a_server_that_knows_no_ranges_begins_again(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["o/m"] = {"m.gguf": BIG}
    hub.cut_after = [1_500_000]

    def whole(self: Handler, repo: str, name: str) -> None:
        hub.ranges.append(self.headers.get("Range"))
        self.answer(200, hub.repos[repo][name], {})

    monkeypatch.setattr(Handler, "file", whole)
    assert catalog.pull("o/m:m.gguf").read_bytes() == BIG
    assert hub.ranges[1]


def test_a_damaged_file_never_takes_its_place(hub: Hub) -> None:
    hub.repos["o/m"] = {"m.gguf": BIG}
    hub.damaged = True
    with pytest.raises(ModelError, match="damaged"):
        catalog.pull("o/m:m.gguf")
    assert not [f for f in (paths.models_dir() / "o--m").rglob("*") if f.is_file()]
    hub.damaged = False
    assert catalog.pull("o/m:m.gguf").read_bytes() == BIG


def test_a_folder_model_without_pickles(hub: Hub) -> None:
    wanted = {"config.json": b"{}", "model.safetensors": BIG, "tokenizer.json": b"{}", "1_Pooling/config.json": b"{}"}
    hub.repos["intfloat/multilingual-e5-small"] = wanted | {
        "pytorch_model.bin": BIG, "onnx/model.json": b"{}", "README.md": b"#", "modules.json": b"[]",
    }  # fmt: skip
    folder = catalog.pull("multilingual-e5-small")
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert there == set(wanted) | {"modules.json", "pulled.json"}
    assert catalog.encoder_path("multilingual-e5-small") == folder


def test_mlx_where_it_is_asked_for(hub: Hub) -> None:
    config = b'{"quantization": {"group_size": 64, "bits": 4}}'
    hub.repos["mlx-community/Qwen3-0.6B-4bit"] = {"config.json": config, "model.safetensors": b"w"}
    catalog.pull("qwen3-0.6b", backend="mlx")
    assert catalog.resolve("qwen3-0.6b").kind == "mlx"


def test_all_parts_of_a_split_model(hub: Hub) -> None:
    parts = {f"Q4/m-Q4_K_M-0000{i}-of-00002.gguf": b"GGUF%d" % i for i in (1, 2)}
    hub.repos["o/big"] = parts | {"Q8/m-Q8_0-00001-of-00001.gguf": b"GGUF", "mmproj-m-Q4_K_M.gguf": b"GGUF"}
    path = catalog.pull("o/big")
    assert path.name == "m-Q4_K_M-00001-of-00002.gguf"
    assert path.with_name("m-Q4_K_M-00002-of-00002.gguf").read_bytes() == b"GGUF2"
    assert catalog.resolve("o/big").path == path


def test_names_that_lead_out_of_the_folder_are_not_followed(hub: Hub) -> None:
    hub.repos["o/evil"] = {"../../out.gguf": b"GGUF", "/abs.gguf": b"GGUF", "..\\x.gguf": b"GGUF", "ok.gguf": b"GGUF"}
    assert catalog.pull("o/evil:*.gguf").name == "ok.gguf"
    assert [f.name for f in paths.home().rglob("*.gguf")] == ["ok.gguf"]


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("o/absent", "no repository o/absent", "HF_TOKEN"),
        ("o/m:other.gguf", "no file other.gguf", "m-Q8_0.gguf"),
        ("o/m", "no file *Q4_K_M*.gguf", "m-Q8_0.gguf"),
        ("o/empty", "no weights", "another repository"),
        ("o/gated:g.gguf", "accept its licence", "hf auth login"),
        ("-bad-/m..m:x.gguf", "not the name of a repository", "OWNER/NAME"),
    ],
)
def test_refusals_say_what_to_do(hub: Hub, name: str, message: str, hint: str) -> None:
    hub.repos |= {"o/m": {"m-Q8_0.gguf": b"GGUF"}, "o/empty": {"a.bin": b"x"}, "o/gated": {"g.gguf": b"GGUF"}}
    hub.gated.add("o/gated")
    with pytest.raises(ModelError) as caught:
        catalog.pull(name)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_name_that_is_in_no_catalogue() -> None:
    with pytest.raises(NotFound) as caught:
        catalog.pull("qwen2.5-8b")
    assert "qwen2.5" in caught.value.hint


def test_no_gguf_is_known_for_it() -> None:
    with pytest.raises(ModelError, match="no GGUF file"):
        catalog.pull("llama-3.1-405b", backend="llamacpp")


def test_offline_and_unreachable(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ModelError) as caught:
        catalog.pull("o/m:m.gguf")
    assert "same command again" in caught.value.hint
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        catalog.pull("o/m:m.gguf")


def test_no_room_is_said_before_anything_is_fetched(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["o/m"] = {"m.gguf": BIG}
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(pulling.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ModelError) as caught:
        catalog.pull("o/m:m.gguf")
    assert "LOCALSYNTH_HOME" in caught.value.hint
    assert hub.ranges == []


def test_what_the_fetched_path_is_for_a_name_with_a_folder(hub: Hub, tmp_path: Path) -> None:
    hub.repos["o/m"] = {"sub/m.gguf": b"GGUF"}
    assert catalog.pull("o/m:m.gguf") == paths.models_dir() / "o--m" / "sub" / "m.gguf"


def test_two_processes_never_fetch_the_same_file(hub: Hub) -> None:
    hub.repos["o/m"] = {"m.gguf": BIG}
    hub.cut_after = [1_500_000, 0, 0]
    with pytest.raises(ModelError):
        catalog.pull("o/m:m.gguf")
    hub.cut_after = []
    folder = paths.models_dir() / "o--m"
    (part,) = folder.glob(".partial/*")
    assert partial(folder) == Partial(part.stat().st_size, busy=False)
    with claim(part):
        assert partial(folder) == Partial(part.stat().st_size, busy=True)
        with pytest.raises(ModelError, match=r"m\.gguf is being fetched by another process"):
            catalog.pull("o/m:m.gguf")
    assert catalog.pull("o/m:m.gguf").read_bytes() == BIG
    assert partial(folder) is None


def test_progress_counts_all_files_of_a_model(hub: Hub) -> None:
    parts = {f"m-Q4_K_M-0000{i}-of-00002.gguf": BIG + bytes(i) for i in (1, 2)}
    hub.repos["o/big"] = parts
    seen: list[catalog.Progress] = []
    catalog.pull("o/big", seen.append)
    whole = sum(map(len, parts.values()))
    assert {progress.all_total for progress in seen} == {whole}
    assert [progress.all_done for progress in seen] == sorted(progress.all_done for progress in seen)
    assert seen[-1].all_done == whole
