"""Data sets of the Hub, from a local endpoint that answers as the Hub does."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from localsynth.errors import DataError
from localsynth.importing import locate
from localsynth.importing.hub import choose

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "README.md": b"# card",
    "data/train.jsonl": b'{"instruction": "q1", "output": "a1"}\n{"instruction": "q2", "output": "a2"}\n',
    "data/test.jsonl": b'{"instruction": "t", "output": "a"}\n',
    "notes.json": b'{"not": "rows"}',
}


class Hub(BaseHTTPRequestHandler):
    """One data set, owner/name; a gated one, owner/gated; nothing else."""

    def do_HEAD(self):
        self.answer(send_body=False)

    def do_GET(self):
        self.answer(send_body=True)

    def answer(self, *, send_body):
        path = self.path.split("?")[0]
        self.server.seen.append(f"{self.command} {self.path}")
        file = path.removeprefix(f"/datasets/owner/name/resolve/{COMMIT}/").removeprefix(
            "/datasets/owner/name/resolve/main/"
        )
        if "owner/gated" in path:
            self.reply(403, b"{}", {"X-Error-Code": "GatedRepo"}, send_body)
        elif path.startswith("/api/datasets/owner/name/tree/"):
            tree = [{"type": "file", "path": name, "size": len(data), "oid": "0" * 40} for name, data in FILES.items()]
            self.reply(200, json.dumps(tree).encode(), {"Content-Type": "application/json"}, send_body)
        elif path.startswith("/api/datasets/owner/name"):
            about = {"id": "owner/name", "sha": COMMIT, "siblings": [{"rfilename": name} for name in FILES]}
            self.reply(200, json.dumps(about).encode(), {"Content-Type": "application/json"}, send_body)
        elif file in FILES:
            etag = hashlib.sha1(FILES[file], usedforsecurity=False).hexdigest()
            self.reply(200, FILES[file], {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, send_body)
        else:
            self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"}, send_body)

    def reply(self, status, body, headers, send_body):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if send_body:
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def endpoint():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.seen = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def run_import(endpoint, tmp_path):
    """A process of its own: huggingface_hub reads its settings when it is imported."""
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")

    def run(spec):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {
            "HF_ENDPOINT": f"http://127.0.0.1:{endpoint.server_port}",
            "HF_HOME": str(tmp_path / "hub"),
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1",
        }
        command = [sys.executable, "-m", "localsynth", "import", spec, "--json", "--store", str(tmp_path / "s.db")]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)

    return run


def test_a_data_set_is_fetched_and_imported_once(run_import, endpoint):
    done = run_import("hf:owner/name")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["added"] == 3
    again = json.loads(run_import("hf:owner/name").stdout)
    assert (again["added"], again["already"]) == (0, True)
    fetched = [line for line in endpoint.seen if line.startswith("GET /datasets/")]
    assert len(fetched) == 2, fetched  # README.md and notes.json are no rows; the second import reads the cache


def test_one_file_of_a_revision(run_import):
    done = run_import(f"hf:owner/name@{COMMIT}:data/train.*")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["added"] == 2


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        ("hf:owner/none", "there is no data set owner/none", "hf auth login"),
        ("hf:owner/gated", "asks for its terms", "accept them"),
        ("hf:owner/name:*.csv", "no file to import like '*.csv'", "hf:OWNER/NAME:FILE"),
    ],
)
def test_what_cannot_be_fetched_is_said_in_one_line(run_import, tmp_path, spec, message, hint):
    done = run_import(spec)
    assert done.returncode == 5, done.stderr
    assert message in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "s.db").exists()


@pytest.mark.parametrize("spec", ["hf:", "hf:a/b/c", "hf:a b", "hf:a/b@", "hf:../x/y"])
def test_names_that_are_none(spec):
    with pytest.raises(DataError, match="names no data set"):
        locate(spec)


def test_copies_in_another_kind_are_not_read_twice():
    names = ["README.md", "dataset_infos.json", "x.jsonl", "data/a-1.parquet", "data/a-0.parquet"]
    assert choose(names, None) == ["data/a-0.parquet", "data/a-1.parquet"]
    assert choose(names, "x.jsonl") == ["x.jsonl"]
    assert choose(["README.md"], None) == []
    assert choose(["../x.jsonl", "/y.jsonl", "a/../../z.jsonl", "ok.jsonl"], "*") == ["ok.jsonl"]
