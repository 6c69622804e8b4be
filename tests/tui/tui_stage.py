"""A store as a run leaves it, and how the tests use the application on it."""

from __future__ import annotations

import asyncio
import dataclasses

from textual.app import App
from textual.pilot import Pilot

from localsynth.events import Progress
from localsynth.records import Neighbour, Sample, Sampling, Score, Turn
from localsynth.store import EventRow, Row, Store
from localsynth.tui.app import LocalsynthApp

ASKING = Sampling(temperature=1.0, top_p=0.995, max_tokens=512)
MARKUP = "Write [red]x[/red] and [@click=app.quit]quit[/], then [/] or $text-error."
ESCAPES = "Clear \x1b[2J\x1b[31mthe\x1b]0;title\x07 screen \u202etxet\u202c\x00!"
# (question, answer, failing rule or "")
PAIRS = (
    ("What is overfitting, and how is it avoided?", "A model that fits noise. Use more data or regularise.", ""),
    ("机器学习中的过拟合是什么？请举例说明。", "过拟合是指模型记住了训练数据中的噪声。", ""),
    (MARKUP, "[bold]not bold[/bold] [link=x]y[/link]", ""),
    (ESCAPES, "Tab\there, and an emoji 👩‍💻 with a wide 全角 cell.", ""),
    ("A:\nA:\nA:\nA:", "", "loops"),
    ("Name three rivers of Europe.", "Danube, Rhine, Elbe.", ""),
    ("Name three rivers of Europe!", "", "near_duplicate"),
    ("Sort a list in Python.", "```python\nxs.sort()\n```\nIt sorts in place.", ""),
    ("As an AI language model, I", "", "refusal"),
    ("Plan a day in Kyoto.", "Morning: Kiyomizu-dera. " * 60, ""),
)


def pair(run: str, index: int, question: str, answer: str, rule: str) -> list[Row]:
    """The rows of one finished sample."""
    sample = Sample(run, index, state="done", operation="magpie", detail={"topic": "general"})
    model = "SmolLM2-135M-Instruct-Q4_1.gguf"
    rows: list[Row] = [
        sample,
        Turn(
            sample.id, 0, "user", question, question, model=model, sampling=ASKING, finish_reason="stop",
            seed=1000 + index, prompt_tokens=24, completion_tokens=12, duration=1.5,
        ),
        Score(sample.id, "words", 1, float(len(question.split())), None),
    ]  # fmt: skip
    if rule:
        rows.append(Score(sample.id, rule, 1, 0.97, False, "too much of the same", '{"part": "A:"}'))
    if answer:
        rows.append(
            Turn(
                sample.id, 1, "assistant", answer, answer, thinking="First I think.\nThen I answer.", model=model,
                finish_reason="stop", seed=2000 + index, prompt_tokens=40, completion_tokens=30, duration=2.0,
            )
        )  # fmt: skip
    if rule == "near_duplicate":
        rows.append(Neighbour(sample.id, sample.id - 16, "all-minilm-l6-v2", 0.991))
    return rows


def fill(store: Store, state: str = "finished", rows: int = len(PAIRS), **columns: object) -> str:
    """A run with samples, events and progress; its id."""
    run = store.create_run(method="magpie", plan={}, seed=7, target=7, model="starter-model", state=state, **columns)
    for index in range(rows):
        store.save(pair(run, index, *PAIRS[index % len(PAIRS)]))
    rejected = {"loops": 1, "near_duplicate": 1, "refusal": 1}
    progress = Progress(
        state, 7, 7, asked=10, rejected=rejected, slots=8, slots_used=5, tokens=4200, tokens_per_second=412.0,
        tokens_saved=333, duplicate_rate=0.05, elapsed=10.0, eta_low=65.0, eta_high=130.0,
        live="Being written: [red]now[/red] \x1b[31m", last_instruction=MARKUP, last_response=ESCAPES,
    )  # fmt: skip
    store.set_progress(run, dataclasses.asdict(progress))
    store.save(
        [
            EventRow(run, "RunStarted", {"models": {"ask": "starter-model"}, "slots": 8, "pid": 77}),
            EventRow(run, "WaveDecided", {"first": 0, "last": 9, "passed": 7, "rejected": rejected}),
        ]
    )
    return run


async def settle(pilot: Pilot[None]) -> None:
    """Wait until nothing is being read or saved any more, and what came of it is on the screen."""
    calm = 0
    async with asyncio.timeout(90):
        while calm < 2:  # an answer may ask for more
            await pilot.pause()
            calm = 0 if _at_work(pilot.app) else calm + 1


def _at_work(app: App[None]) -> bool:
    screen = app.screen_stack[0]
    return bool(screen._busy or getattr(screen, "pending", None) or len(app.workers))


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys one by one, each when the answer to the one before is on the screen."""
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


def shown(app: LocalsynthApp) -> str:
    """The text on the screen, line by line."""
    return "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips())


def notices(app: LocalsynthApp) -> list[str]:
    """The notifications that are up."""
    return [notice.message for notice in app._notifications]
