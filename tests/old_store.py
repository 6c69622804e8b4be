"""Stores as an earlier version of localsynth left them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_BACK = """
DROP INDEX reviews_tagged;
DROP INDEX reviews_batch;
DROP INDEX scores_value;
DROP INDEX turns_model;
DROP INDEX samples_topic;
ALTER TABLE reviews DROP COLUMN tags;
ALTER TABLE reviews DROP COLUMN batch;
ALTER TABLE samples DROP COLUMN topic;
DROP TABLE thresholds;
DROP TABLE thresholds_waiting;
DROP TABLE rulings;
DELETE FROM _sqlite_migrations WHERE name > 'm003';
PRAGMA user_version = 2;
"""


def to_version_2(path: Path) -> Path:
    """Make a store what it was in version 2: without tags, batches, topics and thresholds."""
    with closing(sqlite3.connect(path)) as store:
        store.executescript(_BACK)
    return path


def version(path: Path) -> int:
    """Which version a store has."""
    with closing(sqlite3.connect(path)) as store:
        return int(store.execute("PRAGMA user_version").fetchone()[0])
