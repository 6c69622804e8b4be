"""Find and replace in a process of its own, with a bound on time, so that no expression can hang anything."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from localsynth.errors import DataError, LocalsynthError
from localsynth.filters.substitution import Substitution, described

LIMIT: Final = 10.0  # seconds for one call; an ordinary expression takes milliseconds
_TICK = 0.1


class Substituter:
    """Replaces in lists of texts until it is closed. `cancelled` is asked ten times a second.

    DataError: the substitution is wrong, or takes longer than `limit` seconds.
    """

    def __init__(self, wanted: Substitution, cancelled: Callable[[], bool], limit: float = LIMIT) -> None:
        wanted.compiled()
        self._cancelled, self._limit = cancelled, limit
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "localsynth.filters.substitution"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise LocalsynthError(f"replacing cannot be started: {error.strerror}", "free some memory") from None
        self._reader = threading.Thread(target=self._read, name="substituter", daemon=True)
        self._reader.start()
        # Of its own too: a process that does not read stops whoever writes to it.
        self._writer = threading.Thread(target=self._write, name="substituter-lines", daemon=True)
        self._writer.start()
        self._lines.put(described(wanted).encode())

    def apply(self, texts: Sequence[str]) -> list[str | None] | None:
        """What becomes of each text, None where nothing does; None for all when it was cancelled."""
        self._lines.put(json.dumps(list(texts)).encode() + b"\n")
        end = time.monotonic() + self._limit
        while True:
            try:
                line = self._answers.get(timeout=_TICK)
            except queue.Empty:
                if self._cancelled():
                    return None
                if time.monotonic() >= end:
                    raise DataError(
                        f"finding takes longer than {self._limit:g} seconds in {len(texts)} texts",
                        "make the expression simpler: no repetition inside a repetition",
                    ) from None
                continue
            if not line:
                raise LocalsynthError("the process that replaces has ended", "try again, with fewer rows")
            answer: list[str | None] = json.loads(line)
            return answer

    def close(self) -> None:
        """End the process, whatever it does; may be called twice."""
        self._process.kill()
        self._process.wait()
        self._lines.put(b"")
        self._writer.join()
        self._reader.join()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdout.close()
        with suppress(BrokenPipeError):
            self._process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self) -> None:
        assert self._process.stdin is not None
        while line := self._lines.get():
            with suppress(BrokenPipeError):  # it has ended: the reader says so
                self._process.stdin.write(line)
                self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(b"")
