"""A file of lines for several processes: none is lost, none is torn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.platforms import posix
from tests.store.processes import ended, go, start
from waha_mcp.store import line_file
from waha_mcp.store.file_locks import locked
from waha_mcp.store.line_file import LineFile


def a_file(path: Path, most: int = 1_000, kept: int = 3) -> LineFile:
    return LineFile(path / "lines.jsonl", most=most, kept=kept)


def kept_lines(path: Path) -> list[str]:
    """All lines of all files, the oldest first."""
    files = sorted(
        path.glob("lines.jsonl*"), key=lambda each: -int(each.suffix[1:]) if each.suffix[1:].isdigit() else 0
    )
    return [line for file in files for line in file.read_bytes().decode().split("\n") if line]


WRITES = """
from waha_mcp.store.line_file import LineFile
file = LineFile(path.with_name("lines.jsonl"), most=20_000, kept=1_000)
for each in range(1_500):
    file.append('{"from":%d,"number":%d,"text":"%s"}' % (number, each, "x" * (each % 90)))
"""


@pytest.mark.slow
def test_of_several_processes_no_line_is_lost_or_torn_over_many_rotations(tmp_path: Path) -> None:
    running = [start(tmp_path / "store.sqlite", WRITES, number) for number in range(4)]
    for each in running:
        go(each)
    ended(running)
    found = [json.loads(line) for line in kept_lines(tmp_path)]
    assert Counter((each["from"], each["number"]) for each in found) == Counter(
        (process, number) for process in range(4) for number in range(1_500)
    )
    files = list(tmp_path.glob("lines.jsonl*"))
    assert len(files) > 10
    assert all(file.stat().st_size <= 20_000 for file in files)
    for process in range(4):
        own = [each["number"] for each in found if each["from"] == process]
        assert own == sorted(own)


ENDLESS = """
from waha_mcp.store.line_file import LineFile
file = LineFile(path.with_name("lines.jsonl"), most=20_000, kept=1_000)
each = 0
while True:
    file.append('{"from":%d,"number":%d,"text":"%s"}' % (number, each, "x" * 5_000))
    print(each, flush=True)
    each += 1
"""


@pytest.mark.slow
def test_what_was_written_before_a_process_is_killed_stays_and_others_go_on(tmp_path: Path) -> None:
    killed = start(tmp_path / "store.sqlite", ENDLESS, 0)
    other = start(tmp_path / "store.sqlite", WRITES, 1)
    go(killed)
    assert killed.stdout is not None
    while int(killed.stdout.readline()) < 50:
        pass
    go(other)
    killed.kill()
    rest, _ = killed.communicate(timeout=60)
    ended([other])
    last = max([int(line) for line in rest.split("\n") if line.isdigit()], default=50)
    whole = []
    for line in kept_lines(tmp_path):
        try:
            whole.append(json.loads(line))
        except ValueError:
            assert line.startswith('{"from":0')  # what the killed process wrote of its last line
    assert {each["number"] for each in whole if each["from"] == 0} >= set(range(last + 1))
    assert {each["number"] for each in whole if each["from"] == 1} == set(range(1_500))


def test_threads_of_one_process_lose_no_line_either(tmp_path: Path) -> None:
    def write(number: int) -> None:
        for each in range(100):
            a_file(tmp_path, kept=100).append(f"{number}:{each}")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(kept_lines(tmp_path)) == sorted(f"{n}:{each}" for n in range(4) for each in range(100))


def test_after_half_a_line_the_next_one_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "lines.jsonl").write_text('{"half')
    a_file(tmp_path).append("whole")
    assert kept_lines(tmp_path) == ['{"half', "whole"]


def test_a_line_that_does_not_fit_on_the_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    a_file(tmp_path).append("first")
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda file, data: write(file, data[:3]))
        with pytest.raises(OSError, match="No space"):
            a_file(tmp_path).append("second")
    a_file(tmp_path).append("third")
    assert kept_lines(tmp_path) == ["first", "third"]


def test_the_oldest_file_goes_and_the_lines_are_read_backwards_over_all(tmp_path: Path) -> None:
    file = a_file(tmp_path, most=20, kept=2)
    for number in range(9):
        file.append(f"line {number}")
    assert list(file.backwards()) == [f"line {number}" for number in range(8, 3, -1)]
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "lines.jsonl", "lines.jsonl.1", "lines.jsonl.2", "lines.lock",
    ]  # fmt: skip


def test_a_line_longer_than_a_file_has_one_of_its_own(tmp_path: Path) -> None:
    for text in ("x" * 2_000, "y" * 2_000):
        a_file(tmp_path).append(text)
    assert list(a_file(tmp_path).backwards()) == ["y" * 2_000, "x" * 2_000]
    assert (tmp_path / "lines.jsonl").read_text() == "y" * 2_000 + "\n"


@pytest.mark.parametrize(("most", "files"), [(10, 1), (9, 2)])
def test_a_file_takes_lines_up_to_its_size(most: int, files: int, tmp_path: Path) -> None:
    for line in ("abcd", "efgh"):
        a_file(tmp_path, most=most).append(line)
    assert len(list(tmp_path.glob("lines.jsonl*"))) == files


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="there is no /proc")
def test_nothing_stays_open(tmp_path: Path) -> None:
    before = sorted(os.readlink(each) for each in _open_files())
    for number in range(20):
        a_file(tmp_path).append(f"line {number}")
    assert list(a_file(tmp_path).backwards())
    assert a_file(tmp_path).rewrite(lambda line: line.replace("line", "")) == 20
    assert sorted(os.readlink(each) for each in _open_files()) == before


def _open_files() -> list[Path]:
    return [each for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]


def test_a_line_may_be_rewritten_at_its_own_length_and_no_longer(tmp_path: Path) -> None:
    file = a_file(tmp_path)
    file.append("abcd")
    assert file.rewrite(lambda line: line.replace("abcd", "wxyz")) == 1
    with pytest.raises(ValueError, match="longer"):
        file.rewrite(lambda line: line.replace("wxyz", "vwxyz"))
    assert kept_lines(tmp_path) == ["wxyz"]


def test_characters_that_end_a_line_elsewhere_end_none_here(tmp_path: Path) -> None:
    line = "a\u2028b\x85c\x1cd \ud800"
    a_file(tmp_path).append(line)
    assert list(a_file(tmp_path).backwards()) == ["a\u2028b\x85c\x1cd \\ud800"]


def test_where_a_file_cannot_be_moved_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "lines.jsonl.2").mkdir()
    (tmp_path / "lines.jsonl.2" / "other").write_text("in the way")
    file = a_file(tmp_path, most=20)
    for number in range(9):
        file.append(f"line {number}")
    assert [*reversed(list(file.backwards()))] == [f"line {number}" for number in range(9)]


def test_a_holder_of_the_lock_that_hangs_costs_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_file, "WAIT", 0.05)
    file = a_file(tmp_path, most=20)
    with locked(tmp_path / "lines.lock", 1.0) as held:
        assert held
        for number in range(5):
            file.append(f"line {number}")
        with pytest.raises(TimeoutError):
            file.rewrite(str.upper)
    assert (tmp_path / "lines.jsonl").read_text() == "".join(f"line {number}\n" for number in range(5))


@posix
def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    holds = (
        "import sys; from pathlib import Path; from waha_mcp.store.file_locks import locked\n"
        "with locked(Path(sys.argv[1]), 1): print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", holds, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with locked(tmp_path / "lock", 0.05) as held:
        assert not held
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    with locked(tmp_path / "lock", 0.05) as held:
        assert held


@posix
def test_a_file_system_without_locks_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(file: int, how: int) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr("fcntl.flock", unsupported)
    file = a_file(tmp_path, most=20, kept=5)
    for number in range(5):
        file.append(f"line {number}")
    assert len(list(tmp_path.glob("lines.jsonl*"))) == 3


def test_lines_are_rewritten_in_place_in_all_files(tmp_path: Path) -> None:
    file = a_file(tmp_path, most=40)
    for number in range(6):
        file.append(f"secret of {number}")
    before = {path: path.stat().st_size for path in tmp_path.glob("lines.jsonl*")}
    assert len(before) > 1
    assert file.rewrite(lambda line: "gone" if line.endswith(("1", "5")) else line) == 2
    assert {path: path.stat().st_size for path in tmp_path.glob("lines.jsonl*")} == before
    assert [line.rstrip() for line in file.backwards()] == [
        "gone", "secret of 4", "secret of 3", "secret of 2", "gone", "secret of 0",
    ]  # fmt: skip
    assert file.rewrite(lambda line: "gone" if line.startswith("gone") else line) == 0
    with pytest.raises(ValueError, match="longer"):
        file.rewrite(lambda line: line + " and more and more")


@posix
def test_all_are_for_the_user_alone(tmp_path: Path) -> None:
    for name in ("lines.jsonl", "lines.lock"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o644)
    a_file(tmp_path).append("x")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
