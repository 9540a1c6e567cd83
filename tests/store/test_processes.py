"""Several real processes on one file, or on one Redis."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests.store.processes import ended, go, opened, start, together
from waha_mcp.store import Count, Full, Limit
from waha_mcp.store.sqlite import Sqlite

pytestmark = pytest.mark.slow


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "store.sqlite"


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest) -> Path | str:
    """The location of the store, as `opened` takes it."""
    if request.param == "redis":
        url: str = request.getfixturevalue("redis_server").url
        return url
    path: Path = request.getfixturevalue("path")
    return path


def test_a_number_that_all_count_up_misses_no_step(place: Path | str) -> None:
    lines = """
for _ in range(100):
    while not store.swap("a", "n", before := store.get("a", "n"), str(int(before or 0) + 1)):
        pass
"""
    together(place, lines, 4)
    with closing(opened(place)) as store:
        assert store.get("a", "n") == "400"


def test_of_all_who_want_a_row_one_gets_it(place: Path | str) -> None:
    lines = """
for n in range(100):
    if store.swap("a", str(n), None, str(number)):
        print(n)
"""
    won = [line for out in together(place, lines, 4) for line in out.split()]
    assert Counter(won) == {str(n): 1 for n in range(100)}


def test_all_together_take_what_the_limit_allows_and_give_back_their_own(place: Path | str) -> None:
    lines = """
counts = [Count("chat", (Limit(1000, 3600),)), Count("total", (Limit(50, 3600),))]
for n in range(60):
    try:
        taken = store.take(counts)
    except Full:
        continue
    if n % 3:
        print("sent")
    else:
        store.give_back(taken)
"""
    sent = sum(out.count("sent") for out in together(place, lines, 4))
    with closing(opened(place)) as store:
        left = 0
        while True:
            try:
                store.take([Count("total", (Limit(50, 3600),))])
            except Full:
                break
            left += 1
        assert sent + left == 50
        # An event that a full limit rejected was not counted for the other limit.
        store.check([Count("chat", (Limit(sent + 1, 3600),))])
        with pytest.raises(Full):
            store.check([Count("chat", (Limit(sent, 3600),))])


def test_a_process_is_known_to_be_alive_until_it_ends(path: Path) -> None:
    lines = """
print(store.process, flush=True)
sys.stdin.readline()
"""
    with closing(Sqlite(path)) as store:
        running = [start(path, lines) for _ in range(2)]
        found = []
        for each in running:
            go(each)
            assert each.stdout is not None
            found.append(each.stdout.readline().strip())
        assert [store.alive(name) for name in found] == [True, True]
        running[0].kill()
        running[0].communicate()
        assert [store.alive(name) for name in found] == [False, True]
        # Closing one of several stores of a process says nothing about the others.
        Sqlite(path).close()
        with closing(Sqlite(path)) as beside:
            mine = beside.process
            assert store.alive(mine)
            assert beside.alive(store.process)
        assert not store.alive(mine)
        go(running[1])
        running[1].wait(timeout=60)
        assert not store.alive(found[1])
        ended(running[1:])


def test_a_process_that_still_has_it_open_sees_another_of_ours_alive(place: Path | str) -> None:
    with closing(opened(place)) as store, closing(opened(place)) as beside:
        names = f"{store.process} {beside.process}"
        [out] = together(place, f"print([store.alive(name) for name in {names!r}.split()])", 1)
        assert out == "[True, True]\n"
        beside.close()
        [out] = together(place, f"print([store.alive(name) for name in {names!r}.split()])", 1)
        assert out == "[True, False]\n"


def test_whoever_is_killed_amid_its_writes_leaves_whole_steps(path: Path) -> None:
    lines = """
n = 0
while True:
    n += 1
    assert store.swap("of", f"{number}/{n}", None, str(n) * 500)
    store.take([Count(f"a/{number}"), Count(f"b/{number}")])
    print(n, flush=True)
"""
    for number in range(4):
        process = start(path, lines, number)
        go(process)
        assert process.stdout is not None
        lines_read = [process.stdout.readline() for _ in range(20 + number)]
        process.kill()
        out = process.stdout.read()  # communicate() would leave out lines that are buffered here
        process.communicate()
        told = int([*lines_read, *out.split()][-1])
        with closing(Sqlite(path)) as store:
            rows = store.rows("of", f"{number}/")
            # Every step that was answered is there; at most one more was written without its answer.
            assert told <= len(rows) <= told + 1
            assert [row.value for row in rows] == [str(n) * 500 for n in range(1, len(rows) + 1)]
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            counts = dict(connection.execute("SELECT key, count(*) FROM event GROUP BY key"))
            assert counts[f"a/{number}"] == counts[f"b/{number}"]


def test_of_processes_that_repeat_the_same_call_one_begins(place: Path | str) -> None:
    lines = """
from waha_mcp.policy.repeats import Repeated, Repeats
repeats = Repeats("one", store)
for n in range(20):
    try:
        attempt = repeats.begin(f"digest {n}")
    except Repeated:
        continue
    print(n)
    repeats.end(f"digest {n}", attempt, "done")
"""
    begun = [line for out in together(place, lines, 4) for line in out.split()]
    assert Counter(begun) == {str(n): 1 for n in range(20)}


def test_whoever_is_killed_while_it_opens_the_store_holds_up_nobody(path: Path) -> None:
    lines = """
store.process
with store._holders.opening(1):
    print("opening", flush=True)
    sys.stdin.readline()
"""
    process = start(path, lines)
    go(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "opening\n"
    process.kill()
    process.communicate()
    with closing(Sqlite(path)) as store:
        assert store.swap("a", "key", None, "value")


def test_a_window_that_is_full_for_one_process_is_full_for_the_next(place: Path | str) -> None:
    lines = """
try:
    store.take([Count("total", (Limit(3, 3600),))])
    print("sent")
except Full as full:
    print("full")
store.close()
"""
    found = [together(place, lines, 1)[0].strip() for _ in range(5)]
    assert found == ["sent", "sent", "sent", "full", "full"]
    with closing(opened(place)) as store:
        store.check([Count("total", (Limit(4, 3600),))])


def test_a_damaged_file_is_moved_aside_once_however_many_find_it(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no store" * 1000)
    lines = """
try:
    store.get("a", "key")
except StoreAway as away:
    print(away)
"""
    found = together(path, lines, 4)
    [aside] = path.parent.glob("*.damaged-*")
    assert all(str(aside) in out for out in found)
    assert len(set(found)) == 1
    assert not path.exists()


def test_of_all_processes_that_open_an_old_file_one_migrates_it(path: Path) -> None:
    path.parent.mkdir()
    with closing(Sqlite(path)) as store:
        store.swap("a", "key", None, "value")
    lines = """
from waha_mcp.store.sqlite import Sqlite
Sqlite.MIGRATIONS = (*Sqlite.MIGRATIONS, ("ALTER TABLE event ADD COLUMN app TEXT",))
print(store.get("a", "key"))
"""
    assert together(path, lines, 4) == ["value\n"] * 4


def test_an_event_of_the_limit_counts_for_all(place: Path | str) -> None:
    limit = Limit(1, 3600)
    with closing(opened(place)) as one, closing(opened(place)) as other:
        one.take([Count("total", (limit,))])
        with pytest.raises(Full):
            other.take([Count("total", (limit,))])
