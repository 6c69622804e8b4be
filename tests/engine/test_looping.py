"""A looping text is cut on every backend, at the same place however it comes; the tokens it would cost are saved."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from localsynth.backends.base import BackendInfo
from localsynth.backends.scripted import Script, ScriptedBackend
from localsynth.backends.scripted_texts import answer, question
from localsynth.config import plan_from
from localsynth.engine import launch, roles, runner
from localsynth.engine.looping import generate_unlooped
from localsynth.engine.replay import replay_row
from localsynth.engine.stats import Stats
from localsynth.errors import BackendError
from localsynth.filters.repetition import cut_loop
from localsynth.records import Completion, Request, Sampling
from localsynth.store import Reader

LOOP = "It starts well enough. " + "and so on and on, " * 400
REQUEST = Request("p", Sampling(max_tokens=2048), 1)


class Told:
    """A backend that tells its text in pieces of `size` characters and then does what `end` says."""

    def __init__(self, text: str, size: int, end: str = "result") -> None:
        self.text, self.size, self.end, self.told, self.freed = text, size, end, 0, False
        self.info = BackendInfo("told", "1", "told", 1, 4096)

    async def open(self) -> None: ...

    async def aclose(self) -> None: ...

    async def generate(self, request: Request, on_text: Callable[[str], None] | None = None) -> Completion:
        assert on_text is not None
        try:
            for at in range(0, len(self.text), self.size):
                on_text(self.text[at : at + self.size])
                self.told = at + self.size
                if self.told < len(self.text):
                    await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.freed = True
            if self.end == "swallow":
                return self.whole
            if self.end == "error":
                raise BackendError("the line went dead") from None
            raise
        return self.whole

    @property
    def whole(self) -> Completion:
        return Completion(self.text, "stop", 2, 1, len(self.text) // 4, 1.0)


@pytest.mark.parametrize("size", [1, 7, 100, 1000, 10_000])
async def test_the_cut_is_the_same_in_pieces_and_whole(size: int) -> None:
    backend, stats = Told(LOOP, size), Stats()
    done = await generate_unlooped(backend, REQUEST, stats)
    assert done.finish_reason == "loop"
    assert done.text == LOOP[: cut_loop(LOOP)]
    assert backend.freed == (size < len(LOOP))
    if size <= 100:
        assert backend.told < len(done.text) + 2 * size
        assert stats.saved_from_loops == 2048 - done.completion_tokens > 1500
    if not backend.freed:
        assert stats.saved_from_loops == 0
        assert done.completion_tokens == len(LOOP) // 4
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_clean_text_is_left_alone_and_heard() -> None:
    text, heard, stats = " ".join(answer(seed, "") for seed in range(8)), [], Stats()
    done = await generate_unlooped(Told(text, 50), REQUEST, stats, heard.append)
    assert (done.text, done.finish_reason) == (text, "stop")
    assert "".join(heard) == text
    assert (stats.saved_from_loops, stats.characters) == (0, len(text))


async def test_tokens_spent_are_counted_by_the_run_s_own_characters() -> None:
    stats = Stats(characters=6000, tokens=1000)
    done = await generate_unlooped(Told(LOOP, 10), REQUEST, stats)
    assert done.completion_tokens == pytest.approx(len(done.text) / 6, abs=6)


async def test_a_backend_that_ends_otherwise_than_by_our_cancelling() -> None:
    task = asyncio.current_task()
    assert task is not None
    done = await generate_unlooped(Told(LOOP, 10, "swallow"), REQUEST, Stats())
    assert done.text == LOOP[: cut_loop(LOOP)]
    with pytest.raises(BackendError, match="dead"):
        await generate_unlooped(Told(LOOP, 10, "error"), REQUEST, Stats())
    assert task.cancelling() == 0


async def test_cancelling_from_outside_goes_on() -> None:
    backend = Told("a quiet word " * 3, 1)
    task = asyncio.create_task(generate_unlooped(backend, REQUEST, Stats()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert backend.freed


async def test_a_slot_of_a_decoder_is_free_again() -> None:
    backend = ScriptedBackend(1, Script(delay=0.0005, write=lambda request: LOOP if request.seed else "No."))
    await backend.open()
    stats = Stats()
    done = await generate_unlooped(backend, REQUEST, stats)
    assert done.finish_reason == "loop"
    assert stats.saved_from_loops > 0
    after = await asyncio.wait_for(backend.generate(replace(REQUEST, seed=0)), 30)
    assert after.text == "No."
    await backend.aclose()


def write(request: Request) -> str:
    """Every third question is answered in a loop, every seventh is a loop itself."""
    if not request.prompt.rstrip("\n").endswith("assistant"):
        return LOOP if request.seed % 7 == 0 else question(request.seed)
    return LOOP if request.seed % 3 == 0 else answer(request.seed, request.prompt)


def carry_out(path: Path, delay: float, slots: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(roles, "build_backend", lambda role, plan: ScriptedBackend(slots, Script(delay, write)))
    run = launch.create(
        path,
        plan_from(
            {
                "target": 12,
                "seed": 3,
                "ask": {"backend": "scripted"},
                "answer": {"backend": "scripted"},
                "gate": {"near_duplicates": False},
            }
        ),
    )
    assert runner.run(path, run)[0] == "finished"
    return run


def test_a_run_keeps_the_same_rows_cut_while_written_or_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    for name, delay, slots in (("whole", 0.0, 8), ("pieces", 0.0002, 3)):
        path = tmp_path / f"{name}.db"
        run = carry_out(path, delay, slots, monkeypatch)
        with sqlite3.connect(path) as db:
            rows.append(db.execute("SELECT idx, messages FROM dataset ORDER BY idx").fetchall())
            scores = db.execute("SELECT DISTINCT name, reason FROM scores WHERE passed = 0").fetchall()
        assert {name for name, _ in scores} >= {"answer.loop", "instruction.loop"}
        assert all("times over" in reason for name, reason in scores if name.endswith(".loop"))
    assert rows[0] == rows[1]
    assert len(rows[0]) == 12
    with Reader.open(path) as reader:
        progress = reader.progress(run)
        cut = next(row for row in reader.samples(run, limit=100) if row.rule == "answer.loop")
        again = replay_row(reader.run(run), reader.sample(cut.id))
    assert progress is not None
    assert int(str(progress.data["tokens_saved"])) > 0
    assert [turn.same for turn in again] == [True, True]
    assert cut.turns[-1].finish_reason == "loop"
