"""A model that the doctor calls unfit: asked about on a terminal, refused elsewhere, forced by a flag."""

from __future__ import annotations

import os
import pty
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from localsynth import catalog
from localsynth.engine import fitness
from localsynth.filters.yields import YieldReport

QUICK = (
    "generate",
    "-n",
    1,
    "--no-near-duplicates",
    "--question-tokens",
    24,
    "--answer-tokens",
    4,
    "--max-attempts",
    1,
)


@pytest.fixture
def unfit_starter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor's word of the starter, kept where only this test's processes look."""
    monkeypatch.setenv("LOCALSYNTH_HOME", str(tmp_path / "home"))
    report = YieldReport(64, 10, {"cut_off": 54})
    grade, reason = fitness.judge(report)
    fitness._remember(catalog.starter_path(), fitness.Checkup("starter", {}, report, grade, reason, ()))


def on_a_terminal(folder: Path, typed: str) -> tuple[int, str]:
    """Exit code and what was said, of `generate` with a terminal as its input and output."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "localsynth", *map(str, QUICK)],
        cwd=folder,
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    os.write(leader, typed.encode())
    said = b""
    try:
        while piece := os.read(leader, 4096):
            said += piece
    except OSError:  # the other side is closed
        pass
    os.close(leader)
    return process.wait(timeout=120), said.decode()


@pytest.mark.starter
@pytest.mark.usefixtures("unfit_starter")
def test_an_unfit_model_is_asked_about_or_refused(cli: Callable, tmp_path: Path) -> None:
    store = tmp_path / "localsynth.db"
    refused = cli(*QUICK)
    assert refused.code == 3
    assert "--force" in refused.err
    code, said = on_a_terminal(tmp_path, "n\n")
    assert code == 3
    assert "Go on?" in said
    assert not store.exists()
    code, said = on_a_terminal(tmp_path, "y\n")
    assert code in {0, 6}, said
    with sqlite3.connect(store) as db:
        assert db.execute("SELECT json_extract(plan, '$.force') FROM runs").fetchall() == [(1,)]


def test_a_resume_may_be_forced(cli: Callable, tmp_path: Path) -> None:
    assert cli("generate", "-n", 5, "--backend", "scripted", "--no-near-duplicates", "--max-attempts", 1).code == 6
    assert cli("resume", "--force").code == 6
    with sqlite3.connect(tmp_path / "localsynth.db") as db:
        assert db.execute("SELECT json_extract(plan, '$.force') FROM runs").fetchall() == [(1,)]
