"""The MLX decoder: rows of one model in mlx-lm's BatchGenerator, as many at a time as memory allows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from localsynth.backends.base import BackendInfo
from localsynth.backends.mlx import library
from localsynth.backends.mlx.guard import MemoryGuard
from localsynth.backends.mlx.sampling import RowSampler
from localsynth.backends.stepped import Step
from localsynth.backends.tokenizer import LocalTokenizer
from localsynth.errors import BackendError, ContextOverflow
from localsynth.records import Request

_PREFILL_ROWS, _PREFILL_STEP = 8, 512  # prompts that are read together, and tokens of each at a time
_MEASURE_EVERY = 8  # steps


@dataclass(slots=True, eq=False)
class _Row:
    """`number` is mlx-lm's name for the row, None while it waits for memory."""

    uid: int
    request: Request
    prompt: list[int]
    stops: frozenset[int]
    sampler: RowSampler | None = None
    number: int | None = None
    written: list[int] = field(default_factory=list)


class MlxDecoder:
    """Made, stepped and closed on one thread, on which the model was loaded: streams of MLX belong to threads."""

    def __init__(self, generator: Any, tokenizer: LocalTokenizer, guard: MemoryGuard, info: BackendInfo) -> None:
        """`generator`: the BatchGenerator of the loaded model, which `close` closes."""
        self.info = info
        self._mx = library.core()
        self._generator, self._tokenizer, self._guard = generator, tokenizer, guard
        self._rows: dict[int, _Row] = {}
        self._running: dict[int, _Row] = {}
        self._steps = 0
        self._mx.reset_peak_memory()

    @property
    def room(self) -> int:
        """Rows that may be live now; grows and shrinks with measured memory."""
        return self._guard.rows

    def add(self, uid: int, request: Request) -> int:
        """Tokenise and join the batch. ContextOverflow when prompt and answer may not fit."""
        wanted = request.sampling.max_tokens
        prompt = self._tokenizer.encode(request.prompt)
        if not prompt:
            raise BackendError("the prompt is empty", "give the model's own pre-query template as the prompt")
        if len(prompt) + wanted > self.info.context:
            raise ContextOverflow(
                f"the prompt has {len(prompt)} tokens and {wanted} more were asked for, "
                f"but one row holds {self.info.context}",
                "ask for fewer tokens, shorten the prompt, or give each row more context",
            )
        row = _Row(uid, request, prompt, frozenset(self.info.tokens.end_ids).union(request.stop_ids))
        self._start(row)
        self._rows[uid] = row
        return len(prompt)

    def step(self) -> Sequence[Step]:
        """One token for every row whose prompt is read; prompts that joined are read a piece at a time."""
        self._balance()
        _, responses = self._generator.next()
        steps, over = [], []
        for response in responses:
            row = self._running[response.uid]
            # Numbers that are none stay so: looking once a row is enough.
            sound = bool(row.written) or math.isfinite(response.logprobs[response.token].item())
            step = self._advance(row, int(response.token)) if sound else Step(row.uid, error=_no_probabilities())
            if step.finish is not None or step.error is not None:
                over.append(row)
            steps.append(step)
        self._stop(over)
        for row in over:
            del self._rows[row.uid]
        self._steps += 1
        return steps

    def remove(self, uid: int) -> None:
        """Free the place of a row."""
        row = self._rows.pop(uid)
        if row.number is not None:
            self._stop([row])

    def close(self) -> None:
        """Give the memory of the rows and of the model back."""
        self._rows.clear()
        self._running.clear()
        self._generator.close()
        self._generator = None
        self._mx.clear_cache()

    def _advance(self, row: _Row, token: int) -> Step:
        assert row.sampler is not None
        drawn = row.sampler.drawn
        values = (float(drawn.popleft().item()),) if drawn is not None else ()
        row.written.append(token)
        if token in row.stops:
            return Step(row.uid, finish="stop", stopped_by=token, logprobs=values)
        piece = self._tokenizer.piece(token)
        full = len(row.written) >= row.request.sampling.max_tokens
        return Step(row.uid, piece, finish="length" if full else None, logprobs=values)

    def _start(self, row: _Row) -> None:
        """Let a row begin, or go on where it was stopped: its text so far is read again as part of the prompt."""
        request = row.request
        avoided = self._tokenizer.avoided(request.sampling.avoid_first) if request.sampling.avoid_first else ()
        row.sampler = RowSampler(
            self._mx, request.sampling, request.seed, avoided, row.written, logprobs=request.logprobs
        )
        (row.number,) = self._generator.insert(
            [row.prompt + row.written],
            [request.sampling.max_tokens - len(row.written)],
            samplers=[row.sampler],
            logits_processors=[row.sampler.processors],
        )
        self._running[row.number] = row

    def _stop(self, rows: Iterable[_Row]) -> None:
        numbers = [row.number for row in rows if row.number is not None]
        for number in numbers:
            self._running.pop(number).number = None
        if numbers:
            self._generator.remove(numbers)

    def _balance(self) -> None:
        """Measure, and let rows wait or go on accordingly.

        The keys and values of all rows lie in one block as long as the longest, so each row that goes frees the same:
        the one that has written least has least to be read again.
        """
        if self._steps % _MEASURE_EVERY == 0:
            self._guard.measured(int(self._mx.get_peak_memory()), len(self._running))
            self._mx.reset_peak_memory()
        excess = len(self._running) - self._guard.rows
        if excess > 0:
            self._stop(sorted(self._running.values(), key=lambda row: len(row.written))[:excess])
            self._mx.clear_cache()
        for row in self._rows.values():
            if row.number is None and len(self._running) < self._guard.rows:
                self._start(row)


def _no_probabilities() -> BackendError:
    return BackendError("the model computed no probabilities", "its files may be damaged: pull it again")


def make_generator(model: Any, rows: int) -> Any:
    """mlx-lm's batches for a model whose weights are not evaluated yet."""
    from mlx_lm.generate import BatchGenerator

    generator = BatchGenerator(
        model,
        completion_batch_size=rows,
        prefill_batch_size=min(rows, _PREFILL_ROWS),
        prefill_step_size=_PREFILL_STEP,
    )
    if not library.on_cpu():
        # mlx-lm pins as much memory as Metal recommends; joining and leaving rows then end some Macs in a kernel panic
        # (ml-explore/mlx#3186, mlx-lm#1666), and never do with nothing pinned.
        library.core().set_wired_limit(0)
    return generator
