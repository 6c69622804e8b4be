"""Full text: Chinese, Japanese and Korean one character a token, the rest by words.

The index (`search`) is filled behind the writer, up to the turn id in `search_state`: indexing while rows come in
would cost as much as writing them. System turns are left out: they repeat and would match everything.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata

_CJK = re.compile(
    "([\u1100-\u11ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f"
    "\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff])"
)


def spaced(text: str) -> str:
    """The text as the index sees it: compatibility forms folded, a space around every CJK character, no NUL."""
    if text.isascii():
        return text.replace("\x00", " ")
    return _CJK.sub(r" \1 ", unicodedata.normalize("NFKC", text)).replace("\x00", " ")


def match_query(text: str) -> str:
    """What a person typed as an FTS5 query: every term must occur; "quoted words" stand together; over* is a prefix.

    Nothing a person types is FTS5 syntax, so no input is an error. "" when there is no term in it.
    """
    terms = []
    for quoted, word in re.findall(r'"([^"]*)"|([^\s"]+)', text):
        phrase = spaced(quoted or word)
        if any(character.isalnum() for character in phrase):
            prefix = "*" if word.endswith("*") else ""
            terms.append(f'"{phrase}"{prefix}'.replace("\x00", " "))
    return " AND ".join(terms)


def backlog(connection: sqlite3.Connection) -> int:
    """How many turns wait to be indexed, at most (system turns are counted)."""
    sql = (
        "SELECT (SELECT coalesce(max(id), 0) FROM turns) - indexed + (SELECT count(*) FROM search_stale) "
        "FROM search_state"
    )
    return int(connection.execute(sql).fetchone()[0])


def index(connection: sqlite3.Connection, limit: int = 500) -> int:
    """Index up to `limit` waiting turns inside the caller's transaction; returns how many were looked at."""
    (start,) = connection.execute("SELECT indexed FROM search_state").fetchone()
    stale = connection.execute(
        "SELECT turn, role, s.content, t.content FROM search_stale s JOIN turns t ON t.id = s.turn LIMIT ?", (limit,)
    ).fetchall()
    new = connection.execute(
        "SELECT id, role, content FROM turns WHERE id > ? ORDER BY id LIMIT ?", (start, limit)
    ).fetchall()
    gone = [(turn, spaced(old)) for turn, role, old, _ in stale if role != "system"]
    connection.executemany("INSERT INTO search (search, rowid, text) VALUES ('delete', ?, ?)", gone)
    added = [(turn, spaced(content)) for turn, role, _, content in stale if role != "system"]
    added += [(turn, spaced(content)) for turn, role, content in new if role != "system"]
    connection.executemany("INSERT INTO search (rowid, text) VALUES (?, ?)", added)
    connection.executemany("DELETE FROM search_stale WHERE turn = ?", [(turn,) for turn, *_ in stale])
    if new:
        connection.execute("UPDATE search_state SET indexed = ?", (new[-1][0],))
    return len(stale) + len(new)
