"""How near the llama.cpp backend comes to its limit: a bare llama_decode loop over as many live sequences, no sampling.

    python bench/llama_limit.py [MODEL.gguf] [--slots 32] [--tokens 128] [--threads N] [--rounds 2] [--rows 4]

Both use the same context and threads, in turns, so that a busy machine slows both. The limit decodes one token for each
of `slots` sequences, `tokens` times, after the same prompt. The backend answers `rows` requests for each slot, at
temperature 1, each up to `tokens` tokens; its clock runs while all slots are live, and everything counts: prompts,
sampling, text, threads, the event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localsynth import catalog
from localsynth.backends.gguf import read_facts, read_tensors
from localsynth.backends.llamacpp import LlamaCppSettings, load_decoder
from localsynth.backends.stepped import Decoder, Step, SteppedBackend
from localsynth.chat import derive
from localsynth.records import Request, Sampling

TOPICS = ("tea", "rivers", "the moon", "bread", "chess", "bees", "glass", "winter", "maps", "paper")


@dataclass(frozen=True)
class Speed:
    """Tokens per second."""

    limit: float
    backend: float

    @property
    def ratio(self) -> float:
        return self.backend / self.limit


def limit(model: Path, settings: LlamaCppSettings, prompt: str, tokens: int) -> float:
    """Tokens per second of the bare loop."""
    from localsynth.backends.llamacpp import library
    from localsynth.backends.llamacpp.batch import Batch
    from localsynth.backends.llamacpp.decoder import make_context
    from localsynth.backends.llamacpp.settings import resolve
    from localsynth.backends.llamacpp.vocabulary import Vocabulary

    llama = library.library()
    chosen = resolve(settings, read_facts(model), gpu=library.has_gpu())
    handle = library.load_model(model, read_tensors(model), chosen.gpu_layers)
    context = make_context(llama, handle, chosen)
    ids = Vocabulary(handle).tokenize(prompt)
    batch, slots = Batch(max(chosen.batch, chosen.slots)), range(chosen.slots)
    for slot in slots:
        assert llama.llama_decode(context, batch.prompt(ids, 0, slot, last=False)) == 0
    started = time.perf_counter()
    for step in range(tokens):
        rows = batch.rows([ids[-1]] * chosen.slots, [len(ids) + step] * chosen.slots, slots)
        assert llama.llama_decode(context, rows) == 0
        llama.llama_synchronize(context)
    seconds = time.perf_counter() - started
    llama.llama_free(context)
    llama.llama_model_free(handle)
    return chosen.slots * tokens / seconds


class Counter:
    """A decoder that notes when it wrote how many tokens, while all its slots were live."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder, self.info, self.room = decoder, decoder.info, decoder.room
        self._live = 0
        self.notes: list[tuple[float, int]] = []

    def add(self, uid: int, request: Request) -> int:
        tokens = self._decoder.add(uid, request)
        self._live += 1
        return tokens

    def step(self) -> Sequence[Step]:
        full = self._live == self.info.max_concurrency
        steps = self._decoder.step()
        if full:
            self.notes.append((time.perf_counter(), sum(step.tokens for step in steps)))
        self._live -= sum(step.finish is not None for step in steps)
        return steps

    def remove(self, uid: int) -> None:
        self._live -= 1
        self._decoder.remove(uid)

    def close(self) -> None:
        self._decoder.close()


async def backend_speed(model: Path, settings: LlamaCppSettings, tokens: int, rows: int) -> float:
    """Tokens per second of the backend while all its slots are live."""
    counters: list[Counter] = []

    def load() -> Counter:
        counters.append(Counter(load_decoder(model, settings, model.stem)))
        return counters[0]

    backend = SteppedBackend(load)
    await backend.open()
    fmt = derive(backend.info.template or "", backend.info.tokens)
    requests = [
        Request(
            fmt.answer_prompt((("user", f"Tell me {number} stories about {TOPICS[number % len(TOPICS)]}."),)),
            Sampling(max_tokens=tokens),
            number,
            fmt.stop_ids,
        )
        for number in range(rows * backend.info.max_concurrency)
    ]
    await asyncio.gather(*map(backend.generate, requests))
    await backend.aclose()
    notes = counters[0].notes
    return sum(count for _, count in notes[1:]) / (notes[-1][0] - notes[0][0])


def compare(model: Path, settings: LlamaCppSettings, tokens: int, rounds: int, rows: int) -> Speed:
    """Medians over `rounds` of both, in turns."""
    facts = read_facts(model)
    fmt = derive(facts.template or "", facts.tokens)
    prompt = fmt.answer_prompt((("user", "Tell me 10 long stories about bread."),))
    limits, backends = [], []
    for _ in range(rounds):
        limits.append(limit(model, settings, prompt, tokens))
        backends.append(asyncio.run(backend_speed(model, settings, tokens, rows)))
    return Speed(statistics.median(limits), statistics.median(backends))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=4, help="requests for each slot")
    asked = parser.parse_args()
    model = asked.model or catalog.starter_path()
    settings = LlamaCppSettings(slots=asked.slots, context=512, threads=asked.threads)
    speed = compare(model, settings, asked.tokens, asked.rounds, asked.rows)
    print(f"{model.name}, {asked.slots} slots, up to {asked.tokens} tokens")
    print(f"  limit    {speed.limit:7.1f} tokens/s  bare llama_decode, no sampling")
    print(f"  backend  {speed.backend:7.1f} tokens/s  {speed.ratio:.2f} of the limit")


if __name__ == "__main__":
    main()
