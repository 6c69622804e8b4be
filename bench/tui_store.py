"""A store as large as `bench/tui.py` wants it, and a process that writes into it as a run does.

python bench/tui_store.py make STORE ROWS
python bench/tui_store.py write STORE ROWS_PER_SECOND
"""

from __future__ import annotations

import dataclasses
import itertools
import random
import sys
import time
from pathlib import Path

from localsynth.engine.lock import hold
from localsynth.events import Progress
from localsynth.records import Review, Sample, Sampling, Score, Turn
from localsynth.store import EventRow, Reader, Store

WORDS = [
    *("river", "mountain", "python", "list", "sort", "model", "data", "noise", "train", "regular", "kernel", "matrix"),
    *("graph", "tree", "leaf", "cloud", "storm", "ocean", "bridge", "music", "paint", "history", "market", "energy"),
    *("atom", "planet", "star", "rocket", "wheel", "bread", "cheese", "garden", "flower", "数据", "模型", "河流"),
]
TOPICS = ("general", "math", "coding", "writing", "reasoning", "translation", "planning", "roleplay")
ASK = Sampling(temperature=1.0, top_p=0.995, max_tokens=512)
MODEL = "bench-model"
TARGET = 10_000_000


def pair(run: str, index: int, dice: random.Random) -> list[object]:
    """One finished sample: a question of 12 words, an answer of 60, four scores; one in five is a duplicate."""
    sample = Sample(run, index, state="done", operation="magpie", detail={"topic": TOPICS[index % len(TOPICS)]})
    question, answer = " ".join(dice.choices(WORDS, k=12)) + "?", " ".join(dice.choices(WORDS, k=60))
    if index % 10 == 0:
        answer += "\n\n```python\nfor row in rows:\n    print(row)\n```\n"
    rows: list[object] = [sample]
    for position, (role, text) in enumerate((("user", question), ("assistant", answer))):
        rows.append(
            Turn(
                sample.id, position, role, text, text, model=MODEL, sampling=ASK, finish_reason="stop", seed=index,
                prompt_tokens=24, completion_tokens=80, duration=1.0,
            )
        )  # fmt: skip
    rows.append(Score(sample.id, "instruction.length", 1, float(len(question)), None))
    rows.append(Score(sample.id, "answer.length", 1, float(len(answer)), None))
    rows.append(Score(sample.id, "answer.repetition", 1, round(dice.random(), 4), None))
    if index % 5 == 0:
        rows.append(Score(sample.id, "instruction.near_duplicate", 1, 0.98, False, "like another"))
    if index % 1000 == 3:
        rows.append(Review(sample.id, "accept" if index % 2000 == 3 else "reject"))
    return rows


def make(path: Path, count: int) -> None:
    """A store with one run of `count` rows."""
    dice = random.Random(7)
    with Store.open(path) as store:
        run = store.create_run(
            method="magpie", plan={"target": TARGET}, seed=7, target=TARGET, model=MODEL, state="stopped"
        )
        for start in range(0, count, 2000):
            rows = [pair(run, index, dice) for index in range(start, min(count, start + 2000))]
            store.save(list(itertools.chain.from_iterable(rows)))


def write(path: Path, rate: float) -> None:
    """Write rows into the newest run until this process is ended, in groups as a run's journal does."""
    dice = random.Random()
    with Reader.open(path) as reader:
        run, index = reader.run().id, reader.unfinished(reader.run().id).highest + 1
    with hold(path, run), Store.open(path, create=False) as store:
        store.update_run(run, state="running")
        store.save([EventRow(run, "RunStarted", {"models": {"ask": MODEL}, "slots": 32, "pid": 0})])
        began, first, told = time.monotonic(), index, 0.0
        while True:
            now = time.monotonic()
            due = first + int((now - began) * rate)
            store.save(list(itertools.chain.from_iterable(pair(run, each, dice) for each in range(index, due))))
            index = max(index, due)
            if now - told > 0.25:
                told = now
                progress = Progress(
                    "running", index, TARGET, asked=index, slots=32, slots_used=32, tokens=100 * index,
                    tokens_per_second=100 * rate, elapsed=now - began, live="bread and rivers " * 8,
                    last_instruction="What is a river?", last_response="Water that flows.",
                )  # fmt: skip
                store.set_progress(run, dataclasses.asdict(progress))
            time.sleep(0.05)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        write(Path(sys.argv[2]), float(sys.argv[3]))
