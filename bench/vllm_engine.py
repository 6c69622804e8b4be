"""What localsynth costs on top of vLLM: tokens a second of the backend and of a bare loop, over the same engine.

    VLLM_CPU_KVCACHE_SPACE=1 PYTHON bench/vllm_engine.py MODEL [--rows 64] [--slots 32] [--tokens 64] [--rounds 3]

PYTHON is an interpreter that has vLLM (`make test-vllm` makes one), MODEL a model folder. The bare loop asks for the
same ids with the same sampling and takes nothing but the final outputs. The limit it is printed against: 0.97.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from localsynth.backends.vllm import VllmBackend, VllmSettings
from localsynth.backends.vllm.rows import sampling
from localsynth.chat import derive
from localsynth.records import Request, Sampling

LIMIT = 0.97


async def ours(backend: VllmBackend, requests: list[Request]) -> int:
    done = await asyncio.gather(*map(backend.generate, requests))
    return sum(one.completion_tokens for one in done)


async def bare(backend: VllmBackend, requests: list[Request], name: str) -> int:
    from vllm import SamplingParams
    from vllm.inputs import tokens_input
    from vllm.sampling_params import RequestOutputKind

    engine, tokenizer = backend._engine._client, backend._tokenizer
    ends = list(backend.info.tokens.end_ids)

    async def one(at: int, request: Request) -> int:
        params = SamplingParams(**sampling(request, ends), output_kind=RequestOutputKind.FINAL_ONLY)
        prompt = tokens_input(tokenizer.encode(request.prompt))
        async for output in engine.generate(prompt, params, f"bare-{name}-{at}"):
            written = len(output.outputs[0].token_ids)
        return written

    return sum(await asyncio.gather(*[one(at, request) for at, request in enumerate(requests)]))


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    backend = VllmBackend(options.model, VllmSettings(slots=options.slots, context=512))
    await backend.open()
    try:
        prompt = derive(backend.info.template, backend.info.tokens).ask_prompt()
        chosen = Sampling(max_tokens=options.tokens)
        requests = [Request(prompt, chosen, seed, stop=("<|im_start|>",)) for seed in range(options.rows)]
        await ours(backend, [replace(request, seed=request.seed + 1000) for request in requests[: options.slots]])
        rates: dict[str, list[float]] = {"backend": [], "bare loop": []}
        for turn in range(options.rounds):
            for name, found in rates.items():
                started = time.perf_counter()
                tokens = await (bare(backend, requests, f"{turn}") if name == "bare loop" else ours(backend, requests))
                found.append(tokens / (time.perf_counter() - started))
                print(f"  {name:10} {tokens:6} tokens  {found[-1]:8.1f} tokens/s", flush=True)
    finally:
        await backend.aclose()
    middle = {name: statistics.median(each) for name, each in rates.items()}
    share = middle["backend"] / middle["bare loop"]
    print(f"{options.rows} rows, {options.slots} slots, up to {options.tokens} tokens, {options.rounds} rounds each")
    print(
        f"  backend {middle['backend']:.1f}, bare loop {middle['bare loop']:.1f} tokens/s: {share:.3f} (limit {LIMIT})"
    )
    sys.exit(share < LIMIT)


if __name__ == "__main__":
    asyncio.run(main())
