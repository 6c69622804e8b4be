"""The starter by MLX: turned into a folder once, by itself; Magpie's question from it; its words are llama.cpp's."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("mlx_lm", reason="mlx-lm is not installed: it is for Apple silicon and for Linux on x86-64")

from localsynth import paths
from localsynth.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
from localsynth.backends.mlx import MlxBackend, MlxSettings
from localsynth.records import Request, Sampling

QUESTION = "<|im_start|>user\nName three rivers of Europe.<|im_end|>\n<|im_start|>assistant\n"
TURN = "SELECT model, prompt_tokens, completion_tokens, content FROM turns WHERE role = 'user'"


@pytest.mark.starter
@pytest.mark.slow
async def test_a_short_magpie_run_and_a_greedy_answer(cli: Callable, tmp_path: Path, starter: Path) -> None:
    # MLX reads and writes about ten tokens a second on one core: one question of a few tokens, kept or not.
    few = ("--instructions-only", "--question-tokens", 12, "--max-attempts", 1, "--slots", 1, "--no-near-duplicates")
    done = cli("generate", "-n", 1, "--backend", "mlx", "--seed", 1, *few)
    assert done.code in {0, 6}, done.err
    with sqlite3.connect(tmp_path / "localsynth.db") as db:
        turns = db.execute(TURN).fetchall()
        ran = db.execute("SELECT backend, model, length(sha256) FROM runs").fetchall()
    assert ran == [("mlx", "smollm2-135m", 64)]
    assert [turn[:2] for turn in turns] == [("smollm2-135m", 24)]
    assert 1 <= turns[0][2] <= 12
    assert turns[0][3].strip()
    folder = paths.converted_dir() / starter.stem
    backends = (
        MlxBackend(folder, MlxSettings(slots=1, context=256)),
        LlamaCppBackend(starter, LlamaCppSettings(slots=1, context=256, threads=1)),
    )
    told = []
    for backend in backends:
        await backend.open()
        answer = await backend.generate(Request(QUESTION, Sampling(temperature=0, max_tokens=8), 0, logprobs=True))
        told.append((backend.info, answer))
        await backend.aclose()
    (mlx, ours), (llama, theirs) = told
    assert ours.text == theirs.text
    assert ours.prompt_tokens == theirs.prompt_tokens
    assert ours.logprobs == pytest.approx(theirs.logprobs, abs=0.5)  # llama.cpp rounds what it multiplies to 8 bits
    assert (mlx.template, mlx.tokens) == (llama.template, llama.tokens)
    assert mlx.quantisation == "4-bit, groups of 32"
