"""What is typed wins over the plan's file, and only where it was typed; a wrong file is named, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPTED = ("--backend", "scripted", "--no-near-duplicates")


def test_a_typed_temperature_changes_nothing_else_of_the_file(cli: Callable, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(
        "[[ask.sampling]]\ntop_p = 0.9\nweight = 2.0\n[[ask.sampling]]\ntop_k = 7\n[answer.sampling]\nmin_p = 0.1\n"
    )
    plan = cli("generate", *SCRIPTED, "--plan", "plan.toml", "--temperature", 0.5, "--print-plan", "--json").json
    first, second = plan["ask"]["sampling"]
    assert (first["temperature"], first["top_p"], first["weight"]) == (0.5, 0.9, 2)
    assert (second["temperature"], second["top_k"]) == (0.5, 7)
    assert plan["answer"]["sampling"][0]["min_p"] == 0.1


def test_a_preset_in_the_file_takes_typed_tokens(cli: Callable, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text("[ask]\nsampling = 'pro'\n")
    plan = cli("generate", *SCRIPTED, "--plan", "plan.toml", "--question-tokens", 77, "--print-plan", "--json").json
    assert {entry["max_tokens"] for entry in plan["ask"]["sampling"]} == {77}
    assert {entry["temperature"] for entry in plan["ask"]["sampling"]} == {1.0, 1.1, 1.2, 1.25}


@pytest.mark.parametrize(
    ("arguments", "avoided"),
    [
        (("--server", "http://127.0.0.1:9"), []),
        (("--backend", "ollama"), []),
        (("--server", "http://127.0.0.1:9", "--tokenizer", "m.gguf"), ["#", "**"]),
    ],
)
def test_a_card_asks_nothing_of_a_server_that_cannot_do_it(cli: Callable, arguments: tuple, avoided: list) -> None:
    done = cli("generate", "--model", "llama-3.1-8b", *arguments, "--print-plan", "--json")
    assert done.json["ask"]["sampling"][0]["avoid_first"] == avoided
    assert ("cannot keep texts from beginning with # or **" in done.err) == (not avoided)


def test_a_typed_server_takes_the_place_of_a_local_backend(cli: Callable, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text("[ask]\nbackend = 'llamacpp'\n[answer]\nbackend = 'ollama'\nmodel = 'm'\n")
    typed = ("--plan", "plan.toml", "--server", "http://127.0.0.1:9", "--print-plan", "--json")
    plan = cli("generate", *typed).json
    assert [plan[role]["backend"] for role in ("ask", "answer")] == ["openai", "ollama"]
    assert plan["ask"]["servers"] == plan["answer"]["servers"] == ["http://127.0.0.1:9"]
    back = cli("generate", *typed, "--backend", "llamacpp")
    assert back.code == 2


@pytest.mark.parametrize(
    "text",
    ["ask = 'a model'", "limits = 5", "machine = []", "gate = 1", "[ask]\nmodel = 5", "[ask]\nsampling = [1]",
     "systems = 3", "language = 3"],
)  # fmt: skip
def test_a_plan_of_the_wrong_shape_is_named(cli: Callable, tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.toml").write_text(text)
    typed = ("--max-minutes", 1, "--slots", 2, "--similarity", 0.9, "--temperature", 1)
    done = cli("generate", "--plan", "plan.toml", *typed)
    assert (done.code, done.out) == (2, "")
    assert "must be" in done.err
    assert "next:" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--language", "klingon"), "language must be a code"),
        (("--language", "fr", "--topics", "math"), "no ready topics in 'fr'"),
        (("--instructions", "in.txt", "--instructions-only"), "leaves nothing to do"),
        (("--instructions", "in.txt", "--topics", "math"), "imported instructions ask none"),
        (("--instructions", "in.txt", "--turns", 2), "turns must be 1"),
    ],
)
def test_what_cannot_be_done_is_refused_before_a_run_is_written(
    cli: Callable, tmp_path: Path, arguments: tuple, words: str
) -> None:
    (tmp_path / "in.txt").write_text("What is a bridge?\n")
    done = cli("generate", "-n", 1, *SCRIPTED, *arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert not (tmp_path / "localsynth.db").exists()


def test_all_imported_instructions_are_answered_by_default(cli: Callable, tmp_path: Path) -> None:
    lines = [f"What should a visitor to town number {number} see first?" for number in range(33)]
    (tmp_path / "in.txt").write_text("\n".join(lines))
    done = cli("generate", *SCRIPTED, "--instructions", "in.txt", "--json")
    assert done.code == 0, done.err
    assert (done.json["kept"], done.json["target"], done.json["state"]) == (33, 33, "finished")


def test_every_json_is_json(cli: Callable, tmp_path: Path) -> None:
    assert cli("generate", "--list-topics", "--json").json[0]["id"]
    assert cli("generate", *SCRIPTED, "--print-plan", "--json").json["target"] == 20
    detached = cli("generate", "-n", 3, *SCRIPTED, "--detach", "--json").json
    assert detached["run"] == 1
    assert detached["pid"] > 0
    assert cli("status", "--watch", "--json").json["kept"] == 3
    assert cli("resume", "--json").json["state"] == "finished"
    assert cli("status", "--json").json[0]["kept"] == 3
    assert cli("status", 1, "--json").json[0]["run"] == 1
    assert cli("ls", "--json").json[0]["name"] == "1:0"
    assert cli("show", "1:0", "--json").json["index"] == 0


def test_lists_keep_to_the_width_and_are_aligned(cli: Callable, tmp_path: Path) -> None:
    assert cli("generate", "-n", 15, *SCRIPTED, "--seed", 1).code == 0
    (tmp_path / "rows.jsonl").write_text(
        '{"instruction": "机器学习是什么？请简单地解释一下。", "output": "一种方法。"}\n' * 2
    )
    assert cli("import", "rows.jsonl").code == 0
    from rich.cells import cell_len

    lines = cli("ls", "--kept", "--limit", 50, COLUMNS="80").out.splitlines()
    assert len(lines) >= 16
    assert all(cell_len(line) <= 80 for line in lines)
    assert {line.index("kept") for line in lines} == {6}
    status = cli("status", COLUMNS="80").out.splitlines()
    assert "15 of 15" in status[0]
    assert "2 rows" in status[1]
    assert "imported" in status[1]
    assert all(cell_len(line) <= 80 for line in status)


def test_a_run_that_was_never_started_is_no_failure_without_words(cli: Callable, tmp_path: Path) -> None:
    from processes import create

    create(tmp_path / "localsynth.db", target=2)
    done = cli("status", "--watch")
    assert done.code == 6
    assert "run 1 was never started" in done.err
    assert "localsynth resume 1" in done.err
    assert cli("resume").code == 0


def test_a_limit_of_attempts_is_not_answered_with_resume(cli: Callable) -> None:
    done = cli("generate", "-n", 500, *SCRIPTED, "--max-attempts", 10)
    assert done.code == 6
    assert "the limit of 10 questions is reached" in done.err
    assert "localsynth resume" not in done.err


def test_a_terminal_that_cannot_show_a_character_shows_another(cli: Callable, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        '{"instruction": "机器学习是什么？请简单地解释一下。", "output": "一种方法。"}\n'
    )
    assert cli("import", "rows.jsonl").code == 0
    for arguments in (("ls",), ("show", 0)):
        done = cli(*arguments, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
        assert done.code == 0, done.err
        assert "?" in done.out
