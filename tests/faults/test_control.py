"""Signals, words and locks: how a run is told to end, and that a second one is refused."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from processes import ask, create, dataset, end, start, until

from localsynth.engine import launch

SLOW = {"DELAY": 0.005}
MANY = 1_000_000


def at_work(store: Path, rows: int = 10) -> None:
    until(lambda: (ask(store, "SELECT count(*) FROM samples") or 0) >= rows, "rows are coming")


def state(store: Path) -> str:
    return ask(store, "SELECT state FROM runs ORDER BY number DESC")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_drains(number: signal.Signals, tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    process = start("run", create(store, target=MANY), "--store", store, faults=SLOW)
    at_work(store)
    process.send_signal(number)
    code, out, err = end(process)
    assert (code, out) == (6, "")
    assert "it was told to stop" in err
    assert "Traceback" not in err
    assert state(store) == "stopped"
    assert ask(store, "SELECT count(*) FROM samples WHERE state = 'failed'") == 0


def test_the_second_signal_drops_what_is_in_flight_and_a_resume_makes_it_good(tmp_path: Path) -> None:
    store, calm = tmp_path / "store.db", tmp_path / "calm.db"
    run = create(store, target=40)
    process = start("run", run, "--store", store, faults={"DELAY": 0.05})
    until(lambda: ask(store, "SELECT json_extract(data, '$.answering') > 0 FROM progress"), "an answer is written")
    process.send_signal(signal.SIGINT)
    until(lambda: ask(store, "SELECT json_extract(data, '$.state') = 'draining' FROM progress"), "it drains")
    process.send_signal(signal.SIGINT)
    code, _, err = end(process)
    assert code == 6, err
    assert state(store) == "stopped"
    assert ask(store, "SELECT count(*) FROM samples WHERE state = 'ready'") > 0
    assert end(start("run", run, "--store", store))[0] == 0
    assert end(start("run", create(calm, target=40), "--store", calm))[0] == 0
    assert dataset(store) == dataset(calm)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_model_loads_stops_the_run(number: signal.Signals, tmp_path: Path) -> None:
    store, loaded = tmp_path / "store.db", tmp_path / "loaded"
    process = start("run", create(store, target=5), "--store", store, faults={"LOADED": loaded})
    until(lambda: state(store) == "running", "the run has begun")
    process.send_signal(number)
    loaded.touch()
    code, _, err = end(process)
    assert code == 6, err
    assert state(store) == "stopped"
    assert ask(store, "SELECT error IS NULL FROM runs") == 1


def test_ctrl_c_in_generate_drains_the_run(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    process = start("generate", "-n", MANY, "--backend", "scripted", "--no-near-duplicates", "--store", store)
    at_work(store)
    os.killpg(process.pid, signal.SIGINT)
    code, out, err = end(process)
    assert (code, out) == (130, "")
    assert "Ctrl-C again stops at once" in err
    assert f"next: localsynth resume 1 --store {store}" in err
    assert state(store) == "stopped"


def test_a_run_outlives_the_terminal_of_generate_and_can_be_stopped_at_once(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    process = start("generate", "-n", MANY, "--backend", "scripted", "--no-near-duplicates", "--store", store)
    at_work(store)
    os.killpg(process.pid, signal.SIGKILL)
    assert end(process)[0] == -9
    seen = ask(store, "SELECT count(*) FROM samples")
    until(lambda: ask(store, "SELECT count(*) FROM samples") > seen, "the run goes on")
    code, _, err = end(start("stop", "--now", "--store", store))
    assert code == 0, err
    assert not launch.alive(store, ask(store, "SELECT id FROM runs"))
    assert state(store) == "stopped"


def test_a_paused_run_can_be_stopped(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    process = start("run", create(store, target=MANY), "--store", store, faults=SLOW)
    at_work(store)
    assert end(start("pause", "--store", store))[0] == 0
    until(lambda: state(store) == "paused", "the run is paused")
    code, _, err = end(start("stop", "--store", store))
    assert code == 0, err
    assert end(process)[0] == 6
    assert state(store) == "stopped"


def test_a_detached_run_can_be_stopped_at_once(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    scripted = ("--backend", "scripted", "--no-near-duplicates", "--store", store)
    code, out, err = end(start("generate", "-n", MANY, *scripted, "--detach"))
    assert (code, out.strip()) == (0, "1"), err
    code, _, err = end(start("stop", "--store", store))
    assert code == 0, err


def test_a_second_run_is_refused_and_leaves_nothing_behind(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    run = create(store, target=MANY)
    process = start("run", run, "--store", store, faults=SLOW)
    until(lambda: launch.alive(store, run), "the first run is at work")
    scripted = ("--backend", "scripted", "--no-near-duplicates")
    for arguments in (("run", run), ("generate", "-n", 1, *scripted), ("resume", run, "--detach")):
        code, out, err = end(start(*arguments, "--store", store))
        if arguments[0] == "resume":  # it goes on already
            assert code == 0, err
            continue
        assert (code, out) == (4, "")
        assert f"(process {process.pid}) is at work on" in err
        assert "localsynth stop" in err
    assert ask(store, "SELECT count(*) FROM runs") == 1
    process.kill()
    end(process)
    code, _, err = end(start("generate", "-n", 1, *scripted, "--store", store))
    assert code == 0, err
