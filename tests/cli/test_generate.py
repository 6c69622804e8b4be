"""`generate` and the verbs around a run, on the scripted backend, as processes."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from localsynth.engine.lock import hold

SCRIPTED = ("--backend", "scripted", "--no-near-duplicates")


def kept(store: Path) -> list[str]:
    with sqlite3.connect(store) as db:
        return [row[0] for row in db.execute("SELECT messages FROM dataset ORDER BY sample")]


def test_generate_keeps_exactly_the_target(cli: Callable, tmp_path: Path) -> None:
    done = cli("generate", "-n", 50, *SCRIPTED, "--seed", 7, "--json")
    assert done.code == 0, done.err
    assert done.json["state"] == "finished"
    assert done.json["kept"] == 50
    rows = [json.loads(row) for row in kept(tmp_path / "localsynth.db")]
    assert len(rows) == 50
    assert all([m["role"] for m in row] == ["user", "assistant"] for row in rows)
    assert all(m["content"].strip() for row in rows for m in row)


def test_the_same_seed_gives_the_same_rows_whatever_the_slots(cli: Callable, tmp_path: Path) -> None:
    for name, slots in (("a", 1), ("b", 16)):
        done = cli("generate", "-n", 30, *SCRIPTED, "--seed", 7, "--slots", slots, "--store", f"{name}.db")
        assert done.code == 0, done.err
    assert kept(tmp_path / "a.db") == kept(tmp_path / "b.db")


def test_another_run_on_the_same_store_repeats_no_instruction(cli: Callable, tmp_path: Path) -> None:
    for _ in range(2):
        assert cli("generate", "-n", 20, *SCRIPTED, "--seed", 7).code == 0
    questions = [json.loads(row)[0]["content"] for row in kept(tmp_path / "localsynth.db")]
    assert len(questions) == 40
    assert len({q.casefold() for q in questions}) == 40
    duplicates = cli("ls", "--run", 2, "--rule", "instruction.duplicate", "--json").json
    assert duplicates


def test_several_turns_alternate(cli: Callable, tmp_path: Path) -> None:
    assert cli("generate", "-n", 10, *SCRIPTED, "--turns", 3).code == 0
    for row in kept(tmp_path / "localsynth.db"):
        assert [m["role"] for m in json.loads(row)] == ["user", "assistant"] * 3


def test_instructions_only_writes_no_answer(cli: Callable, tmp_path: Path) -> None:
    assert cli("generate", "-n", 10, *SCRIPTED, "--instructions-only").code == 0
    for row in kept(tmp_path / "localsynth.db"):
        assert [m["role"] for m in json.loads(row)] == ["user"]


def test_imported_instructions_are_answered(cli: Callable, tmp_path: Path) -> None:
    lines = [f"What is the capital of country number {i}?" for i in range(12)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"instruction": line}) + "\n" for line in lines))
    done = cli("generate", "-n", 1000, *SCRIPTED, "--instructions", "in.jsonl", "--json")
    assert done.code == 6
    rows = [json.loads(row) for row in kept(tmp_path / "localsynth.db")]
    assert 8 <= len(rows) <= 12
    assert {row[0]["content"] for row in rows} <= set(lines)


def test_a_changed_file_of_instructions_stops_the_resume(cli: Callable, tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_text("What is a lighthouse for?\nWhat is a bridge for?\n")
    assert cli("generate", "-n", 2, *SCRIPTED, "--instructions", path, "--max-attempts", 1).code == 6
    path.write_text("What is a windmill for?\n")
    done = cli("resume")
    assert done.code == 5
    assert "has changed since this run began" in done.err


def test_a_limit_drains_and_resume_goes_on(cli: Callable, tmp_path: Path) -> None:
    done = cli("generate", "-n", 100, *SCRIPTED, "--max-tokens", 1)
    assert done.code == 6
    assert "limit of 1 tokens" in done.err
    assert "localsynth resume" in done.err
    with sqlite3.connect(tmp_path / "localsynth.db") as db:
        db.execute("UPDATE runs SET plan = json_set(plan, '$.limits.tokens', 0)")
    done = cli("resume", "--json")
    assert done.code == 0, done.err
    assert done.json["kept"] == 100
    assert len(kept(tmp_path / "localsynth.db")) == 100


@pytest.mark.starter
def test_an_encoder_is_named_as_the_catalogue_names_it(cli: Callable, tmp_path: Path) -> None:
    plain = [argument for argument in SCRIPTED if argument != "--no-near-duplicates"]
    assert cli("generate", "-n", 3, *plain, "--encoder", "sentence-transformers/all-MiniLM-L6-v2").code == 0
    with sqlite3.connect(tmp_path / "localsynth.db") as db:
        assert {row[0] for row in db.execute("SELECT encoder FROM embeddings")} == {"all-minilm-l6-v2"}
    unknown = cli("generate", "-n", 3, *plain, "--encoder", "all-minilm-l7")
    assert unknown.code == 2
    assert "did you mean all-minilm-l6-v2" in unknown.err


def test_a_store_at_work_is_refused_and_its_process_named(cli: Callable, tmp_path: Path) -> None:
    store = tmp_path / "localsynth.db"
    assert cli("generate", "-n", 3, *SCRIPTED).code == 0
    with hold(store, "THE-OTHER-RUN"):
        done = cli("generate", "-n", 3, *SCRIPTED)
    assert done.code == 4
    assert "THE-OTHER-RUN" in done.err
    assert "process" in done.err


def test_print_plan_can_be_used_as_a_plan(cli: Callable, tmp_path: Path) -> None:
    plan = cli("generate", "-n", 12, *SCRIPTED, "--topics", "math,coding:2", "--preset", "pro", "--print-plan")
    assert plan.code == 0, plan.err
    (tmp_path / "plan.toml").write_text(plan.out)
    again = cli("generate", "--plan", "plan.toml", "--print-plan")
    assert again.out == plan.out
    done = cli("generate", "--plan", "plan.toml", "--json")
    assert done.code == 0, done.err
    assert done.json["kept"] == 12


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("generate", "-n", "0"), 2, ["0 is not in the range"]),
        (("generate", "--model", "none.gguf"), 3, ["no model file at", "next:"]),
        (("generate", "--model", "qwen2.5-7"), 2, ["no model", "did you mean"]),
        (("generate", *SCRIPTED, "--topics", "maht"), 2, ["no topic 'maht'", "math"]),
        (("generate", *SCRIPTED, "--temperature", "9"), 2, ["temperature must be between 0 and 5"]),
        (("generate", *SCRIPTED, "--plan", "none.toml"), 2, ["no plan at"]),
        (("generate", *SCRIPTED, "--instructions", "none.jsonl"), 5, ["no file"]),
        (("status",), 4, ["localsynth.db", "next:"]),
        (("ls", "--store", "none.db"), 4, ["none.db", "next:"]),
        (("show", "17"), 4, ["localsynth.db"]),
        (("frobnicate",), 2, ["No such command"]),
    ],
)
def test_bad_input_is_one_clear_line_and_a_code(cli: Callable, arguments: tuple, code: int, words: list[str]) -> None:
    done = cli(*arguments)
    assert done.code == code, done.err
    assert done.out == ""
    for word in words:
        assert word in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + bytes(100), b"not a model at all", bytes(4096)])
def test_a_broken_model_file_is_named(cli: Callable, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    done = cli("generate", "-n", 1, "--model", path)
    assert done.code == 3, done.err
    assert "broken.gguf" in done.err
    assert "Traceback" not in done.err


def test_not_a_database_is_named(cli: Callable, tmp_path: Path) -> None:
    (tmp_path / "localsynth.db").write_text("these are not the rows you are looking for" * 100)
    for arguments in (("status",), ("generate", "-n", 1, *SCRIPTED)):
        done = cli(*arguments)
        assert done.code == 4
        assert "not a" in done.err
        assert "Traceback" not in done.err


def test_ls_and_show_keep_model_text_from_the_terminal(cli: Callable, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(
        json.dumps({"instruction": "What does \x1b[31mred\x1b[0m [bold]mean[/bold] here, please?"}) + "\n"
    )
    cli("generate", "-n", 1, *SCRIPTED, "--instructions", "in.jsonl")
    for arguments in (("ls",), ("show", 0)):
        done = cli(*arguments)
        assert "\x1b" not in done.out
        assert "[bold]" in done.out


def test_replay_writes_the_same_row(cli: Callable) -> None:
    assert cli("generate", "-n", 5, *SCRIPTED, "--turns", 2).code == 0
    index = cli("ls", "--kept", "--json").json[0]["index"]
    done = cli("replay", index, "--json")
    assert done.code == 0, done.err
    assert [turn["role"] for turn in done.json] == ["user", "assistant"] * 2
    assert all(turn["same"] for turn in done.json)


def test_pause_resume_and_stop_reach_a_running_run(cli: Callable, tmp_path: Path) -> None:
    started = cli("generate", "-n", 1_000_000, *SCRIPTED, "--detach")
    assert started.code == 0, started.err
    assert started.out.strip() == "1"
    store = tmp_path / "localsynth.db"
    try:
        wait_for(store, "SELECT count(*) > 100 FROM samples")
        assert cli("pause").code == 0
        wait_for(store, "SELECT state = 'paused' FROM runs")
        assert cli("resume", "--detach").code == 0
        wait_for(store, "SELECT state = 'running' FROM runs")
    finally:
        stopped = cli("stop")
    assert stopped.code == 0, stopped.err
    assert cli("status", "--json").json[0]["state"] == "stopped"
    with sqlite3.connect(store) as db:
        assert db.execute("SELECT count(*) FROM samples WHERE state = 'ready'").fetchone()[0] < 10_000
    assert cli("pause").code == 1


def wait_for(store: Path, question: str) -> None:
    """Ask the store again and again until it says yes; a minute is a failure."""
    script = (
        "import sqlite3,sys,time\n"
        "end=time.monotonic()+60\n"
        "while time.monotonic()<end:\n"
        "    db=sqlite3.connect(sys.argv[1]); yes=db.execute(sys.argv[2]).fetchone()[0]; db.close()\n"
        "    if yes: sys.exit(0)\n"
        "    time.sleep(0.05)\n"
        "sys.exit(1)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(store), question], check=False).returncode == 0
