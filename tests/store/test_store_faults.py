"""Files that are no store, cannot be written, are full or held: one line, a hint, nothing lost."""

from __future__ import annotations

import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
from old_store import to_version_2, version

from localsynth.errors import StoreError
from localsynth.store import Reader, Store, connect, migrations
from localsynth.store import store as store_module
from localsynth.store.migrations import VERSION

NOBODY = 65534


@contextmanager
def without_root():
    """Root may write anywhere; the rest of us learn what a read-only file is."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder(path: Path):
    """The store's folder, and every one above it, can be entered by anyone."""
    changed = [(folder, folder.stat().st_mode) for folder in path.parents if not folder.stat().st_mode & 0o005]
    for folder, mode in changed:
        folder.chmod(mode | 0o055)
    yield path.parent
    for folder, mode in changed:
        folder.chmod(mode)


def read_all(path: Path, run: str) -> None:
    with Reader.open(path) as reader:
        reader.samples(run, limit=200)


def refused(path: Path, match: str, hint: str) -> None:
    for opening in (Store.open, Reader.open):
        with pytest.raises(StoreError, match=match) as raised:
            opening(path)
        assert hint in raised.value.hint
        assert "\n" not in raised.value.message
        assert str(path) in raised.value.message


def test_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    text = b'{"messages": []}\n' * 200
    path.write_bytes(text)
    refused(path, "is not a database", "--store")
    assert path.read_bytes() == text


def test_a_cut_off_store(store: Store, run: str, path: Path, pair) -> None:
    store.save([row for index in range(200) for row in pair(run, index, answer="words " * 100)])
    store.close()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(StoreError, match="is damaged") as raised:
        read_all(path, run)
    assert ".recover" in raised.value.hint


def test_a_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "places.sqlite"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE moz_places (id INTEGER PRIMARY KEY)")
    before = path.read_bytes()
    refused(path, "another program", "--store")
    assert path.read_bytes() == before


def test_a_newer_version_names_both(path: Path) -> None:
    Store.open(path).close()
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {VERSION + 1}")
    refused(path, f"store version {VERSION + 1}.*up to {VERSION}", "upgrade localsynth")


def test_an_older_store_that_cannot_be_brought_up_to_date(
    path: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store.open(path).close()
    to_version_2(path)
    monkeypatch.setattr(connect, "open_writer", partial(connect.open_writer, wait=0.0))
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"version 2, .* reads version .*: .* is locked") as raised:
            Reader.open(path)
    assert raised.value.retryable
    assert "close that program" in raised.value.hint
    path.chmod(0o444)
    with without_root(), pytest.raises(StoreError, match=r"cannot be brought up to date: .* is read-only") as raised:
        Reader.open(path)
    assert "copy it" in raised.value.hint
    path.chmod(0o644)
    Reader.open(path).close()
    assert version(path) == VERSION


def test_an_empty_file_becomes_a_store_and_is_none_to_a_reader(path: Path) -> None:
    path.touch()
    with pytest.raises(StoreError, match="version 0"):
        Reader.open(path)
    with Store.open(path) as store:
        store.create_run(method="magpie", plan={}, seed=0, target=1)


def test_nothing_there(tmp_path: Path) -> None:
    refused(tmp_path, "is a folder", "--store")
    with pytest.raises(StoreError, match="no store at"):
        Reader.open(tmp_path / "a.db")
    with pytest.raises(StoreError, match="no store at"):
        Store.open(tmp_path / "a.db", create=False)
    assert not (tmp_path / "a.db").exists()
    with pytest.raises(StoreError, match="no folder"):
        Store.open(tmp_path / "none" / "a.db")


def test_a_name_with_signs_that_mean_something_in_a_uri(tmp_path: Path) -> None:
    path = tmp_path / "a?mode=rw#50% 机器.db"
    with Store.open(path) as store, Reader.open(path) as reader:
        run = store.create_run(method="magpie", plan={}, seed=0, target=1)
        assert reader.run().id == run
    assert path.exists()


def test_a_read_only_file(store: Store, run: str, path: Path, pair, open_folder: Path) -> None:
    store.save(pair(run, 0))
    store.close()
    path.chmod(0o444)
    with without_root():
        with pytest.raises(StoreError, match="read-only") as raised:
            Store.open(path)
        assert "writable" in raised.value.hint
        with Reader.open(path) as reader:
            assert reader.counts(run).kept == 1
            assert len(reader.samples(search="why")) == 1


def test_a_read_only_folder(path: Path, open_folder: Path) -> None:
    Store.open(path).close()
    mode = path.parent.stat().st_mode
    path.parent.chmod(0o555)
    try:
        with without_root(), pytest.raises(StoreError, match=r"cannot be opened|read-only"):
            Store.open(path.with_name("other.db"))
    finally:
        path.parent.chmod(mode)


def test_a_full_disk_loses_nothing_that_was_there(store: Store, run: str, path: Path, pair) -> None:
    store.save(pair(run, 0))
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages + 2}").fetchone()
    with pytest.raises(StoreError, match="the disk is full") as raised:
        store.save([*pair(run, 1), *pair(run, 2, answer="long " * 50_000)])
    assert "free some space" in raised.value.hint
    with Reader.open(path) as reader:
        assert [row.index for row in reader.samples(run)] == [0]
        store._connection.execute("PRAGMA max_page_count = 1000000").fetchone()
        store.save(pair(run, 1))
        assert reader.counts(run).kept == 2


def test_a_store_that_another_program_holds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.open(path).close()
    opening = store_module.open_writer
    monkeypatch.setattr(store_module, "open_writer", lambda path, create: opening(path, create=create, wait=0.01))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked by another program") as raised:
            Store.open(path)
        assert raised.value.retryable
        other.execute("ROLLBACK")
    Store.open(path).close()


def test_two_writers_take_turns(store: Store, run: str, path: Path, pair) -> None:
    with Store.open(path) as second:
        for index in range(0, 20, 2):
            store.save(pair(run, index))
            second.save(pair(run, index + 1))
    with Reader.open(path) as reader:
        assert [row.index for row in reader.samples(run)] == list(range(20))


def test_a_closed_store_says_so_and_closes_again(store: Store, run: str, pair) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.save(pair(run, 0))


def test_a_schema_that_fails_halfway_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "_VIEWS", "CREATE VIEW dataset AS SELECT 1 WHERE;")
    with pytest.raises(StoreError):
        Store.open(path)
    monkeypatch.undo()
    with closing(sqlite3.connect(path)) as plain:
        assert plain.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    with Store.open(path) as store, Reader.open(path) as reader:
        store.create_run(method="magpie", plan={}, seed=0, target=1)
        assert list(reader.dataset()) == []


def test_several_that_make_one_store_at_the_same_time_share_it(path: Path) -> None:
    together = threading.Barrier(4)

    def make(_: int) -> str:
        together.wait()
        with Store.open(path) as store:
            return store.create_run(method="magpie", plan={}, seed=0, target=1)

    with ThreadPoolExecutor(4) as pool:
        made = set(pool.map(make, range(4)))
    with Reader.open(path) as reader:
        assert [run.number for run in reader.runs()] == [1, 2, 3, 4]
        assert {run.id for run in reader.runs()} == made
