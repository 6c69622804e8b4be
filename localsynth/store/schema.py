"""What the tables mean, for the README and for a person with `sqlite3`: columns come from the real schema."""

from __future__ import annotations

import sqlite3

from localsynth.store.migrations import migrate

MEANINGS = {
    "runs": "one run: method, backend, model with revision and hash, the whole plan, seed, target, state, times",
    "samples": "one attempt at one row, unique by run, idx and attempt; `state` is only where the work stands",
    "turns": "one message; `raw` is the model's own text, NULL where it equals `content`; `rules` changed it",
    "scores": "one filter's word: `passed` 0 rejects, 1 passes, NULL only informs; the highest version wins",
    "rulings": "what a rule itself had said where a threshold overruled it: the way back",
    "thresholds": "bounds put on scores and taken back (`undoes` a batch); nothing is overwritten, the latest wins",
    "thresholds_waiting": "scores that are judged by their bounds only up to the sample `after`; empty when all are",
    "instruction_keys": "instructions that the gate admitted, with the hash of the normalised text",
    "embeddings": "unit vectors, float16 little-endian; `content_hash` says for which text",
    "neighbours": "cosine similarity to the nearest samples, so that a threshold moves without embedding again",
    "candidates": "every answer that was written, chosen or not",
    "pairs": "preference rows: `chosen` is better than `rejected` by `margin`",
    "reviews": "a person's verdicts, notes, edits and tags; the latest wins; `batch` is a bulk action",
    "events": "what a run said, kept for good",
    "progress": "the latest word of each run on itself, overwritten",
    "control": "what a run was told: pause, resume, drain, cancel, slots; `done` when it took it",
    "shards": "the parts of a run that was handed over: where and with what each was made, when it was last merged",
    "merge_waiting": "rows that were merged and are not compared with the others yet; empty after a whole merge",
    "exports": "files that were exported: path, format, which rows, how many, sha256",
    "search": "full-text index over user and assistant turns; `rowid` is the turn's id",
    "search_state": "the turn id up to which `search` is filled",
    "search_stale": "turns that changed after they were indexed, with the text that was indexed",
    "verdicts": "view: whether each sample is kept, by whose word, and its first failing score",
    "dataset": "view: what is kept, as messages JSON with the latest edits applied",
}


def schema_markdown() -> str:
    """A Markdown table of every table and view of the current schema: name, meaning, columns."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(connection)
        lines = ["| table | holds | columns |", "|---|---|---|"]
        for name in tables(connection):
            columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA table_info({name})"))
            lines.append(f"| {name} | {MEANINGS[name]} | {columns} |")
    finally:
        connection.close()
    return "\n".join(lines) + "\n"


def tables(connection: sqlite3.Connection) -> list[str]:
    """The tables and views that are ours, in the order of MEANINGS; KeyError for one without a meaning."""

    sql = (
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
        "AND name NOT IN ('_sqlite_migrations', 'search_data', 'search_idx', 'search_docsize', 'search_config')"
    )
    order = {name: position for position, name in enumerate(MEANINGS)}
    return sorted((row[0] for row in connection.execute(sql)), key=lambda name: order[name])
