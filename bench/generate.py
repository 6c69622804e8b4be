"""The same file, the same machine, 64 pairs, 128 new tokens a turn: localsynth, its limit, and its peers.

    python bench/generate.py [FILE.gguf] [--pairs 64] [--tokens 128] [--distilabel PYTHON]

Usable pairs are those whose question counts by the definition of localsynth/filters/yields.py, on every side. The limit
is a bare llama_decode loop over as many live sequences, without sampling (llama_limit.py). distilabel runs in the
Python that --distilabel names (`pip install distilabel llama-cpp-python requests pillow`), on the file as it is.
Loading is not counted on any side. localsynth compares exact duplicates only, since no peer compares any.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_limit import limit
from peer_llama import PRE

from localsynth import catalog
from localsynth.backends.llamacpp import LlamaCppSettings
from localsynth.config import plan_from
from localsynth.engine import launch, runner
from localsynth.filters.yields import assess
from localsynth.store.queries import Reader

HERE = Path(__file__).parent
SETTINGS = LlamaCppSettings(slots=32, context=512)
CONTROL = ("<|im_start|>", "<|im_end|>")


@dataclass(frozen=True)
class Side:
    """One side's figures."""

    name: str
    pairs: int
    usable: int
    tokens: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds

    def row(self, first: Side) -> str:
        per_minute = 60 * self.usable / self.seconds
        own = 60 * first.usable / first.seconds
        ratio = f"{own / per_minute:6.1f} x" if self is not first and per_minute else ""
        speed = f"{first.rate / self.rate:6.2f} x" if self is not first else ""
        return (
            f"{self.name:<34} {self.pairs:>5} {self.usable / max(1, self.pairs):>7.0%} {self.rate:>9.0f} {speed:>9} "
            f"{self.pairs / self.seconds:>8.2f} {per_minute:>10.1f} {ratio:>9}"
        )


def ours(name: str, model: Path, pairs: int, tokens: int) -> Side:
    """A whole run through gate and store over a tenth more questions than pairs; every answered sample is a pair."""
    plan = plan_from(
        {
            "target": 10 * pairs,
            "limits": {"attempts": pairs + pairs // 10},
            "seed": 1,
            "force": True,
            "ask": {"model": str(model), "sampling": {"temperature": 1.0, "min_p": 0.05, "max_tokens": tokens}},
            "answer": {"model": str(model), "sampling": {"temperature": 0.0, "max_tokens": tokens}},
            "gate": {"near_duplicates": False},
            "machine": {"slots": 32, "context": 512},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "bench.db"
        run = launch.create(store, plan)
        runner.run(store, run)
        with Reader.open(store) as reader:
            events = {event.kind: dt.datetime.fromisoformat(event.at) for event in reader.events(run)}
            samples = reader.samples(run, limit=100_000)
    seconds = (events["RunEnded"] - events["RunStarted"]).total_seconds()
    answered = [sample for sample in samples if sample.response]
    count = sum(turn.completion_tokens or 0 for sample in samples for turn in sample.turns)
    report = assess(((sample.instruction, True) for sample in answered), control_strings=CONTROL)
    return Side(name, len(answered), report.good, count, seconds)


def peer(name: str, command: list[str]) -> Side:
    """A side that runs in a process of its own and prints JSON."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=False)
    if done.returncode != 0:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    turns = [(row["instruction"], row.get("stopped", True)) for row in found["rows"]]
    report = assess(turns, control_strings=CONTROL)
    return Side(name, report.n, report.good, found["tokens"], found["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", type=Path, default=None)
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--repacked", type=Path, help="a repacked copy of the file, measured too")
    parser.add_argument("--distilabel", help="the Python that distilabel is installed in")
    parser.add_argument("--tokenizer", help="a folder with the model's tokenizer, for distilabel")
    options = parser.parse_args()
    model = options.file or catalog.starter_path()
    size = [str(options.pairs), str(options.tokens), "1"]
    sides: list[Side] = []

    def take(side: Side) -> None:
        """Shown as it comes: a peer may take many minutes."""
        sides.append(side)
        print(side.row(sides[0]), flush=True)

    print(f"{model.name}, {options.pairs} pairs, {options.tokens} new tokens a turn")
    print(f"{'':<34} pairs  usable  tokens/s  (ratio)  pairs/s  usable/min  (ratio)")
    take(ours("localsynth", model, options.pairs, options.tokens))
    bare = {model: limit(model, SETTINGS, PRE, options.tokens)}
    if options.repacked:
        take(ours("localsynth, repacked file", options.repacked, options.pairs, options.tokens))
        bare[options.repacked] = limit(options.repacked, SETTINGS, PRE, options.tokens)
    take(peer("one at a time, llama_cpp.Llama", [sys.executable, "peer_llama.py", str(model), *size]))
    if options.distilabel:
        command = [options.distilabel, "peer_distilabel.py", str(model), options.tokenizer, *size]
        take(peer("distilabel MagpieGenerator", command))
    for side, (path, tokens_per_second) in zip(sides, bare.items(), strict=False):
        share = side.rate / tokens_per_second
        print(f"limit of {path.name}: {tokens_per_second:.0f} tokens/s; {side.name} reaches {share:.2f} of it")


if __name__ == "__main__":
    main()
