"""The screen that makes a run: by a number alone, by its settings, by a plan.toml, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from textual.pilot import Pilot
from tui_stage import fill, notices, press, settle, shown

from localsynth import catalog, paths
from localsynth.config import plan_from
from localsynth.engine import fitness, launch
from localsynth.errors import BackendError
from localsynth.filters.yields import YieldReport
from localsynth.store import Reader, Store
from localsynth.tui import plan_words
from localsynth.tui.app import LocalsynthApp
from localsynth.tui.jobs import JobView
from localsynth.tui.screens.new_run import NewRunScreen
from localsynth.tui.servers import served_models
from localsynth.tui.widgets.settings_list import SettingsList

SCRIPTED = 'target = 4 # few\nask = { backend = "scripted" }\nanswer = { backend = "scripted" }\n'


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that were started, instead of their processes."""
    runs: list[str] = []
    gone = type("Gone", (), {"poll": lambda self: 0})
    monkeypatch.setattr(launch, "start", lambda store, run: runs.append(run) or gone())
    return runs


def plans(path: Path) -> list[dict]:
    """The plans of the runs in the store."""
    if not path.exists():
        return []
    with Reader.open(path) as reader:
        return [dict(row.plan) for row in reader.runs()]


def screen(app: LocalsynthApp) -> NewRunScreen:
    found = app.screen_stack[0]
    assert isinstance(found, NewRunScreen)
    return found


async def setting(pilot: Pilot[None], key: str, *keys: str) -> None:
    """Go to a setting, change it by these keys."""
    listed = screen(pilot.app).query_one(SettingsList)
    listed.focus()
    listed.highlighted = listed.get_option_index(key)
    await press(pilot, "enter", *keys)


async def test_the_starter_is_used_as_its_card_says(path: Path, started: list[str], starter: Path) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "n", "7", "enter")
        assert app.current_mode == "runs"
        assert "1  created" in shown(app)
    (plan,) = plans(path)
    card = catalog.load().find(catalog.STARTER)
    assert (plan["target"], plan["ask"]["model"]) == (7, str(starter))
    assert plan_from(plan).ask.sampling[0].plain() == card.ask
    assert len(started) == 1


async def test_settings_are_written_into_the_plan_and_taken_back(path: Path, started: list[str]) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "2")
        draft = screen(app).draft
        draft.load(SCRIPTED)
        await setting(pilot, "turns", "2", "enter")
        await setting(pilot, "instructions_only")
        await setting(pilot, "ask.sampling", "j", "enter")
        await setting(pilot, "systems", "space", "j", "j", "space", "plus", "enter")
        assert draft.text.startswith(SCRIPTED.splitlines()[0])
        assert "turns = 2" in shown(app)
        await press(pilot, "z")
        assert draft.given("systems") is None
        await setting(pilot, "systems", "a", *"Be.", "enter", "enter")
        await press(pilot, "s")
    (plan,) = plans(path)
    assert (plan["target"], plan["turns"], plan["instructions_only"]) == (4, 2, True)
    assert len(plan["ask"]["sampling"]) == 12
    assert [(system["topic"], system["text"]) for system in plan["systems"]] == [("", "Be.")]
    assert len(started) == 1


async def test_a_wrong_value_is_named_beside_its_field_and_changes_nothing(path: Path, started: list[str]) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "2")
        await setting(pilot, "turns", "9", "9", "enter")
        assert "turns must be between 1 and 16" in shown(app)
        await press(pilot, "escape")
        assert screen(app).draft.given("turns") is None
        await setting(pilot, "gate.similarity", "x", "enter")
        assert "type a number" in shown(app)
        await press(pilot, "escape")
        screen(app).draft.load("target = 3\nturns = 99\n")
        screen(app).plan_changed()
        await settle(pilot)
        assert shown(app).count("turns must be between") == 2  # above, and beside the field
        await press(pilot, "s")
        assert any("turns must be between" in notice for notice in notices(app))
    assert not started
    assert not path.exists()


async def test_the_editor_keeps_comments_and_a_broken_text_can_be_mended(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edits(text: str) -> None:
        code = f"import sys; open(sys.argv[1], 'w').write({text!r})"
        monkeypatch.setenv("VISUAL", shlex.join([sys.executable, "-c", code]))

    app = LocalsynthApp(path)
    monkeypatch.setattr(app, "suspend", nullcontext)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "2")
        edits("# mine\n" + SCRIPTED)
        await press(pilot, "e")
        assert "# mine" in shown(app)
        await setting(pilot, "limits.minutes", "5", "enter")
        assert screen(app).draft.text.startswith("# mine\n" + SCRIPTED)
        assert screen(app).draft.given("limits.minutes") == 5.0
        edits("target = = 3")
        await press(pilot, "e")
        assert "this is no TOML" in shown(app)
        await press(pilot, "s")
        await setting(pilot, "turns", "3", "enter")
        assert screen(app).draft.text == "target = = 3"
        await press(pilot, "escape", "z")
        assert screen(app).draft.given("limits.minutes") == 5.0
        monkeypatch.setenv("VISUAL", "false")
        await press(pilot, "e")
        assert any("false ended with an error" in notice for notice in notices(app))
        assert screen(app).draft.given("limits.minutes") == 5.0
    assert not path.exists()


async def test_a_plan_is_saved_opened_and_never_written_over_unasked(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "plan.toml"
    mine.write_text("# mine\n" + SCRIPTED)
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "2", "w", "enter", "n")
        assert mine.read_text() == "# mine\n" + SCRIPTED
        await press(pilot, "o", *"x", "enter")
        assert "there is no such file" in shown(app)
        await press(pilot, "escape", "o", "enter")
        assert screen(app).draft.text == "# mine\n" + SCRIPTED
        await setting(pilot, "seed", "1", "1", "enter")
        await press(pilot, "w", "enter")
    assert mine.read_text().startswith("# mine\n" + SCRIPTED)
    assert "seed = 11" in mine.read_text()


async def test_imported_questions_bring_their_number(path: Path, tmp_path: Path, started: list[str]) -> None:
    rows = tmp_path / "q.jsonl"
    rows.write_text('{"instruction": "What is a fjord?"}\n{"instruction": "什么是峡湾？"}\n')
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "2")
        screen(app).draft.load(SCRIPTED)
        await setting(pilot, "method", "j", "enter")
        assert "instructions must name a file" in shown(app)
        listed = [option.id for option in screen(app).query_one(SettingsList).options]
        assert "instructions" in listed
        assert "turns" not in listed
        await setting(pilot, "instructions")
        app.screen.query_one("#value").value = str(rows)
        await press(pilot, "enter", "s")
    (plan,) = plans(path)
    assert (plan["method"], plan["target"], plan["instructions"]) == ("imported", 2, str(rows))
    assert len(plan["instructions_sha256"]) == 64


async def test_an_unfit_model_is_asked_about(path: Path, started: list[str], starter: Path) -> None:
    report = YieldReport(64, 10, {"cut_off": 54})
    grade, reason = fitness.judge(report)
    fitness._remember(starter, fitness.Checkup("starter", {}, report, grade, reason, ("What is it?",)))
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "n")
        assert "unfit: only 16% of its turns" in shown(app)
        await press(pilot, "enter", "n")
        assert not path.exists()
        await press(pilot, "tab", "s", "y")
    assert [plan["force"] for plan in plans(path)] == [True]
    assert len(started) == 1


async def test_a_model_that_is_not_here_is_said_with_the_key_that_fetches_it(path: Path, started: list[str]) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        app.new_run("qwen3-0.6b")
        await settle(pilot)
        assert "Fetch qwen3-0.6b, about" in app.screen._question
        await press(pilot, "n")
        assert "qwen3-0.6b is not on this machine: p fetches it" in shown(app)
        draft = screen(app).draft
        assert (draft.given("ask.model"), draft.given("answer.model")) == ("qwen3-0.6b", "qwen3-0.6b")
        await press(pilot, "enter")
        assert any("p fetches it" in notice for notice in notices(app))
        await press(pilot, "tab", "p")
        assert "Fetch qwen3-0.6b, about" in app.screen._question
        await press(pilot, "n")
        await setting(pilot, "ask.model", "o", *"me/it", "enter")
        assert "Fetch the repository me/it?" in app.screen._question
        await press(pilot, "n")
        assert "me/it is not on this machine: p fetches it" in shown(app)
    assert not path.exists()
    assert not list(paths.models_dir().rglob("*"))


async def test_the_time_is_told_by_an_earlier_run_of_the_same_models(path: Path) -> None:
    plan = {"method": "magpie", "turns": 1, "instructions_only": False, "ask": {"model": ""}, "answer": {"model": ""}}
    with Store.open(path) as store:
        run = fill(store)
        store.update_run(run, plan=plan)
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "2")
        screen(app).draft.load(SCRIPTED)
        screen(app).plan_changed()
        await settle(pilot)
        # Seven pairs took ten seconds.
        assert "4 pairs in 3 s to 11 s, by run 1" in " ".join(shown(app).split())


async def test_the_doctor_looks_at_the_model_of_the_plan(path: Path) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "2")
        screen(app).draft.load(SCRIPTED)
        screen(app).plan_changed()
        await press(pilot, "d")
        async with asyncio.timeout(90):
            while (job := screen(app).jobs.get("doctor ")) is None or job.state == "running":
                screen(app).look()
                await pilot.pause(0.05)
        await settle(pilot)
        assert job.state == "done", job.error
        assert f"{job.result['grade']}: " in shown(app)


def test_the_estimate_follows_the_target() -> None:
    found = {
        "pairs": 10, "kept_share": 0.5, "tokens_per_pair": [300, 412, 500], "assumed": ["answers of 390 tokens"],
        "here": {"slots": 8, "hours": [0.01, 0.02, 0.04]}, "gpus": [{"gpu": "A100", "count": 4, "hours": [1, 2, 3]}],
    }  # fmt: skip
    job = JobView("estimate", "Measuring", "done", 60.0, result=found)
    said = plan_words.estimate(100, None, job).plain
    assert said.startswith("100 pairs in about 12 min (6 min to 24 min) at 8 slots. 50% of the questions are kept, 412")
    assert "assumed: answers of 390 tokens." in said
    assert "4 x A100: about 20 h 00 min" in said
    broken = JobView("estimate", "Measuring", "done", 60.0, result={"pairs": 0})
    assert "Not known yet" in plan_words.estimate(100, None, broken).plain


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with two models where LM Studio's usually is."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keep the test's output clean."""

        def do_GET(self) -> None:
            body = json.dumps({"data": [{"id": "first"}, {"id": "second"}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        port = served.server_address[1]
        monkeypatch.setattr(catalog.local, "_SERVERS", (("LM Studio", port),))
        yield f"http://127.0.0.1:{port}"
        served.shutdown()
        thread.join()


async def test_a_server_that_answers_is_chosen_with_one_of_its_models(path: Path, server: str) -> None:
    app = LocalsynthApp(path)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "2")
        await setting(pilot, "ask.model", "slash")
        app.screen.query_one("#pick-search").value = "lm studio"
        await press(pilot, "enter", "enter", "j", "enter")
        for role in ("ask", "answer"):
            table = screen(app).draft.tables()[role]
            assert table == {"model": "second", "backend": "openai", "servers": [server]}
        assert "ready: second, no memory here" in shown(app)
        await setting(pilot, "ask.model", "o", "enter")
        assert screen(app).draft.tables()["ask"] == {}


def test_a_server_that_does_not_tell_is_an_error_with_a_hint(server: str) -> None:
    assert served_models(f"{server}/v1") == ["first", "second"]
    for url in ("http://127.0.0.1:9", "nothing"):
        with pytest.raises(BackendError) as caught:
            served_models(url)
        assert "type the model's name" in caught.value.hint
