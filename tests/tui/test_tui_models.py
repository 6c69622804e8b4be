"""The models' screen: what is listed, fetched with progress, cancelled and taken up again, checked and removed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import BIG, Hub, serving
from textual.pilot import Pilot
from tui_stage import notices, press, settle, shown

from localsynth import catalog, paths
from localsynth.engine import fitness
from localsynth.filters.yields import YieldReport
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.jobs import Jobs, JobView
from localsynth.tui.screens.confirm import Confirm
from localsynth.tui.screens.models import ModelsScreen
from localsynth.tui.stock import take_stock
from localsynth.tui.widgets.model_table import ModelTable

REPO = "Qwen/Qwen2.5-0.5B-Instruct-GGUF"
FILE = "qwen2.5-0.5b-instruct-q4_k_m.gguf"


@pytest.fixture(autouse=True)
def _nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other tool's models, no servers."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(catalog.local, "_SERVERS", ())
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that the children reach."""
    with serving() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        served.repos[REPO] = {FILE: BIG}
        yield served


def screen(app: LocalsynthApp) -> ModelsScreen:
    found = app.screen_stack[0]
    assert isinstance(found, ModelsScreen)
    return found


def question(app: LocalsynthApp) -> str:
    """What is asked."""
    assert isinstance(app.screen, Confirm)
    return app.screen._question


async def point(pilot: Pilot[None], name: str) -> None:
    """Find a model by its name; the cursor is on it."""
    await press(pilot, "slash")
    screen(pilot.app).query_one("#model-search").value = name
    await press(pilot, "enter", "g")
    assert screen(pilot.app).query_one(ModelTable).line.name == name


async def until(pilot: Pilot[None], key: str, *states: str) -> JobView:
    """Wait until a job is in one of these states, and the screen says so."""
    async with asyncio.timeout(90):
        while (job := screen(pilot.app).jobs.get(key)) is None or job.state not in states:
            screen(pilot.app).look()
            await pilot.pause(0.05)
    await settle(pilot)
    return job


async def test_fetched_with_progress_cancelled_and_taken_up_again(path: Path, hub: Hub) -> None:
    key, whole = "pull qwen2.5-0.5b", paths.models_dir() / REPO.replace("/", "--") / FILE
    hub.held = True
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "7")
        await point(pilot, "qwen2.5-0.5b")
        assert "not on this machine: p fetches it" in shown(app)
        await press(pilot, "p")
        assert "licence apache-2.0?" in question(app)
        await press(pilot, "n")
        assert app.jobs.views() == {}
        await press(pilot, "p", "y")
        async with asyncio.timeout(90):
            while not (await until(pilot, key, "running")).progress.get("all_done"):
                pass
        assert f"of {len(BIG) / 1e6:.0f} MB" in shown(app)
        await press(pilot, "X", "y")
        await until(pilot, key, "cancelled")
        assert "was cancelled. What was fetched stays" in " ".join(shown(app).split())
        assert "◐ " in shown(app)
        hub.held = False
        hub.gate.set()
        await press(pilot, "p")
        await until(pilot, key, "done")
        assert whole.read_bytes() == BIG
        assert hub.ranges[-1] is not None
        assert "● 3 MB" in shown(app)
        await press(pilot, "r")
        assert "and free 3 MB?" in question(app)
        await press(pilot, "n")
        assert whole.exists()
        await press(pilot, "r", "y")
    assert not whole.parent.exists()


async def test_a_failed_pull_says_why_and_what_next(path: Path, hub: Hub) -> None:
    hub.gated.add(REPO)
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "7")
        await point(pilot, "qwen2.5-0.5b")
        await press(pilot, "p", "y")
        job = await until(pilot, "pull qwen2.5-0.5b", "failed")
        assert "accept its licence first" in job.error
        assert "hf auth login" in shown(app)
        assert any("accept its licence" in notice for notice in notices(app))


async def test_what_is_not_ours_is_listed_and_left_alone(path: Path, tmp_path: Path) -> None:
    theirs = tmp_path / ".lmstudio" / "models" / "o" / "their [b]model[b].gguf"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"GGUF" + bytes(2_000_000))
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "7", "f")
        assert "showing what is here" in shown(app)
        assert "their [b]model[b]" in shown(app)
        await point(pilot, "their [b]model[b]")
        await press(pilot, "r")
        assert any("belongs to LM Studio" in notice for notice in notices(app))
        await press(pilot, "p")
        assert any("is here already" in notice for notice in notices(app))
        await press(pilot, "escape")
        assert app.current_mode == "models"
        await press(pilot, "escape")
        assert app.current_mode == "runs"
    assert theirs.exists()


async def test_enter_makes_a_run_with_the_model(path: Path, starter: Path) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "7")
        await point(pilot, "smollm2-135m")
        await press(pilot, "enter")
        assert app.current_mode == "new"
        assert app.screen.draft.given("ask.model") == "smollm2-135m"
        assert "ready: SmolLM2-135M" in shown(app)


async def test_the_doctors_report_is_shown_and_a_check_can_be_cancelled(path: Path, starter: Path) -> None:
    report = YieldReport(64, 62, {"cut_off": 2})
    grade, reason = fitness.judge(report)
    checkup = fitness.Checkup("starter", {}, report, grade, reason, ("What is a \x1b[31mfjord[/b]?",))
    fitness._remember(starter, checkup)
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "7")
        await point(pilot, "smollm2-135m")
        assert "fit 97% ✓" in shown(app)
        assert f"Doctor: fit: {reason}" in shown(app)
        assert "“What is a \ufffd[31mfjord[/b]?”" in shown(app)
        await press(pilot, "d")
        await until(pilot, "doctor smollm2-135m", "running")
        await press(pilot, "X", "y")
        await until(pilot, "doctor smollm2-135m", "cancelled")
        await press(pilot, "X")
        assert any("No job is at work" in notice for notice in notices(app))


async def ended(jobs: Jobs, key: str) -> JobView:
    await asyncio.to_thread(jobs._children[key].process.wait, 90)
    return jobs.views()[key]


async def test_a_job_that_fails_is_told_once_with_its_hint(tmp_path: Path) -> None:
    jobs = Jobs()
    jobs.start("a", "Importing", ["import", "/dev/stdin", "--store", str(tmp_path / "x.db")], text="{")
    view = await ended(jobs, "a")
    assert (view.state, bool(view.error), bool(view.hint)) == ("failed", True, True)
    assert jobs.tell("a")
    assert not jobs.tell("a")
    assert not jobs.cancel("a")
    assert jobs.leave() == []


async def test_what_a_pull_tells_a_program(hub: Hub) -> None:
    jobs = Jobs()
    jobs.start("pull", "Fetching", ["models", "pull", "qwen2.5-0.5b"], outlives=True)
    view = await ended(jobs, "pull")
    assert view.state == "done", view.error
    assert str(view.result["path"]).endswith(FILE)
    assert view.progress["all_done"] == view.progress["all_total"] == len(BIG)
    jobs.leave()


async def test_leaving_says_what_goes_on(path: Path, hub: Hub) -> None:
    hub.held = True
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "7")
        await point(pilot, "qwen2.5-0.5b")
        await press(pilot, "p", "y")
        await until(pilot, "pull qwen2.5-0.5b", "running")
        (child,) = app.jobs._children.values()
        await pilot.press("q")
    try:
        assert app.farewell == [f"Fetching qwen2.5-0.5b goes on without the UI (process {child.process.pid})"]
        assert child.process.poll() is None
    finally:
        child.process.kill()
        child.process.wait()


def test_a_model_is_found_by_its_name_and_by_its_repositories(starter: Path) -> None:
    stock = take_stock()
    line = stock.line("qwen2.5-0.5b")
    assert line is not None
    assert stock.line(REPO) == stock.line("qwen/qwen2.5-0.5b-instruct") == line
    assert stock.line("nobody/nothing") is None
    assert [each.name for each in stock.chosen("here", generators=True)] == ["smollm2-135m"]
    assert all(each.here or each.fits for each in stock.chosen("fits"))
    assert {each.card.maker for each in stock.chosen("all", "alibaba") if each.card} == {"Alibaba"}
