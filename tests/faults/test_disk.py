"""The store is deleted, read-only or full while a run writes to it: one line, the right exit code, nothing lost."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import ask, create, dataset, end, start, until

GENERATE = ("generate", "-n", 3, "--backend", "scripted", "--no-near-duplicates")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_store_that_is_deleted_ends_the_run(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    process = start("run", create(store, target=10**6), "--store", store, faults={"DELAY": 0.01})
    until(lambda: (ask(store, "SELECT count(*) FROM samples") or 0) > 5, "rows are coming")
    store.unlink()
    code, out, err = end(process)
    assert (code, out) == (4, "")
    assert "was deleted or replaced" in err
    assert "Traceback" not in err


def test_a_full_disk_ends_the_run_and_with_room_it_goes_on(small_disk: Path, tmp_path: Path) -> None:
    store, calm = small_disk / "store.db", tmp_path / "calm.db"
    code, out, err = end(start("generate", "-n", 600, *GENERATE[3:], "--seed", 11, "--store", store))
    assert (code, out) == (4, "")
    assert "disk is full" in err
    assert "localsynth resume" in err
    assert "Traceback" not in err
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    before = dataset(store)
    assert 0 < len(before) < 600
    code, _, err = end(start("resume", "--store", store))
    assert code == 0, err
    assert end(start("generate", "-n", 600, *GENERATE[3:], "--seed", 11, "--store", calm))[0] == 0
    assert dataset(store) == dataset(calm)
    assert set(before) <= set(dataset(store))


def test_a_disk_without_room_for_a_store_is_said(small_disk: Path) -> None:
    ballast = os.open(small_disk / "ballast", os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(ballast, bytes(4096))
    os.close(ballast)
    code, out, err = end(start(*GENERATE, "--store", small_disk / "store.db"))
    assert (code, out) == (4, "")
    assert "disk is full" in err
    assert "Traceback" not in err


def test_a_read_only_disk_is_said_by_what_writes_and_no_trouble_for_what_reads(small_disk: Path) -> None:
    store = small_disk / "store.db"
    assert end(start(*GENERATE, "--store", store))[0] == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for arguments in (GENERATE, ("run",), (*GENERATE, "--name", "again")):
        code, out, err = end(start(*arguments, "--store", store))
        assert (code, out) == (4, "")
        assert "read-only" in err.lower()
        assert "next:" in err
        assert "Traceback" not in err
    for arguments in (("ls",), ("show", 0), ("status",), ("status", "--json"), ("status", "--watch"), ("resume",)):
        code, _, err = end(start(*arguments, "--store", store))
        assert code == 0, err
