"""Runs that are killed, or whose backend fails, at every stage: what is kept in the end is what a calm run keeps."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest
from processes import ask, create, dataset, end, start

from localsynth.engine.launch import tell
from localsynth.store import Reader, Store

MODES = {
    "single turn": {},
    "three turns": {"turns": 3},
    "instructions only": {"instructions_only": True},
    "imported": {"method": "imported"},
}


@pytest.fixture
def instructions(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    lines = [f"What should a visitor to town number {number} see first, and why?" for number in range(200)]
    path.write_text("".join(json.dumps({"instruction": line}) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("mode", MODES)
def test_a_run_killed_again_and_again_keeps_what_a_calm_one_keeps(
    mode: str, tmp_path: Path, instructions: Path
) -> None:
    plan = {"target": 60, **MODES[mode]}
    if mode == "imported":
        plan["instructions"] = str(instructions)
    store, calm = tmp_path / "killed.db", tmp_path / "calm.db"
    run = create(store, **plan)
    for kill_at in (1, 20, 24):
        code, _, _ = end(start("run", run, "--store", store, faults={"KILL_AT": kill_at, "DELAY": 0.0005}))
        assert code == -9
    code, _, err = end(start("run", run, "--store", store))
    assert code == 0, err
    assert end(start("run", create(calm, **plan), "--store", calm))[0] == 0
    assert len(dataset(store)) == 60
    assert dataset(store) == dataset(calm)


def test_imported_rows_that_failed_are_no_duplicates_of_themselves_when_tried_again(
    tmp_path: Path, instructions: Path
) -> None:
    store = tmp_path / "store.db"
    run = create(store, method="imported", instructions=str(instructions), target=200)
    code, _, err = end(start("run", run, "--store", store, faults={"BUSY": 7}))
    assert code == 6, err
    failed = ask(store, "SELECT count(*) FROM samples WHERE state = 'failed'")
    assert failed > 5
    assert f"{failed} samples failed" in err
    code, _, err = end(start("run", run, "--store", store))
    assert code == 0, err
    assert ask(store, "SELECT count(*) FROM dataset") == 200


def test_a_text_that_does_not_fit_is_rejected_and_no_resume_tries_it_again(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    run = create(store, target=50)
    code, _, err = end(start("run", run, "--store", store, faults={"OVERFLOW": 7}))
    assert code == 0, err
    with Reader.open(store) as reader:
        counts = reader.counts(run)
        rejected = reader.samples(run, rule="answer.exceeds_context")
        left = reader.unfinished(run)
    assert counts.kept == 50
    assert counts.by_rule["instruction.exceeds_context"] > 0
    assert rejected
    assert all(row.instruction and row.operation == "magpie" for row in rejected)
    assert left.failed == ()
    assert left.missing == ()


def test_a_decoder_that_dies_once_is_loaded_again_and_costs_nothing(tmp_path: Path) -> None:
    store, calm = tmp_path / "store.db", tmp_path / "calm.db"
    code, _, err = end(start("run", create(store, target=40), "--store", store, faults={"DIE_AT": 30}))
    assert code == 0, err
    assert end(start("run", create(calm, target=40), "--store", calm))[0] == 0
    assert dataset(store) == dataset(calm)


def test_a_decoder_that_dies_again_ends_the_run_with_one_line(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    run = create(store, target=40)
    code, out, err = end(start("run", run, "--store", store, faults={"DIE_AT": 30, "DIE": "twice"}))
    assert code == 3
    assert out == ""
    assert "the decoder failed: out of memory" in err
    assert "Traceback" not in err
    assert ask(store, "SELECT state FROM runs") == "failed"
    assert "out of memory" in ask(store, "SELECT error FROM runs")
    code, _, err = end(start("run", run, "--store", store))
    assert code == 0, err
    assert ask(store, "SELECT error IS NULL FROM runs") == 1
    assert len(dataset(store)) == 40


def test_words_left_for_a_process_that_has_gone_do_not_reach_the_next_one(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    run = create(store, target=30)
    tell(store, run, "pause")
    tell(store, run, "cancel")
    code, _, err = end(start("run", run, "--store", store))
    assert code == 0, err
    assert len(dataset(store)) == 30


def test_figures_go_on_where_the_earlier_process_left_them(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    run = create(store, target=60)
    assert end(start("run", run, "--store", store, faults={"KILL_AT": 90, "DELAY": 0.0005}))[0] == -9
    before = ask(store, "SELECT count(*) FROM samples")
    assert end(start("run", run, "--store", store))[0] == 0
    with Reader.open(store) as reader:
        progress = reader.progress(run)
        counts = reader.counts(run)
    assert progress is not None
    assert progress.data["asked"] == ask(store, "SELECT count(*) FROM samples") > before > 0
    assert progress.data["kept"] == counts.kept == 60
    assert progress.data["rejected"] == dict(counts.by_rule)


def test_a_reason_names_the_row_as_show_takes_it(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    for _ in range(2):
        assert end(start("run", create(store, target=10), "--store", store))[0] == 0
    reason = ask(store, "SELECT reason FROM scores WHERE name = 'instruction.duplicate' ORDER BY sample DESC LIMIT 1")
    name = reason.removeprefix("the same text as ")
    code, out, err = end(start("show", name, "--store", store))
    assert code == 0, err
    assert out.startswith(f"{name}  ")


def test_nothing_to_resume_is_said_in_one_line(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    code, out, err = end(start("resume", "--store", store))
    assert (code, out) == (4, "")
    assert "there is no store at" in err
    with closing(Store.open(store)):
        pass
    code, out, err = end(start("resume", "--store", store))
    assert (code, out) == (2, "")
    assert "there is no run in" in err
