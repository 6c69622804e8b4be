"""What one row weighs: bytes in the store, memory of the duplicate rules, time of the near-duplicate comparison.

    python bench/sizing.py [--rows 20000] [--pairs 10000000]

Rows are as a run writes them: a question and an answer of 1,900 +- 970 characters together (the 426 +- 217 tokens of
Magpie-Air in arXiv 2406.08464, four characters each), seven scores, an admitted key, a 384-dimensional embedding, a
neighbour. The last column is the plain product with --pairs: nothing is assumed to grow more slowly than the rows do.
README.md says what follows.
"""

from __future__ import annotations

import argparse
import gc
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import numpy as np

from localsynth.backends.scripted_texts import answer, question
from localsynth.embedding.index import NearestIndex
from localsynth.export.split import Clusters
from localsynth.filters.duplicates import instruction_key, normalise
from localsynth.handoff.cluster import index as shared_keys
from localsynth.handoff.cluster.index import Entry, KeyIndex
from localsynth.handoff.cluster.minhash import band_keys, shingles
from localsynth.records import Embedding, Neighbour, Sample, Sampling, Score, Turn
from localsynth.store import InstructionKey, Reader, Store
from localsynth.store.store import Row

DIM, CHARACTERS, SPREAD, GROUP = 384, 1900, 970, 500
SCORES = tuple(
    f"{part}.{rule}" for part in ("instruction", "answer") for rule in ("length", "symbol_ratio", "repetition")
)
SAMPLING = Sampling()


def texts(seed: int) -> tuple[str, str]:
    """A question and enough answers to make pairs as long as the paper's."""
    asked, parts = f"{question(seed)} ({seed})", list[str]()
    length = max(100, round(Random(seed).gauss(CHARACTERS, SPREAD)) - len(asked))
    while sum(map(len, parts)) < length:
        parts.append(answer(1000 * seed + len(parts), asked))
    return asked, "\n\n".join(parts)[:length]


def rows(run: str, index: int, vectors: np.ndarray) -> Iterator[Row]:
    """What the pipeline puts into the journal for one kept pair."""
    sample = Sample(run, index, 0, "done", "magpie", detail={"system": 3, "topic": "math"})
    asked, answered = texts(index)
    yield sample
    for position, (role, text) in enumerate((("user", asked), ("assistant", answered))):
        yield Turn(
            sample.id, position, role, text, text, model="llama-3-8b", sampling=SAMPLING, finish_reason="stop",
            seed=index, prompt_tokens=40, completion_tokens=len(text) // 4, duration=1.25,
        )  # fmt: skip
    yield from (Score(sample.id, name, 1, 0.123456, True, "words", None) for name in SCORES)
    reason = "0.612 like 1:204, limit 0.975, by all-MiniLM-L6-v2"
    yield Score(sample.id, "instruction.near_duplicate", 1, 0.612, True, reason, None)
    yield Neighbour(sample.id, sample.id, "all-MiniLM-L6-v2", 0.612)
    yield InstructionKey(sample.id, instruction_key(asked) & (1 << 64) - 1)
    vector = vectors[index % len(vectors)].astype("<f2").tobytes()
    yield Embedding(sample.id, "instruction", "all-MiniLM-L6-v2", "0" * 64, vector)


def fill(path: Path, count: int, vectors: np.ndarray) -> dict[str, float]:
    """A store of that many pairs; its bytes a pair by what they are for. Closing it finishes the full-text index."""
    with Store.open(path) as store:
        run = store.create_run(method="magpie", plan={}, seed=1, target=count, model="llama-3-8b")
        for first in range(0, count, GROUP):
            store.save([row for i in range(first, first + GROUP) for row in rows(run, i, vectors)])
    parts = {"turns": 0.0, "scores": 0.0, "embeddings": 0.0, "search": 0.0, "the rest": 0.0}
    with sqlite3.connect(path) as db:
        for name, size in db.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"):
            part = next((part for part in parts if part in name), "the rest")
            parts[part] += size / count
    return parts


def resident() -> int:
    """Bytes of memory that this process holds."""
    gc.collect()
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def weigh(make: Callable[[int], object], count: int) -> float:
    """Bytes of memory a row of what `make` makes."""
    before = resident()
    made = make(count)
    grown = resident() - before
    del made
    return grown / count


def keys(count: int) -> dict[int, int]:
    dice = Random(1)
    return {dice.getrandbits(64): (1 << 58) + number for number in range(count)}


def index(count: int) -> NearestIndex:
    made, vectors = NearestIndex(DIM), unit(4096)
    for first in range(0, count, 4096):
        made.add(range(first, first + 4096), vectors)
    return made


def clusters(count: int) -> Clusters:
    made = Clusters()
    for number in range(0, count, 2):
        made.link((1 << 58) + number, (1 << 58) + number + 1)
    return made


def claim(count: int) -> tuple[float, float]:
    """Bytes a row of the keys that a cluster's shards share, and seconds to make and claim them."""
    dice, made = Random(1), KeyIndex(0.85)
    words = ["".join(dice.choices("abdeiklmnoprstu", k=dice.randrange(3, 9))) for _ in range(5000)]
    shared_keys._RECENT = 1 << 13  # the newest keys lie in a dictionary, which few rows would show too large
    started = time.perf_counter()
    for number in range(count):
        text = normalise(" ".join(dice.choices(words, k=20)))  # no two are alike: each is taken in
        bands = band_keys(shingles(text)).astype("<u8").tobytes()
        key = instruction_key(text).to_bytes(8, "little", signed=True)
        made.claim([Entry((1 << 58) + (number << 4), text, key + bands)])
    return made.nbytes / count, (time.perf_counter() - started) / count


def unit(count: int) -> np.ndarray:
    made = np.random.default_rng(1).standard_normal((count, DIM)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=10_000_000)
    options = parser.parse_args()
    count, pairs, vectors = options.rows, options.pairs, unit(4096)

    def show(what: str, each: float, unit: str, whole: float, many: str) -> None:
        print(f"{what:<52} {each:>9.2f} {unit:<10} {whole:>9.1f} {many}", flush=True)

    print(f"{count:,} rows measured; the last column is for {pairs:,} pairs")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.db"
        parts = fill(path, count, vectors)
        for name, each in (*parts.items(), ("all", sum(parts.values()))):
            show(f"store: {name}", each, "bytes", each * pairs / 1e9, "GB")
        with Reader.open(path) as reader:
            run = reader.runs()[0].id
            for name, call in (
                ("read the keys", lambda: sum(1 for _ in reader.instruction_keys())),
                ("read the embeddings", lambda: reader.embeddings("all-MiniLM-L6-v2", "instruction")),
                ("look for what is unfinished", lambda: reader.unfinished(run)),
                ("stream the data set", lambda: sum(1 for _ in reader.dataset(run))),
            ):
                each = timed(call) / count
                show(f"resume or export: {name}", 1e6 * each, "us", each * pairs / 60, "min")
    million = 1_000_000
    for name, make in (
        ("exact duplicates, a Python dict", keys),
        ("vectors of near duplicates", index),
        ("split into train and valid", clusters),
    ):
        each = weigh(make, million if make is not index else 409_600)
        show(f"memory: {name}", each, "bytes", each * pairs / 1e9, "GB")
    each, seconds = claim(count)
    show("memory: keys that a cluster's shards share", each, "bytes", each * pairs / 1e9, "GB")
    show("make and claim those keys", 1e6 * seconds, "us", seconds * pairs / 3600, "h")
    known = index(409_600)
    known.nearest(vectors[:320])
    each = timed(lambda: known.nearest(vectors[:1024])) / 1024 / len(known)
    show("compare one question with one other", 1e9 * each, "ns", each * pairs * pairs / 2 / 86400, "days for all")


if __name__ == "__main__":
    main()
