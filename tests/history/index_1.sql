CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE chat (
                number INTEGER PRIMARY KEY,
                id TEXT NOT NULL UNIQUE,
                head INTEGER NOT NULL,
                last TEXT,
                unread TEXT
            );
CREATE TABLE person (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, pushname TEXT);
CREATE TABLE message (
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
            );
CREATE INDEX message_chat ON message (chat, number);
CREATE INDEX message_id ON message (substr(id, 1, 6));
CREATE INDEX message_expires ON message (expires) WHERE expires IS NOT NULL;
CREATE INDEX message_digest ON message (digest) WHERE digest IS NOT NULL;
CREATE TABLE gap (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                chat INTEGER NOT NULL,
                late INTEGER NOT NULL,
                since INTEGER,
                second INTEGER NOT NULL,
                place TEXT NOT NULL
            );
CREATE INDEX gap_second ON gap (second);
CREATE INDEX gap_chat ON gap (chat);
CREATE TABLE doubt (number INTEGER PRIMARY KEY);
CREATE TABLE forgotten (chat BLOB PRIMARY KEY, second INTEGER NOT NULL) WITHOUT ROWID;
CREATE VIEW lines AS SELECT number, lines_of(text, extra, transcript) AS folded FROM message;
CREATE VIRTUAL TABLE words USING fts5(
                folded, content='lines', content_rowid='number', columnsize=0, detail=none,
                tokenize='trigram case_sensitive 1'
            );
CREATE TRIGGER message_added AFTER INSERT ON message BEGIN
                INSERT INTO words (rowid, folded) VALUES (new.number, lines_of(new.text, new.extra, new.transcript));
            END;
CREATE TRIGGER message_changed AFTER UPDATE OF text, extra, transcript ON message BEGIN
                INSERT INTO words (words, rowid, folded)
                    VALUES ('delete', old.number, lines_of(old.text, old.extra, old.transcript));
                INSERT INTO words (rowid, folded) VALUES (new.number, lines_of(new.text, new.extra, new.transcript));
            END;
CREATE TRIGGER message_deleted AFTER DELETE ON message BEGIN
                INSERT INTO words (words, rowid, folded)
                    VALUES ('delete', old.number, lines_of(old.text, old.extra, old.transcript));
                DELETE FROM doubt WHERE number = old.number;
            END;
INSERT INTO chat VALUES (1, '120363000000000001@g.us', 1700000000, '3EB0', NULL), (2, '12025550123@c.us', 1699999999, NULL, NULL);
INSERT INTO person VALUES (1, '12025550123@c.us', 'Sam');
INSERT INTO message VALUES
    (13600000000, 0, 1, NULL, 1, 0, 0, X'3EB0', NULL, 'The kestrel flies', NULL, NULL, NULL),
    (13599999999, 0, 2, NULL, NULL, 0, 1024, X'3EB1', NULL, 'Own words', NULL, NULL, NULL);
INSERT INTO gap VALUES (7, 2, 0, NULL, 1699999999, '[1699999999, "true_12025550123@c.us_3EB1", 3]');
INSERT INTO meta VALUES ('moved', 0);
PRAGMA user_version = 1;
