"""A fake that ships: pseudo-texts that follow from the request's seed, at a chosen speed, with chosen faults.

It is a decoder under SteppedBackend like the real ones, so what is tried with it takes the real path.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from localsynth.backends.base import BackendInfo
from localsynth.backends.scripted_texts import answer, question
from localsynth.backends.stepped import Step, SteppedBackend
from localsynth.errors import BackendError, ContextOverflow
from localsynth.records import FinishReason, Request, SpecialTokens, derive_seed

START, END = "<|im_start|>", "<|im_end|>"
START_ID, END_ID = 1, 2
TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
CONTEXT = 4096
_TOKEN = re.compile(r"\s*(?:[^\W_]+|[^\w\s]|_)|\s+")


@dataclass(frozen=True, slots=True)
class Script:
    """How the fake behaves. `delay`: seconds per step of all slots; 0 writes whole texts in one step.

    `write` replaces the text that is written for a request. `faults` maps the number of a request, from 0 in order of
    arrival, to the error it ends with; an error that is no BackendError kills the decoder.
    """

    delay: float = 0.0
    write: Callable[[Request], str] | None = None
    faults: Mapping[int, Exception] = field(default_factory=dict)


class ScriptedBackend(SteppedBackend):
    """Questions and answers without a model; the same seed and prompt give the same text, with any neighbours."""

    def __init__(self, slots: int = 8, script: Script | None = None, *, name: str = "scripted") -> None:
        chosen, arrived = script or Script(), _Counter()
        super().__init__(lambda: ScriptedDecoder(slots, chosen, name, arrived))


class _Counter:
    """Counts requests over reloads of the decoder, so that a fault happens once."""

    def __init__(self) -> None:
        self.value = -1


@dataclass(slots=True)
class _Row:
    pieces: list[str]
    finish: FinishReason
    stopped_by: int | None
    fault: Exception | None
    logprobs: bool
    seed: int
    at: int = 0


class ScriptedDecoder:
    """The decoder: one piece of text for every live row at each step, or all of it when there is no delay."""

    def __init__(self, slots: int, script: Script, name: str, arrived: _Counter) -> None:
        self.info = BackendInfo(
            name="scripted",
            version="1",
            model=name,
            max_concurrency=slots,
            context=CONTEXT,
            template=TEMPLATE,
            tokens=SpecialTokens(bos="", eos=END, control={START: START_ID, END: END_ID}, end_ids=(END_ID,)),
            logprobs=True,
            exact_replay=True,
        )
        self.room = slots
        self._script, self._arrived = script, arrived
        self._rows: dict[int, _Row] = {}

    def add(self, uid: int, request: Request) -> int:
        """Write the whole text ahead; ContextOverflow when it may not fit."""
        self._arrived.value += 1
        sampling = request.sampling
        prompt_tokens = request.prompt.count(" ") + 1
        if prompt_tokens + sampling.max_tokens > CONTEXT:
            raise ContextOverflow(
                f"the prompt has {prompt_tokens} tokens and {sampling.max_tokens} more were asked for, "
                f"but one row holds {CONTEXT}",
                "ask for fewer tokens or shorten the prompt",
            )
        seed = derive_seed(request.prompt, request.seed if sampling.temperature > 0 else "greedy")
        pieces = _TOKEN.findall(self._write(request, seed))
        fault = self._script.faults.get(self._arrived.value)
        # The stop token is sampled too, so it needs one of the tokens asked for.
        ended = len(pieces) < sampling.max_tokens
        self._rows[uid] = _Row(
            pieces[: sampling.max_tokens],
            "stop" if ended else "length",
            END_ID if ended else None,
            fault,
            request.logprobs,
            seed,
        )
        return prompt_tokens

    def step(self) -> Sequence[Step]:
        """One piece for every row; the whole text without a delay."""
        if self._script.delay:
            time.sleep(self._script.delay)
        whole = not self._script.delay
        steps = [self._advance(uid, row, whole=whole) for uid, row in self._rows.items()]
        for step in steps:
            if step.finish is not None or step.error is not None:
                del self._rows[step.uid]
        return steps

    def remove(self, uid: int) -> None:
        """Drop a row."""
        del self._rows[uid]

    def close(self) -> None:
        """Drop all rows."""
        self._rows.clear()

    def _write(self, request: Request, seed: int) -> str:
        if self._script.write is not None:
            return self._script.write(request)
        if request.prompt.rstrip("\n").endswith("assistant"):
            return answer(seed, request.prompt)
        avoided = request.sampling.avoid_first
        texts = (question(seed + attempt) for attempt in range(50))
        return next((text for text in texts if not text.startswith(avoided)), "") if avoided else question(seed)

    def _advance(self, uid: int, row: _Row, *, whole: bool) -> Step:
        if isinstance(row.fault, BackendError):
            return Step(uid, error=row.fault)
        if row.fault is not None:
            raise row.fault
        start, row.at = row.at, len(row.pieces) if whole else row.at + 1
        pieces = row.pieces[start : row.at]
        # Without room for it, the stop token is not sampled and the last piece ends the row.
        over = row.at >= len(row.pieces) + (row.finish == "stop" and not whole)
        tokens = len(pieces) + (row.finish == "stop" and over)
        return Step(
            uid,
            "".join(pieces).encode(),
            tokens,
            row.finish if over else None,
            row.stopped_by if over else None,
            _logprobs(row.seed + start, tokens) if row.logprobs else (),
        )


def _logprobs(seed: int, count: int) -> tuple[float, ...]:
    dice = Random(seed)  # noqa: S311 - nothing secret
    return tuple(-dice.expovariate(1.0) for _ in range(count))
