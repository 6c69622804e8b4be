"""A text that loops is cut while it is written: nothing that follows would be kept, and every token of it costs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from time import monotonic

from localsynth.backends.base import Backend
from localsynth.engine.stats import Stats
from localsynth.filters.repetition import LoopWatch, cut_loop
from localsynth.records import Completion, Request

_CHARACTERS_PER_TOKEN = 4.0  # of English, until a run knows its own
Listener = Callable[[str], None]


async def generate_unlooped(
    backend: Backend, request: Request, stats: Stats, on_text: Listener | None = None
) -> Completion:
    """One completion, "loop" its finish reason where it was cut; errors are the backend's.

    What is cut follows from the text alone, so the same seed keeps the same rows.
    """
    task = asyncio.current_task()
    assert task is not None
    stream, started, before = _Stream(task, on_text), monotonic(), task.cancelling()
    try:
        completion = await backend.generate(request, stream.feed)
    except asyncio.CancelledError:
        # As in asyncio.timeout: ours is taken back, somebody else's goes on.
        if not stream.cancelled or task.uncancel() > before:
            raise
        return _cut(request, stream.text, monotonic() - started, stats)
    except BaseException:
        stream.release()
        raise
    finally:
        stream.close()
    stream.release()
    return _whole(completion, stats)


def _whole(completion: Completion, stats: Stats) -> Completion:
    """What was written to its end is cut where it would have been: how fast its pieces came must not matter."""
    at = cut_loop(completion.text)
    if at is not None:
        return replace(completion, text=completion.text[:at], finish_reason="loop", stopped_by=None, logprobs=None)
    stats.characters += len(completion.text)
    return completion


def _cut(request: Request, text: str, duration: float, stats: Stats) -> Completion:
    at = cut_loop(text)
    assert at is not None
    per_token = stats.characters / stats.tokens if stats.characters and stats.tokens else _CHARACTERS_PER_TOKEN
    limit = request.sampling.max_tokens
    tokens = min(limit, round(len(text) / per_token))
    # A loop that has run so long hardly ever ends before the limit: the model sees more of the same at every step.
    stats.saved_from_loops += limit - tokens
    return Completion(text[:at], "loop", None, 0, tokens, duration)


class _Stream:
    """One request's text as it comes; cancels the task that waits for it when the text loops."""

    __slots__ = ("_handle", "_on_text", "_parts", "_task", "_watch", "cancelled")

    def __init__(self, task: asyncio.Task[object], on_text: Listener | None) -> None:
        self._task, self._on_text = task, on_text
        self._watch, self._parts = LoopWatch(), list[str]()
        self._handle: asyncio.Handle | None = None
        self.cancelled = False

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def feed(self, piece: str) -> None:
        if self._on_text is not None:
            self._on_text(piece)
        self._parts.append(piece)
        if self._watch.feed(piece) and self._handle is None:
            # Not here and now: whoever tells the text may be about to tell the result.
            self._handle = self._task.get_loop().call_soon(self._cancel)

    def release(self) -> None:
        """The request ended in another way before our cancelling reached it."""
        if self.cancelled:
            self._task.uncancel()

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _cancel(self) -> None:
        self.cancelled = self._task.cancel()
