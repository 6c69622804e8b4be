"""`estimate` and `bench` as users meet them, on the scripted backend and by a clock of its steps."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pacing import pace

from localsynth.cli.main import main

SCRIPTED = ("--backend", "scripted", "--no-near-duplicates", "--seconds", 4)
Command = Callable[..., tuple[str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`localsynth ARGUMENTS` in this process and in an empty folder: what it wrote on stdout and stderr."""
    pace(monkeypatch, 4)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: object) -> tuple[str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert not ended.value.code, said.err
        return said.out, said.err

    return run


def test_estimate_prints_a_table_that_fits_80_columns(command: Command, tmp_path: Path) -> None:
    out, err = command("estimate", "-n", 3_000_000, *SCRIPTED, "--parameters", 8, "--price-per-hour", 2)
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("3,000,000 pairs with scripted, 8 B parameters")
    measured = [line for line in lines if "  measured  " in line]
    assert [line.split("  ")[0] for line in measured] == ["4 x A100 80 GB"]
    assert "2406.08464" in out
    assert re.search(r"^here, \d+ slots? .*  measured now$", out, re.MULTILINE)
    assert sum("  scaled  " in line for line in lines) == 6
    assert "loading the model" in err
    assert not list(tmp_path.glob("localsynth.db*")), "the user's store is not touched"


def test_estimate_takes_a_plan_and_tells_what_it_does_not_know(command: Command, tmp_path: Path) -> None:
    plan = 'target = 500\nask.backend = "scripted"\nanswer.backend = "scripted"\ngate.near_duplicates = false\n'
    (tmp_path / "plan.toml").write_text(plan)
    found = json.loads(command("estimate", "plan.toml", "--seconds", 4, "--json")[0])
    assert (found["pairs"], found["parameters"], found["gpus"]) == (500, None, [])
    assert found["here"]["hours"][0] < found["here"]["hours"][2]
    assert found["calibration"]["kept"] > 0
    assert 50 < found["tokens_per_pair"][1] < 300
    assert "--parameters" in command("estimate", "plan.toml", "--seconds", 4)[0]


def test_bench_prints_one_line(command: Command) -> None:
    (line,) = command("bench", *SCRIPTED, "--slots", 4)[0].splitlines()
    parts = line.split(" | ")
    assert parts[0].startswith("localsynth ")
    assert parts[2:5] == ["scripted", "scripted 1", "4 slots"]
    assert re.fullmatch(r"\d+ tokens/s", parts[5])
    assert re.match(r"\d+\.\d+ s a kept pair", parts[6])
    found = json.loads(command("bench", *SCRIPTED, "--slots", 4, "--json")[0])
    assert found["slots"] == 4
    assert found["seconds_per_pair"][1] > 0


@pytest.mark.parametrize("verb", ["estimate", "bench"])
def test_a_model_that_is_not_there_is_one_line(cli: Callable, verb: str) -> None:
    done = cli(verb, "--model", "no-such-model")
    assert done.code in {2, 3}
    assert done.err.startswith("localsynth: ")
    assert "Traceback" not in done.err
