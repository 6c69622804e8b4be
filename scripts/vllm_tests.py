"""The tests that need a real vLLM, run by the interpreter of its environment: in process first, then over a server.

`vllm_tests.py MODEL`: a model folder. Only what is started here is stopped here.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CLIENT = "tests/backends/test_openai.py"
NAME = "starter"
START_S = 300
# Every test has a limit of its own; this one is for what hangs so that no limit is looked at.
LONGEST_S = 1800
# Two cores and little memory are enough: 1 GB of keys and values.
SMALL = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}


def main(model: Path) -> int:
    """Run all; returns the exit status of the first part that failed."""
    # Whoever ends this ends the server with it.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    os.environ.update(SMALL, LOCALSYNTH_TEST_VLLM_MODEL=str(model))
    here = "tests/backends/test_vllm_real.py"
    if status := tests("in process", here, "not server"):
        return status
    with tempfile.TemporaryFile() as log:
        server, port = serve(model, log.fileno())
        try:
            if not wait(server, port):
                log.seek(0)
                sys.stderr.buffer.write(b"".join(log.readlines()[-20:]))
                return 1
            os.environ["LOCALSYNTH_TEST_VLLM_URL"] = f"http://127.0.0.1:{port}"
            return tests("over a server", here, "server") or tests("over a server", CLIENT, "RealVllm")
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()


def tests(title: str, file: str, which: str) -> int:
    """One run of pytest: the tests of a file that `which` chooses."""
    print(f"vLLM {title}: {file}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "ignore", "--durations", "5", "-k", which, file]
    try:
        return subprocess.run(command, cwd=ROOT, check=False, timeout=LONGEST_S).returncode
    except subprocess.TimeoutExpired:
        print(f"not done after {LONGEST_S / 60:g} minutes", file=sys.stderr)
        return 1


def serve(model: Path, log: int) -> tuple[subprocess.Popen[bytes], int]:
    """Start vLLM's own server on a free port of the loopback interface; returns it and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    options = {
        "--served-model-name": NAME,
        "--host": "127.0.0.1",
        "--port": str(port),
        "--max-model-len": "2048",
        "--max-num-seqs": "32",
    }
    command = [str(Path(sys.executable).with_name("vllm")), "serve", str(model), "--enforce-eager"]
    command += [word for option in options.items() for word in option]
    return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True), port


def wait(server: subprocess.Popen[bytes], port: int) -> bool:
    """Whether it answers before it ends or takes too long."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/v1/models")
            if connection.getresponse().status == 200:
                return True
        except OSError:
            pass
        time.sleep(1)
    return False


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
