"""`estimate` and `bench` as users meet them, on the scripted backend."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPTED = ("--backend", "scripted", "--no-near-duplicates", "--seconds", 1)


def test_estimate_prints_a_table_that_fits_80_columns(cli: Callable, tmp_path: Path) -> None:
    done = cli("estimate", "-n", 3_000_000, *SCRIPTED, "--parameters", 8, "--price-per-hour", 2, COLUMNS="80")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("3,000,000 pairs with scripted, 8 B parameters")
    measured = [line for line in lines if "  measured  " in line]
    assert [line.split("  ")[0] for line in measured] == ["4 x A100 80 GB"]
    assert "2406.08464" in done.out
    assert re.search(r"^here, \d+ slots? .*  measured now$", done.out, re.MULTILINE)
    assert sum("  scaled  " in line for line in lines) == 6
    assert "loading the model" in done.err
    assert not list(tmp_path.glob("localsynth.db*")), "the user's store is not touched"


def test_estimate_takes_a_plan_and_tells_what_it_does_not_know(cli: Callable, tmp_path: Path) -> None:
    plan = 'target = 500\nask.backend = "scripted"\nanswer.backend = "scripted"\ngate.near_duplicates = false\n'
    (tmp_path / "plan.toml").write_text(plan)
    done = cli("estimate", "plan.toml", "--seconds", 1, "--json")
    assert done.code == 0, done.err
    found = done.json
    assert (found["pairs"], found["parameters"], found["gpus"]) == (500, None, [])
    assert found["here"]["hours"][0] < found["here"]["hours"][2]
    assert found["calibration"]["kept"] > 0
    assert 50 < found["tokens_per_pair"][1] < 300
    said = cli("estimate", "plan.toml", "--seconds", 1)
    assert "--parameters" in said.out


def test_bench_prints_one_line(cli: Callable) -> None:
    done = cli("bench", *SCRIPTED, "--slots", 4)
    assert done.code == 0, done.err
    (line,) = done.out.splitlines()
    parts = line.split(" | ")
    assert parts[0].startswith("localsynth ")
    assert parts[2:5] == ["scripted", "scripted 1", "4 slots"]
    assert re.fullmatch(r"\d+ tokens/s", parts[5])
    assert re.match(r"\d+\.\d+ s a kept pair", parts[6])
    found = cli("bench", *SCRIPTED, "--slots", 4, "--json").json
    assert found["slots"] == 4
    assert found["seconds_per_pair"][1] > 0


@pytest.mark.parametrize("command", ["estimate", "bench"])
def test_a_model_that_is_not_there_is_one_line(cli: Callable, command: str) -> None:
    done = cli(command, "--model", "no-such-model")
    assert done.code in {2, 3}
    assert done.err.startswith("localsynth: ")
    assert "Traceback" not in done.err
