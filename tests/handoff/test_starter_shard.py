"""One shard on the real starter: the chat format read from the file's header is the one that llama.cpp's own gives."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from processes import end, start

# Questions of eight tokens are cut off and rejected: what is tested is what comes before the first row, and the rows.
PLAN = """
target = 4
seed = 3
instructions_only = true
[[ask.sampling]]
max_tokens = 8
[gate]
near_duplicates = false
[limits]
attempts = 6
[machine]
context = 128
"""


@pytest.mark.starter
def test_a_shard_of_the_starter_runs_and_agrees_with_home(starter: Path, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    code, _, err = end(start("handoff", "pack", tmp_path / "plan.toml", tmp_path / "job", "--shards", 2,
                             "--check-model", starter, "--store", tmp_path / "no.db"))  # fmt: skip
    assert code == 0, err
    ask = json.loads((tmp_path / "job" / "job.json").read_text())["models"]["ask"]
    assert (ask["model"], ask["backend"]) == ("smollm2-135m", "llamacpp")
    assert len(ask["sha256"]) == 64
    code, _, err = end(start("run", tmp_path / "job", "--shard", "2/2", "--slots", 4), 240)
    assert code == 6, err
    with closing(sqlite3.connect(tmp_path / "job" / "shards" / "shard-2-of-2.db")) as db:
        asked = db.execute("SELECT idx FROM samples").fetchall()
        (sha256,) = db.execute("SELECT sha256 FROM runs").fetchone()
    assert asked == [(1,), (3,), (5,)]
    assert sha256 == ask["sha256"]
