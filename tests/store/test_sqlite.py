"""The store in a file: who may read it, how it handles a file that it cannot use, and its versions."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.platforms import posix
from waha_mcp.store import Count, Full, Limit, StoreAway
from waha_mcp.store.folders import user_store
from waha_mcp.store.holders import Holders
from waha_mcp.store.sqlite import Sqlite

#: The statements of the first version, as they were released.
VERSION_1 = """
CREATE TABLE row (
    number INTEGER PRIMARY KEY AUTOINCREMENT, tab TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, expires REAL,
    UNIQUE (tab, key)
);
CREATE INDEX row_expires ON row (expires) WHERE expires IS NOT NULL;
CREATE TABLE event (number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX event_key ON event (key, at);
CREATE INDEX event_at ON event (at);
INSERT INTO row (tab, key, value) VALUES ('question', 'assistant/1', 'Hello?');
INSERT INTO event (key, at) VALUES ('total', strftime('%s', 'now'));
PRAGMA user_version = 1;
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "store.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Sqlite]:
    made = Sqlite(path, wait=0.2)
    yield made
    made.close()


def make(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


def names(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


# Opening


def test_no_file_is_made_before_the_first_step(path: Path, store: Sqlite) -> None:
    assert not path.parent.exists()
    assert store.get("a", "key") is None
    assert path.exists()


def test_what_was_written_is_there_after_closing(path: Path, store: Sqlite) -> None:
    store.swap("a", "key", None, "value")
    store.take([Count("key")])
    process = store.process
    store.close()
    assert names(path) == ["store.lock", "store.sqlite"]
    assert store.get("a", "key") == "value"
    with pytest.raises(Full):
        store.take([Count("key", (Limit(1, 60),))])
    assert not store.alive(process)


def test_the_users_store_lies_in_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with closing(user_store()) as store:
        assert store.swap("a", "key", None, "value")
    assert (tmp_path / "waha-mcp" / "store.sqlite").is_file()


@posix
def test_only_the_user_can_look_into_it_whatever_the_umask(path: Path, store: Sqlite) -> None:
    before = os.umask(0)
    try:
        store.swap("a", "key", None, "value")
    finally:
        os.umask(before)
    assert names(path) == ["store.lock", "store.sqlite", "store.sqlite-shm", "store.sqlite-wal"]
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


@posix
def test_a_file_that_stood_open_is_closed(path: Path, store: Sqlite) -> None:
    store.swap("a", "key", None, "value")
    store.close()
    for each in path.parent.iterdir():
        each.chmod(0o666)
    path.parent.chmod(0o755)
    assert store.get("a", "key") == "value"
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


@posix
def test_a_link_is_not_followed(path: Path, store: Sqlite, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    make(elsewhere, VERSION_1)
    before = elsewhere.read_bytes()
    path.parent.mkdir()
    path.symlink_to(elsewhere)
    with pytest.raises(StoreAway, match="link"):
        store.swap("a", "key", None, "value")
    assert elsewhere.read_bytes() == before
    path.unlink()
    path.with_suffix(".lock").unlink()
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreAway, match="link"):
        store.swap("a", "key", None, "value")
    assert not (tmp_path / "nowhere").exists()


@posix
def test_a_link_in_place_of_the_lock_file_is_not_followed(path: Path, store: Sqlite, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.with_suffix(".lock").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreAway):
        store.get("a", "key")
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_in_place_of_the_file_is_left_alone(path: Path, store: Sqlite) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StoreAway, match="no file"):
        store.get("a", "key")
    assert path.is_dir()


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    store = Sqlite(tmp_path / "state" / "store.sqlite")
    with pytest.raises(StoreAway) as away:
        store.get("a", "key")
    assert str(away.value).startswith(f"The store {tmp_path / 'state' / 'store.sqlite'} cannot be used: ")
    assert "\n" not in str(away.value)


@posix
def test_a_folder_that_may_not_be_written_is_one_clear_line() -> None:
    code = """
import os, pathlib, sys
from waha_mcp.store import StoreAway
from waha_mcp.store.sqlite import Sqlite
if os.geteuid() == 0:
    os.seteuid(65534)  # root may write everywhere
try:
    Sqlite(pathlib.Path(sys.argv[1]) / "store.sqlite").get("a", "key")
except StoreAway as away:
    print(away)
"""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert "Permission denied" in done.stdout
    assert done.stdout.count("\n") == 1


# Locked, full, moved


def test_a_file_that_another_holds_for_too_long_is_away_and_then_back(path: Path, store: Sqlite) -> None:
    store.swap("a", "key", None, "value")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert store.get("a", "key") == "value"
        for step in (lambda: store.swap("a", "key", "value", "new"), lambda: store.take([Count("key")])):
            with pytest.raises(StoreAway, match="another process has held it"):
                step()
        other.execute("ROLLBACK")
    assert store.swap("a", "key", "value", "new")


def test_a_store_that_another_is_opening_for_too_long_is_away_and_then_back(path: Path, store: Sqlite) -> None:
    path.parent.mkdir()
    holders, name = Holders.join(path.with_suffix(".lock"))
    with holders.opening(1), pytest.raises(StoreAway, match="opening"):
        store.get("a", "key")
    holders.leave(name)
    assert store.get("a", "key") is None


def test_on_a_full_disk_nothing_is_half_written(store: Sqlite) -> None:
    store.swap("a", "key", None, "value")
    assert store._connection is not None
    [pages] = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreAway, match="disk is full"):
        store.swap("a", "key", "value", "x" * 1_000_000)
    assert store.get("a", "key") == "value"
    store._connection.execute("PRAGMA max_page_count = 100000")
    assert store.swap("a", "key", "value", "new")


def test_a_file_that_is_gone_is_not_written_any_more(path: Path, store: Sqlite) -> None:
    store.swap("a", "key", None, "value")
    path.unlink()
    with closing(Sqlite(path)) as beside:
        assert beside.get("a", "key") is None
        beside.swap("a", "key", None, "new")
        assert store.get("a", "key") == "new"


def test_a_log_that_lies_beside_no_file_is_not_read_into_a_new_one(path: Path, store: Sqlite) -> None:
    store.swap("a", "key", None, "value")
    log = path.with_name("store.sqlite-wal")
    kept = log.read_bytes()
    assert kept
    store.close()
    path.unlink()
    log.write_bytes(kept)
    assert store.get("a", "key") is None
    assert store.swap("a", "key", None, "new")


# Damage


def overwritten(path: Path) -> None:
    path.write_bytes(b"this was a store once" * 1000)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def scrambled(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for page in range(1, len(data) // 4096):
        data[page * 4096 : page * 4096 + 100] = b"\xa5" * 100
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [overwritten, emptied, cut, scrambled])
def test_a_damaged_file_is_moved_aside_and_nothing_starts_from_zero_until_the_user_says_so(
    damage: Callable[[Path], None], path: Path, store: Sqlite, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(50):
        store.swap("a", str(number), None, "x" * 1000)
    store.close()
    damage(path)
    damaged = path.read_bytes()
    with pytest.raises(StoreAway) as away:
        store.get("a", "1")
    [aside] = path.parent.glob("store.sqlite.damaged-*")
    assert aside.read_bytes() == damaged
    assert not path.exists()
    assert str(aside) in str(away.value)
    [line] = [record.getMessage() for record in caplog.records]
    assert str(path) in line
    assert str(aside) in line
    # Another start, or another process, finds the same.
    with closing(Sqlite(path)) as later:
        for step in (lambda: later.get("a", "1"), lambda: later.swap("a", "1", None, "x"), lambda: later.take([])):
            with pytest.raises(StoreAway) as still:
                step()
            assert str(still.value) == str(away.value)
    assert not path.exists()
    aside.rename(path.parent.parent / "kept")
    assert store.get("a", "1") is None
    assert store.swap("a", "1", None, "new")


def test_damage_that_shows_while_the_file_is_open_is_found_by_all_who_have_it_open(path: Path, store: Sqlite) -> None:
    # More than SQLite keeps in memory.
    for number in range(40):
        store.swap("a", str(number), None, "x" * 100_000)
    store.close()
    with closing(Sqlite(path)) as beside:
        assert beside.get("a", "1")
        assert store.get("a", "1")
        scrambled(path)
        for each in (store, beside):
            with pytest.raises(StoreAway, match="damaged"):
                each.rows("a")
        # Its write-ahead log was moved with it.
        assert len(list(path.parent.glob("*.damaged-*-wal"))) == 1
        assert [each for each in names(path) if "damaged" not in each] == ["store.lock"]
        for each in (store, beside):
            with pytest.raises(StoreAway, match="damaged"):
                each.swap("a", "new", None, "value")
    assert len(list(path.parent.glob("*.damaged-*Z"))) == 1


def test_a_damaged_file_that_cannot_be_moved_stays_away(
    path: Path, store: Sqlite, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.swap("a", "key", None, "value")
    store.close()
    overwritten(path)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "in use")

    with monkeypatch.context() as held:
        held.setattr(Path, "replace", refuse)
        for _ in range(2):
            with pytest.raises(StoreAway, match="cannot be moved aside"):
                store.get("a", "key")
    assert path.exists()


# Versions


def test_a_file_of_the_first_version_is_read_on(path: Path, store: Sqlite) -> None:
    make(path, VERSION_1)
    assert store.get("question", "assistant/1") == "Hello?"
    with pytest.raises(Full):
        store.take([Count("total", (Limit(1, 3600),))])
    assert store.swap("question", "assistant/1", "Hello?", None)


def test_a_file_of_an_older_version_is_brought_to_the_newest_in_one_step(
    path: Path, store: Sqlite, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(path, VERSION_1)
    second = ("ALTER TABLE event ADD COLUMN app TEXT NOT NULL DEFAULT ''",)
    broken = ("ALTER TABLE row ADD COLUMN more TEXT", "no SQL")
    with monkeypatch.context() as later:
        later.setattr(Sqlite, "MIGRATIONS", (*Sqlite.MIGRATIONS, second, broken))
        with pytest.raises(StoreAway):
            store.get("question", "assistant/1")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM pragma_table_info('event')").fetchone() == (3,)
    monkeypatch.setattr(Sqlite, "MIGRATIONS", (*Sqlite.MIGRATIONS, second))
    assert store.get("question", "assistant/1") == "Hello?"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT key, app FROM event").fetchall() == [("total", "")]
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_file_of_a_newer_version_is_left_as_it_is(path: Path, store: Sqlite) -> None:
    make(path, VERSION_1 + "ALTER TABLE event ADD COLUMN app TEXT; PRAGMA user_version = 99")
    before = path.read_bytes()
    for step in (lambda: store.get("a", "key"), lambda: store.swap("a", "key", None, "value")):
        with pytest.raises(StoreAway, match="newer version of waha-mcp"):
            step()
    assert path.read_bytes() == before
    assert list(path.parent.glob("*damaged*")) == []


def test_a_file_that_a_newer_version_changes_while_it_is_open_is_not_written_any_more(
    path: Path, store: Sqlite
) -> None:
    store.swap("a", "key", None, "value")
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreAway, match="newer version of waha-mcp"):
        store.swap("a", "key", "value", "new")


def test_a_database_of_another_program_is_no_store(path: Path, store: Sqlite) -> None:
    make(path, "CREATE TABLE theirs (a)")
    with pytest.raises(StoreAway, match="damaged"):
        store.get("a", "key")
    [aside] = path.parent.glob("store.sqlite.damaged-*")
    with closing(sqlite3.connect(aside)) as connection:
        assert connection.execute("SELECT count(*) FROM theirs").fetchone() == (0,)
