"""Group commit: order, errors that surface, and what a killed process leaves."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from localsynth.errors import NotFound, StoreError
from localsynth.records import Sample, sample_id
from localsynth.store import EventRow, Journal, Reader, Store

# Writes groups for ever; says the index of each pair once it is committed.
WRITER = """
import asyncio, sys
from pathlib import Path
from localsynth.records import Sample, Score, Turn
from localsynth.store import EventRow, InstructionKey, Journal

async def main():
    journal = Journal(Path(sys.argv[1]), interval=0.001, group=40)
    run = await journal.call(lambda store: store.create_run(method="magpie", plan={}, seed=0, target=1))
    index = 0
    while True:
        for _ in range(7):
            sample = Sample(run, index, state="done")
            turns = [Turn(sample.id, position, "user", f"word{index} " * 50, "") for position in range(3)]
            scores = [Score(sample.id, f"s{n}", 1, 1.0, True) for n in range(4)]
            journal.put(sample, *turns, *scores, InstructionKey(sample.id, index), EventRow(run, "e", {"index": index}))
            index += 1
        await journal.flush()
        print(index - 1, flush=True)

asyncio.run(main())
"""


@pytest.fixture
def journal(path: Path):
    opened = Journal(path, interval=0.001)
    yield opened
    if opened.error is None:
        opened.close()


def count(store: Store) -> int:
    return store._connection.execute("SELECT count(*) FROM samples").fetchone()[0]


async def start(journal: Journal) -> str:
    return await journal.call(lambda store: store.create_run(method="magpie", plan={}, seed=0, target=1))


async def test_flush_means_committed(journal: Journal, path: Path, pair) -> None:
    run = await start(journal)
    with Reader.open(path) as reader:
        for index in range(20):
            journal.put(*pair(run, index))
            await journal.flush()
            assert reader.counts(run).kept == index + 1
    assert journal.waiting == 0


async def test_rows_and_calls_keep_their_order(path: Path, pair) -> None:
    journal = Journal(path, interval=60, group=10_000)  # only calls and the end make it write
    run = await start(journal)
    seen = []
    for index in range(5):
        journal.put(*pair(run, index))
        journal.put()
        seen.append(await journal.call(count))
    journal.put(*pair(run, 5))
    assert seen == [1, 2, 3, 4, 5]
    await asyncio.to_thread(journal.close)
    journal.close()
    with Reader.open(path) as reader:
        assert reader.counts(run).kept == 6
        assert len(reader.samples(search="so")) == 6
    with pytest.raises(StoreError, match="closed"):
        journal.put(Sample(run, 9))


async def test_a_full_group_does_not_wait(path: Path) -> None:
    journal = Journal(path, interval=60, group=100)
    run = await start(journal)
    committed = threading.Event()
    with Reader.open(path) as reader:
        for index in range(100):
            journal.put(EventRow(run, "tick", {"index": index}))
        for _ in range(10_000):
            if len(reader.events(run)) == 100:
                committed.set()
                break
            await asyncio.sleep(0)
    assert committed.is_set()
    journal.close()


async def test_what_one_put_was_given_is_committed_together(path: Path, pair) -> None:
    journal = Journal(path, interval=0, group=7)
    run = await start(journal)
    with Reader.open(path) as reader:
        for index in range(50):
            journal.put(*pair(run, index))
            await asyncio.sleep(0)
            assert all(len(row.turns) == 2 for row in reader.samples(run))
    journal.close()


async def test_a_failing_call_concerns_only_its_caller(journal: Journal, path: Path, pair) -> None:
    run = await start(journal)
    with pytest.raises(NotFound):
        await journal.call(lambda store: store.update_run("none", state="running"))
    journal.put(*pair(run, 0))
    await journal.flush()
    with Reader.open(path) as reader:
        assert reader.counts(run).kept == 1


async def test_a_full_disk_surfaces_at_once_and_stays(journal: Journal, path: Path, pair) -> None:
    run = await start(journal)
    journal.put(*pair(run, 0))
    await journal.flush()
    pages = await journal.call(lambda store: store._connection.execute("PRAGMA page_count").fetchone()[0])
    await journal.call(lambda store: store._connection.execute(f"PRAGMA max_page_count = {pages + 4}").fetchone())
    journal.put(*pair(run, 1, answer="long " * 50_000))
    with pytest.raises(StoreError, match="disk is full") as raised:
        await journal.flush()
    assert "localsynth resume" in raised.value.hint
    with pytest.raises(StoreError, match="disk is full"):
        journal.put(*pair(run, 2))
    with pytest.raises(StoreError, match="disk is full"):
        await journal.flush()
    with pytest.raises(StoreError, match="disk is full"):
        journal.close()
    with Store.open(path) as store, Reader.open(path) as reader:
        assert [row.index for row in reader.samples(run)] == [0]
        store.save(pair(run, 1, answer="long " * 50_000))
        assert reader.counts(run).kept == 2


async def test_a_row_that_is_no_row_surfaces_too(path: Path) -> None:
    journal = Journal(path)
    journal.put("no row")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="str"):
        await journal.flush()
    with pytest.raises(TypeError, match="str"):
        journal.close()


def test_a_store_that_cannot_be_opened_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("a shopping list, " * 100)
    with pytest.raises(StoreError, match="not a database"):
        Journal(tmp_path / "text.db")


@pytest.mark.parametrize("seed", range(6))
def test_a_killed_writer_leaves_whole_groups_and_loses_nothing_committed(path: Path, seed: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    last = -1
    for _ in range(random.Random(seed).randint(1, 60)):
        last = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split("\n")[:-1]  # a line without its end was cut off by the kill
    process.wait()
    process.stdout.close()
    said = max([last, *map(int, rest)])
    with Store.open(path, create=False) as store, Reader.open(path) as reader:
        run = reader.run().id
        left = reader.unfinished(run)
        assert left.highest >= said
        assert left.missing == ()
        assert (left.highest + 1) % 7 == 0 or left.highest > said
        rows = [reader.sample(sample_id(run, index)) for index in range(left.highest + 1)]
        assert {(len(row.turns), len(row.scores)) for row in rows} == {(3, 4)}
        assert len(list(reader.instruction_keys())) == len(rows)
        assert store._connection.execute("SELECT count(*) FROM events").fetchone() == (len(rows),)
        assert store._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert len(reader.samples(search=f"word{left.highest}")) == 1
