"""The schema, one numbered function per change; a function that was released never changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

VERSION = 4  # PRAGMA user_version after the last function below: read without loading sqlite_utils
APPLICATION_ID = 0x6C73796E  # "lsyn": tells a store from another program's database

_TABLES = """
CREATE TABLE runs (
  id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, name TEXT, method TEXT NOT NULL, backend TEXT NOT NULL,
  model TEXT NOT NULL, revision TEXT, sha256 TEXT, template_hash TEXT, plan TEXT NOT NULL, seed INTEGER NOT NULL,
  target INTEGER NOT NULL, state TEXT NOT NULL, versions TEXT NOT NULL, created TEXT NOT NULL, started TEXT,
  heartbeat TEXT, finished TEXT, pid INTEGER, host TEXT, error TEXT
) STRICT;
CREATE TABLE samples (
  id INTEGER PRIMARY KEY, run TEXT NOT NULL REFERENCES runs(id), idx INTEGER NOT NULL, attempt INTEGER NOT NULL,
  state TEXT NOT NULL, operation TEXT NOT NULL, parent INTEGER, error TEXT, detail TEXT NOT NULL,
  created TEXT NOT NULL, updated TEXT NOT NULL, UNIQUE (run, idx, attempt)
) STRICT;
CREATE TABLE turns (
  id INTEGER PRIMARY KEY, sample INTEGER NOT NULL REFERENCES samples(id), position INTEGER NOT NULL,
  role TEXT NOT NULL, content TEXT NOT NULL, raw TEXT, rules TEXT NOT NULL, thinking TEXT, model TEXT, sampling TEXT,
  finish_reason TEXT, seed INTEGER, prompt_tokens INTEGER, completion_tokens INTEGER, logprob REAL, duration REAL,
  UNIQUE (sample, position)
) STRICT;
CREATE TABLE scores (
  sample INTEGER NOT NULL REFERENCES samples(id), name TEXT NOT NULL, version INTEGER NOT NULL, value REAL,
  passed INTEGER, reason TEXT NOT NULL, detail TEXT, at INTEGER NOT NULL, PRIMARY KEY (sample, name, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE embeddings (
  id INTEGER PRIMARY KEY, sample INTEGER NOT NULL REFERENCES samples(id), field TEXT NOT NULL,
  encoder TEXT NOT NULL, content_hash TEXT NOT NULL, vector BLOB NOT NULL, UNIQUE (sample, field, encoder)
) STRICT;
CREATE TABLE neighbours (
  sample INTEGER NOT NULL REFERENCES samples(id), neighbour INTEGER NOT NULL, encoder TEXT NOT NULL,
  similarity REAL NOT NULL, PRIMARY KEY (sample, neighbour, encoder)
) STRICT, WITHOUT ROWID;
CREATE TABLE candidates (
  id INTEGER PRIMARY KEY, sample INTEGER NOT NULL REFERENCES samples(id), model TEXT NOT NULL, idx INTEGER NOT NULL,
  purpose TEXT NOT NULL, text TEXT NOT NULL, tokens INTEGER, chosen INTEGER NOT NULL, checks TEXT NOT NULL,
  UNIQUE (sample, purpose, model, idx)
) STRICT;
CREATE TABLE pairs (
  id INTEGER PRIMARY KEY, sample INTEGER NOT NULL REFERENCES samples(id), chosen TEXT NOT NULL,
  rejected TEXT NOT NULL, margin REAL, source TEXT NOT NULL, digest INTEGER NOT NULL, UNIQUE (sample, source, digest)
) STRICT;
CREATE TABLE reviews (
  id INTEGER PRIMARY KEY, sample INTEGER NOT NULL REFERENCES samples(id), verdict TEXT NOT NULL, note TEXT,
  edits TEXT NOT NULL, created TEXT NOT NULL
) STRICT;
CREATE TABLE instruction_keys (
  sample INTEGER PRIMARY KEY REFERENCES samples(id), key INTEGER NOT NULL
) STRICT;
CREATE TABLE events (
  id INTEGER PRIMARY KEY, run TEXT NOT NULL REFERENCES runs(id), at TEXT NOT NULL, kind TEXT NOT NULL,
  data TEXT NOT NULL
) STRICT;
CREATE TABLE progress (run TEXT PRIMARY KEY REFERENCES runs(id), at TEXT NOT NULL, data TEXT NOT NULL) STRICT;
CREATE TABLE control (
  id INTEGER PRIMARY KEY, run TEXT NOT NULL REFERENCES runs(id), verb TEXT NOT NULL, argument TEXT,
  created TEXT NOT NULL, done TEXT
) STRICT;
CREATE TABLE exports (
  id INTEGER PRIMARY KEY, path TEXT NOT NULL, format TEXT NOT NULL, query TEXT NOT NULL, count INTEGER NOT NULL,
  sha256 TEXT NOT NULL, created TEXT NOT NULL
) STRICT;
CREATE TABLE search_state (id INTEGER PRIMARY KEY CHECK (id = 1), indexed INTEGER NOT NULL) STRICT;
CREATE TABLE search_stale (turn INTEGER PRIMARY KEY, content TEXT NOT NULL) STRICT;
CREATE INDEX samples_open ON samples (run, state, idx) WHERE state <> 'done';
CREATE INDEX scores_failed ON scores (sample, at, name, version, passed) WHERE passed = 0;
CREATE INDEX reviews_sample ON reviews (sample);
CREATE INDEX instruction_keys_key ON instruction_keys (key);
CREATE INDEX events_run ON events (run, id);
CREATE INDEX control_waiting ON control (run, id) WHERE done IS NULL;
INSERT INTO search_state VALUES (1, 0);
"""

# The index holds no text of its own, so taking an entry out needs the text that went in: the trigger saves the
# first of them. (OR IGNORE would not do: the conflict clause of the upsert that fires it takes its place.)
_SEARCH = """
CREATE VIRTUAL TABLE search USING fts5(text, content='', tokenize='unicode61');
CREATE TRIGGER turns_changed AFTER UPDATE OF content ON turns
WHEN old.content IS NOT new.content AND old.id <= (SELECT indexed FROM search_state)
BEGIN
  INSERT INTO search_stale SELECT old.id, old.content WHERE old.id NOT IN (SELECT turn FROM search_stale);
END;
"""

_VIEWS = """
CREATE VIEW verdicts AS
SELECT sample, run, state,
  CASE review WHEN 'accept' THEN state = 'done' WHEN 'reject' THEN 0 ELSE state = 'done' AND rule IS NULL END AS kept,
  CASE WHEN review IN ('accept', 'reject') THEN 'review' ELSE 'rule' END AS by, rule
FROM (
  SELECT s.id AS sample, s.run AS run, s.state AS state,
    (SELECT r.verdict FROM reviews r WHERE r.sample = s.id ORDER BY r.id DESC LIMIT 1) AS review,
    (SELECT f.name FROM scores f WHERE f.sample = s.id AND f.passed = 0 AND NOT EXISTS (
       SELECT 1 FROM scores n WHERE n.sample = f.sample AND n.name = f.name AND n.version > f.version)
     ORDER BY f.at LIMIT 1) AS rule
  FROM samples s
);
CREATE VIEW dataset AS
SELECT s.id AS sample, s.run AS run, s.idx AS idx, s.attempt AS attempt,
  (SELECT t.model FROM turns t WHERE t.sample = s.id AND t.model IS NOT NULL ORDER BY t.position DESC LIMIT 1) AS model,
  (SELECT t.role FROM turns t WHERE t.sample = s.id ORDER BY t.position DESC LIMIT 1) IS 'assistant' AS answered,
  (SELECT json_group_array(json_object('role', role, 'content', content)) FROM (
     SELECT t.role AS role, coalesce(json_extract(
       (SELECT r.edits FROM reviews r WHERE r.sample = s.id ORDER BY r.id DESC LIMIT 1),
       '$."' || t.position || '"'), t.content) AS content
     FROM turns t WHERE t.sample = s.id ORDER BY t.position)) AS messages
FROM samples s JOIN verdicts v ON v.sample = s.id
WHERE v.kept = 1;
"""

# `shards` says in a shard's store which part of a job it is, and in a store that shards were merged into where each
# part of a run was made. `merge_waiting` holds rows that were merged and not compared with the others yet.
_SHARDS = """
CREATE TABLE shards (
  run TEXT NOT NULL REFERENCES runs(id), shard INTEGER NOT NULL, shards INTEGER NOT NULL, job TEXT NOT NULL,
  expected TEXT NOT NULL, target INTEGER NOT NULL, total INTEGER NOT NULL, state TEXT NOT NULL, host TEXT,
  backend TEXT NOT NULL, model TEXT NOT NULL, revision TEXT, sha256 TEXT, template_hash TEXT, versions TEXT NOT NULL,
  started TEXT, finished TEXT, merged TEXT, events INTEGER NOT NULL, PRIMARY KEY (run, shard)
) STRICT, WITHOUT ROWID;
CREATE TABLE merge_waiting (sample INTEGER PRIMARY KEY REFERENCES samples(id)) STRICT;
"""

# A person's tags, the id of the bulk action that a review is part of, and the topic of `detail` as a column. The
# indexes serve lists that are narrowed or put in the order of a score: `sample >> 36` is the same for a whole run.
_REVIEWING = """
ALTER TABLE reviews ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
ALTER TABLE reviews ADD COLUMN batch TEXT;
ALTER TABLE samples ADD COLUMN topic TEXT;
UPDATE samples SET topic = json_extract(detail, '$.topic') WHERE json_valid(detail);
CREATE INDEX reviews_tagged ON reviews (sample) WHERE tags <> '[]';
CREATE INDEX reviews_batch ON reviews (batch, sample) WHERE batch IS NOT NULL;
CREATE INDEX scores_value ON scores (sample >> 36, name, value, sample) WHERE value IS NOT NULL;
CREATE INDEX turns_model ON turns (sample >> 36, model, sample) WHERE model IS NOT NULL;
CREATE INDEX samples_topic ON samples (id >> 36, topic) WHERE topic IS NOT NULL;
"""

# What bounds were put on scores and taken back, what is not judged by them yet, and what the rules themselves had said.
_THRESHOLDS = """
CREATE TABLE thresholds (
  id INTEGER PRIMARY KEY, batch INTEGER NOT NULL, score TEXT NOT NULL, low REAL, high REAL, source TEXT NOT NULL,
  undoes INTEGER, created TEXT NOT NULL
) STRICT;
CREATE TABLE thresholds_waiting (score TEXT PRIMARY KEY, after INTEGER NOT NULL) STRICT;
CREATE TABLE rulings (
  sample INTEGER NOT NULL REFERENCES samples(id), name TEXT NOT NULL, version INTEGER NOT NULL, passed INTEGER,
  reason TEXT NOT NULL, PRIMARY KEY (sample, name, version)
) STRICT, WITHOUT ROWID;
"""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database of an earlier version up to VERSION, inside the caller's transaction."""
    from sqlite_utils import Database, Migrations

    migrations = Migrations("localsynth")

    @migrations()
    def m001_first_schema(db: Any) -> None:
        for script in (_TABLES, _SEARCH, _VIEWS):
            for statement in _statements(script):
                db.conn.execute(statement)
        db.conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.conn.execute("PRAGMA user_version = 1")

    @migrations()
    def m002_shards(db: Any) -> None:
        for statement in _statements(_SHARDS):
            db.conn.execute(statement)
        db.conn.execute("PRAGMA user_version = 2")

    @migrations()
    def m003_reviewing(db: Any) -> None:
        for statement in _statements(_REVIEWING):
            db.conn.execute(statement)
        db.conn.execute("PRAGMA user_version = 3")

    @migrations()
    def m004_thresholds(db: Any) -> None:
        for statement in _statements(_THRESHOLDS):
            db.conn.execute(statement)
        db.conn.execute("PRAGMA user_version = 4")

    migrations.apply(Database(connection, recursive_triggers=False))


def _statements(script: str) -> list[str]:
    """Split at the ends of statements; executescript would commit the transaction that makes a step whole."""
    import sqlite3

    statements, start = [], 0
    for end, character in enumerate(script, start=1):
        if character == ";" and sqlite3.complete_statement(script[start:end]):
            statements.append(script[start:end])
            start = end
    return statements
