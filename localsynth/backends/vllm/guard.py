"""Ends processes that outlive this one: vLLM's engine does not notice when whoever started it is killed."""

from __future__ import annotations

import subprocess

# Reads process ids until its input ends, which is when the process that holds the other end is gone, however it ended.
_SCRIPT = 'while read -r pid; do pids="$pids $pid"; done; [ "$pids" ] && { kill $pids; sleep 5; kill -9 $pids; }'


class Guard:
    """A shell that waits for the end of this process, in a session of its own so that Ctrl-C does not reach it."""

    def __init__(self) -> None:
        self._shell = subprocess.Popen(
            ["sh", "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, pid: int) -> None:
        """End this process too when ours is gone."""
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{pid}\n".encode("ascii"))
        self._shell.stdin.flush()

    def release(self) -> None:
        """Nothing is left to be ended."""
        self._shell.kill()
        self._shell.communicate()
