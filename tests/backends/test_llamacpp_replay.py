"""The promise on the CPU: every row of a crowded run comes out byte for byte the same alone and among other rows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from contract import opened, same

from localsynth.backends.gguf import read_facts
from localsynth.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
from localsynth.backends.optimize import optimize, repack_target
from localsynth.records import Completion, Request, Sampling

ASK = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\n"
)
QUESTIONS = (
    "What is tea?", "Explain the causes of the fall of Rome, with dates and the background of each event you name.",
    "Write a function that sorts a list of dictionaries by two keys.", "Hi", "Three recipes with lentils, please.",
    "How do vaccines work? " * 9,
)  # fmt: skip


def rows(count: int, *, greedy: bool) -> list[Request]:
    """Ragged prompts, every kind of sampling, two system prompts."""
    dice, made = random.Random(5), []
    for seed in range(count):
        asks = seed % 3 == 0 and not greedy
        prompt = ASK if asks else f"{ASK}{dice.choice(QUESTIONS)} {seed}<|im_end|>\n<|im_start|>assistant\n"
        sampling = Sampling(
            temperature=0.0 if greedy else (1.0, 0.8, 1.2)[seed % 3], top_p=(1.0, 0.95, 0.9)[seed % 3],
            top_k=(0, 40)[seed % 2], min_p=(0.0, 0.05)[seed % 2], repeat_penalty=(1.0, 1.1)[seed % 4 // 2],
            max_tokens=4 + seed % 8,
        )  # fmt: skip
        prompt = prompt.replace("named", "called") if seed % 7 == 3 else prompt
        # Some questions count as the model's own: they are decoded one at a time.
        opening = ASK if seed % 4 == 1 and prompt.startswith(ASK) and prompt != ASK else ""
        made.append(Request(prompt, sampling, seed, opening=opening, continued=seed % 5 == 0))
    return made


async def run(model: Path, slots: int, requests: Sequence[Request], *, noise: int = 0) -> list[Completion]:
    settings = LlamaCppSettings(slots=slots, context=256, threads=1)
    async with opened(LlamaCppBackend(model, settings)) as backend:
        others = [
            asyncio.create_task(backend.generate(Request(f"{ASK}Noise {n}", Sampling(max_tokens=90), n)))
            for n in range(noise)
        ]
        tasks = [asyncio.create_task(backend.generate(request)) for request in requests]
        for other, task in zip(others, tasks, strict=False):
            await task
            other.cancel()
        return list(await asyncio.gather(*tasks))


@pytest.mark.slow
@pytest.mark.starter
@pytest.mark.parametrize("repacked", [False, True], ids=["as it comes", "repacked"])
async def test_98_rows_of_32_slots_are_the_same_at_8_and_alone(starter: Path, tmp_path: Path, *, repacked: bool):
    if repacked and repack_target(read_facts(starter)) is None:
        pytest.skip("this CPU repacks nothing")
    model = optimize(starter, tmp_path) if repacked else starter
    requests = rows(50, greedy=True) + rows(48, greedy=False)
    crowded = await run(model, 32, requests, noise=10)
    fewer = (await run(model, 8, requests[::-1], noise=3))[::-1]
    alone = await run(model, 1, requests)
    assert [at for at in range(98) if not same(crowded[at], fewer[at])] == []
    assert [at for at in range(98) if not same(crowded[at], alone[at])] == []
