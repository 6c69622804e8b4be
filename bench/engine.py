"""What the engine itself can do, without a model: finished pairs a second, and how full it keeps the slots.

    python bench/engine.py [--pairs 20000] [--slots 32]

Pairs go through gate (exact duplicates; no embeddings), scores, events and store, as in a real run. The limits it is
printed against: 537 pairs/s, which four A100s asked for in arXiv 2406.08464 (3 million in 1.55 h), and full slots.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from localsynth.backends.scripted import Script, ScriptedDecoder
from localsynth.backends.stepped import Step, SteppedBackend
from localsynth.config import plan_from
from localsynth.engine import launch, roles, runner
from localsynth.store.queries import Reader

PAPER = 3_000_000 / (1.55 * 3600)


class Counter(ScriptedDecoder):
    """Counts how many rows were live at each step."""

    live: list[int]

    def __init__(self, slots: int, script: Script) -> None:
        from localsynth.backends.scripted import _Counter

        super().__init__(slots, script, "scripted", _Counter())
        self.live = []

    def step(self) -> Sequence[Step]:
        self.live.append(len(self._rows))
        return super().step()


def run(pairs: int, slots: int, delay: float) -> tuple[float, float, list[int], int]:
    """Seconds of wall, of CPU, live rows by step, and the pairs kept."""
    decoders: list[Counter] = []

    def make() -> Counter:
        decoders.append(Counter(slots, Script(delay=delay)))
        return decoders[-1]

    roles.build_backend = lambda role, plan: SteppedBackend(make)  # noqa: ARG005
    plan = plan_from(
        {
            "target": pairs,
            "seed": 1,
            "ask": {"backend": "scripted"},
            "answer": {"backend": "scripted"},
            "gate": {"near_duplicates": False},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "bench.db"
        name = launch.create(store, plan)
        started, cpu = time.perf_counter(), time.process_time()
        state, reason = runner.run(store, name)
        seconds, burnt = time.perf_counter() - started, time.process_time() - cpu
        assert state == "finished", reason
        with Reader.open(store) as reader:
            kept = reader.counts(name).kept
    return seconds, burnt, decoders[0].live, kept


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--slots", type=int, default=32)
    options = parser.parse_args()
    seconds, cpu, _, kept = run(options.pairs, options.slots, 0.0)
    print(f"{kept} pairs through gate, scores, events and store, {options.slots} slots, no delay")
    print(f"  {kept / seconds:8.0f} pairs/s   {kept / seconds / PAPER:5.2f} x the {PAPER:.0f}/s of four A100s asking")
    print(f"  {1e6 * cpu / kept:8.0f} us of CPU a pair, {cpu / seconds:.2f} cores busy")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  {peak:8.0f} MB peak memory of the process")
    seconds, _, live, kept = run(600, options.slots, 0.01)
    full = [count for count in live if count]
    tail = next((at for at in range(len(full) - 1, -1, -1) if full[at] == options.slots), 0)
    whole, steady = sum(full) / (len(full) * options.slots), sum(full[:tail]) / (max(1, tail) * options.slots)
    print(f"{kept} pairs, a step of 10 ms: slot occupancy {steady:.3f} until the drain, {whole:.3f} with the drain")


if __name__ == "__main__":
    main()
