"""A terminal that goes away without a signal: the UI ends, instead of spinning where nobody sees it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path


def test_the_ui_ends_with_its_terminal(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    # A session without a controlling terminal: nobody sends it SIGHUP.
    process = subprocess.Popen(
        [sys.executable, "-m", "localsynth", "ui", "--store", str(tmp_path / "no.db")],
        stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
        env=os.environ | {"TERM": "xterm-256color"},
    )  # fmt: skip
    try:
        os.close(follower)
        seen = b""
        while b"Runs" not in seen:
            seen += os.read(leader, 1 << 16)
        os.close(leader)
        assert process.wait(60) == -signal.SIGHUP
    finally:
        process.kill()
        process.wait()
