"""Full text: Chinese, Japanese and Korean one character a token, the rest by words.

The index (`search`) is filled behind the writer, up to the turn id in `search_state`, so that it never delays a
commit: it adds about a third to the cost of a row. System turns are left out: they repeat and would match everything.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from contextlib import closing, suppress
from pathlib import Path

from localsynth.errors import StoreError
from localsynth.store.connect import faults, lenient, open_writer, transaction

_CJK = re.compile(
    "([\u1100-\u11ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f"
    "\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff])"
)
_UNSEARCHABLE = re.compile("[\x00\ud800-\udfff]")


def spaced(text: str) -> str:
    """The text as the index sees it: compatibility forms folded, a space around every CJK character."""
    if text.isascii():
        return text.replace("\x00", " ")
    return _UNSEARCHABLE.sub(" ", _CJK.sub(r" \1 ", unicodedata.normalize("NFKC", text)))


def match_query(text: str) -> str:
    """What a person typed as an FTS5 query: every term must occur; "quoted words" stand together; over* is a prefix.

    Nothing a person types is FTS5 syntax, so no input is an error. "" when there is no term in it.
    """
    terms = []
    for quoted, word in re.findall(r'"([^"]*)"|([^\s"]+)', text):
        phrase = spaced(quoted or word).replace('"', " ")  # some become one there
        if any(character.isalnum() for character in phrase):
            prefix = "*" if word.endswith("*") else ""
            terms.append(f'"{phrase}"{prefix}')
    return " AND ".join(terms)


def catch_up(path: Path, reader: sqlite3.Connection) -> None:
    """Index what a killed run left behind; where the store cannot be written now, the search goes without it."""
    sql = "SELECT indexed < (SELECT max(id) FROM turns) OR EXISTS (SELECT 1 FROM search_stale) FROM search_state"
    with faults(path):
        (behind,) = reader.execute(sql).fetchone()
    if behind:
        with suppress(StoreError), closing(open_writer(path, create=False, wait=0.2)) as writer:
            while index(path, writer):
                pass


def index(path: Path, connection: sqlite3.Connection, limit: int = 500) -> int:
    """Index up to `limit` waiting turns in one transaction; returns how many were looked at, 0 when none waits."""
    with faults(path), lenient(connection), transaction(connection):
        gone, added, seen = _waiting(connection, limit)
        connection.executemany("INSERT INTO search (search, rowid, text) VALUES ('delete', ?, ?)", gone)
        connection.executemany("INSERT INTO search (rowid, text) VALUES (?, ?)", added)
    return seen


def _waiting(connection: sqlite3.Connection, limit: int) -> tuple[list[tuple[int, str]], list[tuple[int, str]], int]:
    """Entries to take out, entries to put in, and how many turns that was; marks them as done."""
    stale = connection.execute(
        "SELECT turn, role, s.content, t.content FROM search_stale s JOIN turns t ON t.id = s.turn LIMIT ?", (limit,)
    ).fetchall()
    connection.executemany("DELETE FROM search_stale WHERE turn = ?", [(turn,) for turn, *_ in stale])
    new = connection.execute(
        "SELECT id, role, content FROM turns WHERE id > (SELECT indexed FROM search_state) ORDER BY id LIMIT ?",
        (limit,),
    ).fetchall()
    if new:
        connection.execute("UPDATE search_state SET indexed = ?", (new[-1][0],))
    gone = [(turn, spaced(old)) for turn, role, old, _ in stale if role != "system"]
    added = [(turn, spaced(content)) for turn, role, _, content in stale if role != "system"]
    added += [(turn, spaced(content)) for turn, role, content in new if role != "system"]
    return gone, added, len(stale) + len(new)
