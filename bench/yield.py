"""Which share of a model's own user turns are usable questions: 300 turns, three seeds, with intervals.

    python bench/yield.py [FILE.gguf ...] [--turns 300] [--seeds 3]

For each file: the pre-query template as the model's own chat template renders it, asked as its card says; then the
same at plain T 1; then the bare user header (the nearest preset of distilabel), for comparison. A turn counts by the
definition in localsynth/filters/yields.py. Without a file: the starter, and its repacked copy where there is one.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from localsynth import catalog, paths
from localsynth.backends.base import Backend
from localsynth.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
from localsynth.config import RolePlan
from localsynth.engine.fitness import ask_sampling, ask_turns
from localsynth.engine.roles import format_of
from localsynth.filters.yields import YieldReport, assess
from localsynth.records import Request, Sampling, derive_seed

CAP = 200


async def bare(backend: Backend, turns: int, seed: int) -> list[tuple[str, bool]]:
    """User turns from the ChatML user header alone, without the default system turn."""
    fmt = format_of(backend.info)
    requests = [
        Request("<|im_start|>user\n", Sampling(max_tokens=CAP), derive_seed(seed, number), fmt.stop_ids)
        for number in range(turns)
    ]
    done = await asyncio.gather(*(backend.generate(request) for request in requests))
    return [(completion.text, completion.finish_reason == "stop") for completion in done]


def show(name: str, reports: list[YieldReport]) -> None:
    """One line for each seed, and their sum."""
    causes: dict[str, int] = {}
    for report in reports:
        for cause, count in report.causes.items():
            causes[cause] = causes.get(cause, 0) + count
    whole = YieldReport(sum(r.n for r in reports), sum(r.good for r in reports), causes)
    seeds = ", ".join(f"{report.rate:.1%}" for report in reports)
    lost = ", ".join(f"{cause} {count}" for cause, count in sorted(causes.items(), key=lambda item: -item[1]))
    print(f"  {name:<34} {whole.rate:6.1%}  [{whole.low95:.1%}, {whole.high95:.1%}]  by seed {seeds}; lost: {lost}")


async def measure(path: Path, turns: int, seeds: int) -> None:
    backend = LlamaCppBackend(path, LlamaCppSettings(context=512))
    await backend.open()
    fmt = format_of(backend.info)
    print(f"{path.name} ({backend.info.quantisation}), {turns} turns x {seeds} seeds, cap {CAP} tokens")
    ways = {
        "own template, the card's sampling": ask_sampling(RolePlan(model="")),
        "own template, T 1": Sampling(max_tokens=CAP),
    }
    for name, sampling in ways.items():
        reports = []
        for seed in range(seeds):
            texts = await ask_turns(backend, fmt, sampling, (derive_seed(seed, number) for number in range(turns)))
            reports.append(assess(texts, language="en", control_strings=fmt.control_strings))
        show(name, reports)
    texts = await bare(backend, turns, 0)
    show("bare user header, T 1, one seed", [assess(texts, language="en", control_strings=fmt.control_strings)])
    await backend.aclose()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--turns", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    files = options.files or [catalog.starter_path(), *sorted(paths.optimised_dir().glob("SmolLM2-135M*.gguf"))]
    for file in files:
        asyncio.run(measure(file, options.turns, options.seeds))


if __name__ == "__main__":
    main()
