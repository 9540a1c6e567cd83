"""The file of the local index: its tables, the full-text index (FTS5) over them, and how lines are folded for it.

The trigrams of folded lines are indexed: they find parts of words in every script. Which messages hold which trigrams
is all that FTS5 keeps (`detail=none`), and the lines are not stored twice (external content).
"""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Iterable
from contextlib import closing
from sqlite3 import Connection

from waha_mcp.store import StoreAway
from waha_mcp.store.database import Damaged, Database
from waha_mcp.whatsapp.folding import fold_text

#: The version of the folding, stored in `meta`: when it differs, all lines are indexed again.
FOLDING = f"1/{unicodedata.unidata_version}"


class NoTrigrams(StoreAway):
    """This Python's SQLite cannot index the parts of words."""


def lines_of(text: str | None, extra: str | None, transcript: str | None) -> str:
    """The folded lines of a message, as they are indexed."""
    whole = "\n".join(part for part in (text, extra, transcript) if part)
    # Two more characters, so that every character begins a trigram.
    return folded_lines(whole.splitlines()) + "\n\n" if whole else ""


def folded_lines(lines: Iterable[str]) -> str:
    """Lines folded for searching."""
    return "\n".join(map(fold_text, lines))


class IndexFile(Database):
    """The file of an index."""

    WHAT = "index"
    MIGRATIONS = (
        (
            "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
            """CREATE TABLE chat (
                number INTEGER PRIMARY KEY,
                id TEXT NOT NULL UNIQUE,
                head INTEGER NOT NULL,
                last TEXT,
                unread TEXT
            )""",
            "CREATE TABLE person (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, pushname TEXT)",
            """CREATE TABLE message (
                number INTEGER PRIMARY KEY,
                moved INTEGER NOT NULL,
                chat INTEGER NOT NULL,
                sender INTEGER,
                participant INTEGER,
                kind INTEGER NOT NULL,
                has INTEGER NOT NULL,
                id BLOB NOT NULL,
                expires INTEGER,
                text TEXT,
                extra TEXT,
                transcript TEXT,
                digest BLOB
            )""",
            "CREATE INDEX message_chat ON message (chat, number)",
            # A prefix of the id tells nearly all messages apart and takes half the space.
            "CREATE INDEX message_id ON message (substr(id, 1, 6))",
            "CREATE INDEX message_expires ON message (expires) WHERE expires IS NOT NULL",
            "CREATE INDEX message_digest ON message (digest) WHERE digest IS NOT NULL",
            # Never reuse a number: a gap may be dropped, and others created, while it is being read.
            """CREATE TABLE gap (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                chat INTEGER NOT NULL,
                late INTEGER NOT NULL,
                since INTEGER,
                second INTEGER NOT NULL,
                place TEXT NOT NULL
            )""",
            "CREATE INDEX gap_second ON gap (second)",
            "CREATE INDEX gap_chat ON gap (chat)",
            "CREATE TABLE doubt (number INTEGER PRIMARY KEY)",
            "CREATE TABLE forgotten (chat BLOB PRIMARY KEY, second INTEGER NOT NULL) WITHOUT ROWID",
            "CREATE VIEW lines AS SELECT number, lines_of(text, extra, transcript) AS folded FROM message",
            """CREATE VIRTUAL TABLE words USING fts5(
                folded, content='lines', content_rowid='number', columnsize=0, detail=none,
                tokenize='trigram case_sensitive 1'
            )""",
            """CREATE TRIGGER message_added AFTER INSERT ON message BEGIN
                INSERT INTO words (rowid, folded) VALUES (new.number, lines_of(new.text, new.extra, new.transcript));
            END""",
            """CREATE TRIGGER message_changed AFTER UPDATE OF text, extra, transcript ON message BEGIN
                INSERT INTO words (words, rowid, folded)
                    VALUES ('delete', old.number, lines_of(old.text, old.extra, old.transcript));
                INSERT INTO words (rowid, folded) VALUES (new.number, lines_of(new.text, new.extra, new.transcript));
            END""",
            """CREATE TRIGGER message_deleted AFTER DELETE ON message BEGIN
                INSERT INTO words (words, rowid, folded)
                    VALUES ('delete', old.number, lines_of(old.text, old.extra, old.transcript));
                DELETE FROM doubt WHERE number = old.number;
            END""",
        ),
    )

    def _set_up(self, connection: Connection) -> None:
        super()._set_up(connection)
        connection.create_function("lines_of", 3, lines_of, deterministic=True)
        _try_trigrams(connection)
        connection.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, words, row)")

    def _check(self, connection: Connection) -> None:
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        if not names >= {"meta", "message", "words"}:
            raise Damaged("it is not an index")


def no_trigrams() -> str | None:
    """Why this Python cannot have an index; None if it can."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            _try_trigrams(connection)
        except NoTrigrams as error:
            return str(error)
    return None


def _try_trigrams(connection: Connection) -> None:
    """Check that parts of words can be indexed.

    Raises:
        NoTrigrams: they cannot.
    """
    try:
        connection.execute("CREATE VIRTUAL TABLE temp.trial USING fts5(a, tokenize='trigram')")
    except sqlite3.OperationalError as error:
        raise NoTrigrams(
            f"The index needs SQLite 3.34 or newer with FTS5; this Python has {sqlite3.sqlite_version} ({error}): "
            "use a Python that brings one, as those of python.org and uv do."
        ) from None
    connection.execute("DROP TABLE temp.trial")
