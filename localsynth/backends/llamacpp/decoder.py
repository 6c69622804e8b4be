"""The llama.cpp decoder: one slot per row, all live rows in one llama_decode per step."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import numpy as np

from localsynth.backends.base import BackendInfo
from localsynth.backends.llamacpp.batch import Batch
from localsynth.backends.llamacpp.cells import Cells, Slot
from localsynth.backends.llamacpp.library import last_words, library
from localsynth.backends.llamacpp.sampling import Logits, Sampler, logprob
from localsynth.backends.llamacpp.settings import LlamaCppSettings, free_memory
from localsynth.backends.llamacpp.vocabulary import Vocabulary
from localsynth.backends.stepped import Step
from localsynth.errors import BackendError, ContextOverflow, ModelError
from localsynth.records import Request

_NO_ROOM = 1  # llama_decode's way to say that the cache is full
_SPARE = 1 / 16  # of the free memory, for rows that will be continued
_REMEMBERED = 64  # prompts whose logits are kept, 200 KB each


@dataclass(slots=True, eq=False)
class _Row:
    uid: int
    prompt: list[int]
    sampler: Sampler
    stops: frozenset[int]
    left: int
    logprobs: bool
    slot: Slot
    pieces: int
    continued: bool
    token: int = -1
    given: deque[int] = field(default_factory=deque)


class LlamaCppDecoder:
    """Rows of one loaded model. Frees `model` on `close`.

    A joining prompt is decoded in calls of its own: in one batch with the live rows, llama.cpp would cut it into
    pieces that depend on its neighbours, and so would the last bits of its logits. What follows the opening of a
    conversation is decoded one token at a time, as it was when the model wrote it: then its cells can be taken over
    where they are still there, and have the same bits where they are not.
    """

    def __init__(self, model: int, vocabulary: Vocabulary, settings: LlamaCppSettings, info: BackendInfo) -> None:
        self._llama: Any = library()
        self.info, self.room = info, info.max_concurrency
        self._model, self._vocabulary, self._chunk = model, vocabulary, settings.batch
        self._context = make_context(self._llama, model, settings)
        recurrent = self._llama.llama_model_is_recurrent(model) or self._llama.llama_model_is_hybrid(model)
        self._exact, self._partial = info.exact_replay, not recurrent
        spare = int((free_memory() or 0) * _SPARE)
        self._cells = Cells(
            self._context, sequences(settings), settings.context,
            exact=self._exact, partial=self._partial, spare=spare,
        )  # fmt: skip
        self._batch = Batch(max(settings.batch, sequences(settings)))
        self._rows: dict[int, _Row] = {}
        self._joining: list[_Row] = []
        self._ends = frozenset(vocabulary.end_ids)
        self._seen: OrderedDict[tuple[int, ...], Logits] = OrderedDict()
        self._order: dict[int, int] = {}

    def add(self, uid: int, request: Request) -> int:
        """Tokenise and take a slot. ContextOverflow when prompt and answer may not fit into it."""
        sampling = request.sampling
        prompt = self._vocabulary.tokenize(request.prompt)
        if not prompt:
            raise BackendError("the prompt is empty", "give the model's own pre-query template as the prompt")
        if len(prompt) + sampling.max_tokens > self.info.context:
            raise ContextOverflow(
                f"the prompt has {len(prompt)} tokens and {sampling.max_tokens} more were asked for, "
                f"but one row holds {self.info.context}",
                "ask for fewer tokens, shorten the prompt, or give each slot more context",
            )
        avoided = self._vocabulary.avoided(sampling.avoid_first) if sampling.avoid_first else ()
        sampler = Sampler(sampling, request.seed, avoided)
        pieces = self._pieces(prompt, request.opening)
        slot = self._cells.take(prompt, pieces)
        stops = self._ends.union(request.stop_ids)
        row = _Row(uid, prompt, sampler, stops, sampling.max_tokens, request.logprobs, slot, pieces, request.continued)
        self._rows[uid] = row
        self._joining.append(row)
        return len(prompt)

    def step(self) -> Sequence[Step]:
        """Read the prompts that joined, then decode one token for every live row."""
        self._close_gaps()
        joined, self._joining = self._joining, []
        steps = [step for row in joined if (step := self._begin(row))]
        rows = list(self._rows.values())
        while rows and not self._decode(rows):
            # The longest row gives way; the engine may try it again when there is room.
            longest = max(rows, key=lambda row: len(row.slot.tokens))
            steps.append(self._fail(longest, "the cache of the live rows is full"))
            rows.remove(longest)
        if not rows:
            return steps
        logits = self._logits(len(self._order))
        for row in rows:
            row.slot.tokens.append(row.token)
            if row.given:
                row.token = row.given.popleft()
            else:
                steps.append(self._advance(row, logits[self._order[row.slot.number]]))
        return steps

    def remove(self, uid: int) -> None:
        """Free the slot of a row."""
        row = self._rows[uid]
        if row in self._joining:
            self._joining.remove(row)
        self._free(uid)

    def close(self) -> None:
        """Free everything, the model included."""
        for uid in list(self._rows):
            self.remove(uid)
        self._llama.llama_free(self._context)
        self._llama.llama_model_free(self._model)

    def _decode(self, rows: list[_Row]) -> bool:
        """Compute the logits that follow each row's token, `_order` says in which place; False without room."""
        tokens = {row.slot.number: row.token for row in rows}
        company = self._cells.companions(set(tokens))
        tokens |= dict.fromkeys((slot.number for slot in company), rows[0].token)
        numbers = sorted(tokens)
        slots = self._cells.slots
        batch = self._batch.rows(
            [tokens[number] for number in numbers], [len(slots[number].tokens) for number in numbers], numbers
        )
        code = self._llama.llama_decode(self._context, batch)
        self._order = {number: place for place, number in enumerate(numbers)}
        if code == _NO_ROOM:
            return False
        self._check(code)
        self._cells.forget_company(company)
        return True

    def _begin(self, row: _Row) -> Step | None:
        """Read a prompt and draw the first token; None where some of it is still to be decoded one at a time."""
        if row.pieces < len(row.prompt):
            return self._continue(row)
        known = self._known(row.prompt)
        if known is None or not self._cells.fill(row.slot, row.prompt):
            if not self._read(row):
                return self._fail(row, "there is no room for the prompt")
            known = self._logits(1)[0].copy()
            self._remember(row.prompt, known)
        return self._advance(row, known)

    def _continue(self, row: _Row) -> Step | None:
        slot, prompt = row.slot, row.prompt
        if len(slot.tokens) < row.pieces and not self._read(row):
            return self._fail(row, "there is no room for the prompt")
        # The logits after the last token are wanted, so it is decoded even where its cell is there.
        self._cells.keep(slot, min(len(slot.tokens), len(prompt) - 1))
        row.token, *rest = prompt[len(slot.tokens) :]
        row.given.extend(rest)
        return None

    def _read(self, row: _Row) -> bool:
        """Read what is missing of the prompt's pieces, with the logits after the prompt's end."""
        slot, end = row.slot, row.pieces
        # A lone token takes another path through the matrix products than a piece of a prompt.
        self._cells.keep(slot, max(0, min(len(slot.tokens), end - 2)))
        while (start := len(slot.tokens)) < end:
            size = min(self._chunk, end - start)
            size -= end - start - size == 1
            piece = row.prompt[start : start + size]
            batch = self._batch.prompt(piece, start, slot.number, last=start + size == len(row.prompt))
            code = self._llama.llama_decode(self._context, batch)
            if code == _NO_ROOM:
                return False
            self._check(code)
            slot.tokens.extend(piece)
            slot.pieces = len(slot.tokens)
        return True

    def _pieces(self, prompt: list[int], opening: str) -> int:
        """How many tokens of a prompt are read as pieces."""
        if not opening or not self._exact or not self._partial:
            return len(prompt)
        pairs = zip(prompt, self._vocabulary.tokenize(opening), strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)) or len(prompt)

    def _advance(self, row: _Row, logits: Logits) -> Step:
        """Draw the next token of a row."""
        try:
            token = row.sampler.draw(logits)
        except BackendError as error:
            self._free(row.uid)
            return Step(row.uid, error=error)
        values = (logprob(logits, token),) if row.logprobs else ()
        row.left -= 1
        if token in row.stops:
            self._free(row.uid, save=row.continued)
            return Step(row.uid, finish="stop", stopped_by=token, logprobs=values)
        row.token = token
        if row.left <= 0:
            self._free(row.uid)
            return Step(row.uid, self._vocabulary.piece(token), finish="length", logprobs=values)
        return Step(row.uid, self._vocabulary.piece(token), logprobs=values)

    def _fail(self, row: _Row, why: str) -> Step:
        self._free(row.uid)
        return Step(row.uid, error=BackendError(why, "use fewer slots or less context", retryable=True))

    def _free(self, uid: int, *, save: bool = False) -> None:
        self._cells.free(self._rows.pop(uid).slot, save=save)

    def _close_gaps(self) -> None:
        """Let the last rows move up; a gap costs about 11 ms a step of the starter model, a copy 1.4 ms once."""
        while gap := self._cells.gap():
            source, target = gap
            row = next(row for row in self._rows.values() if row.slot is source)
            self._cells.move(source, target)
            row.slot = target

    def _known(self, prompt: list[int]) -> Logits | None:
        """The logits after a prompt that was read before."""
        known = self._seen.get(tuple(prompt))
        if known is not None:
            self._seen.move_to_end(tuple(prompt))
        return known

    def _remember(self, prompt: list[int], logits: Logits) -> None:
        """Keep the logits of a prompt that comes again, as every question's does under the same system prompt."""
        self._seen[tuple(prompt)] = logits
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    def _logits(self, rows: int) -> Logits:
        """What the last decode computed: one row for each token of the batch that wanted logits, in order."""
        pointer = self._llama.llama_get_logits(self._context)
        return np.ctypeslib.as_array(pointer, (rows, self._vocabulary.size))

    def _check(self, code: int) -> None:
        if code != 0:
            raise RuntimeError(f"llama_decode returned {code}: {last_words()}")


def sequences(settings: LlamaCppSettings) -> int:
    """Sequences in the context: one per slot, and a second one to keep a single slot company."""
    return max(2, settings.slots)


def make_context(llama: Any, model: int, settings: LlamaCppSettings) -> int:
    """A context for the slots of `settings`; frees the model when there is no room for it."""
    params = llama.llama_context_default_params()
    on_cpu = settings.gpu_layers == 0
    params.n_seq_max = sequences(settings)
    params.n_ctx = settings.context * params.n_seq_max
    params.n_batch = params.n_ubatch = max(settings.batch, params.n_seq_max)
    params.n_outputs_max = params.n_seq_max
    params.n_threads = params.n_threads_batch = settings.threads
    # On the CPU, flash attention rounds otherwise for pieces of 64 tokens than for shorter ones.
    params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED if on_cpu else llama.LLAMA_FLASH_ATTN_TYPE_AUTO
    params.offload_kqv = params.op_offload = not on_cpu
    params.kv_unified, params.swa_full, params.no_perf = False, True, True
    context = llama.llama_init_from_model(model, params)
    if not context:
        llama.llama_model_free(model)
        raise ModelError(
            f"llama.cpp cannot make {settings.slots} slots of {settings.context} tokens: {last_words()}",
            "use fewer slots or less context",
        )
    return int(context)
