"""The client's end of stdio: chunks become lines, lines wait until they are taken, and how both directions end."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.test_replies import OPENING, keep, line, prepared, request
from waha_mcp.server import wire as module
from waha_mcp.server.wire import END, Early, TooLong, Wire, lines

#: Seconds after which a test has failed.
PATIENCE = 10.0


def split(*chunks: bytes, most: int = 64) -> list[bytes | TooLong]:
    left = iter((*chunks, b""))
    return list(lines(lambda: next(left), most))


# Lines


@pytest.mark.parametrize(
    ("chunks", "found"),
    [
        ([], []),
        ([b"a\n"], [b"a"]),
        ([b"a"], [b"a"]),
        ([b"a\nb"], [b"a", b"b"]),
        ([b"a", b"b\nc", b"d\n", b"\n", b"e"], [b"ab", b"cd", b"", b"e"]),
        ([b"a\n\n", b"\nb\r\n"], [b"a", b"", b"", b"b\r"]),
        ([b"ab\n" * 3], [b"ab"] * 3),
    ],
    ids=str,
)
def test_chunks_are_split_at_newlines_wherever_they_end(chunks: list[bytes], found: list[bytes]) -> None:
    assert split(*chunks) == found


def test_a_line_may_be_as_long_as_the_limit_and_no_longer() -> None:
    assert split(b"x" * 60, b"yyyy", b"\nz\n") == [b"x" * 60 + b"yyyy", b"z"]
    assert split(b"x" * 60, b"yyyyy", b"\nz\n") == [TooLong(b"x" * 60, b"x" * 60 + b"yyyyy"), b"z"]
    assert split(b"x" * 65 + b"\n" + b"y" * 64 + b"\n") == [TooLong(b"", b"x" * 65), b"y" * 64]
    assert split(b"x" * 60, b"y" * 5) == [TooLong(b"x" * 60, b"x" * 60 + b"y" * 5)]


def test_of_a_line_that_is_too_long_both_ends_are_kept_and_the_next_one_is_whole() -> None:
    head, tail = b"h" * (END + 500), b"t" * (END + 500)
    [found, after] = split(head, b"m" * 5000, tail, b"end\nnext\n", most=END + 1000)
    assert found == TooLong(head[:END], (tail + b"end")[-END:])
    assert after == b"next"


# Both directions


class Pipes:
    """A wire on pipes, and its other ends."""

    def __init__(self, patch: pytest.MonkeyPatch, *, opening: bool = False, folder: bool = False) -> None:
        """`folder`: stdin is a folder, from which nothing can be read."""
        (stdin, self.stdin), (self.stdout, stdout) = os.pipe(), os.pipe()
        if folder:
            os.close(stdin)
            stdin = os.open("/", os.O_RDONLY)
        if sys.platform != "win32":
            os.set_blocking(stdin, False)
        patch.setattr(module, "_take_descriptors", lambda: (stdin, stdout))
        self.wire = Wire(prepared() if opening else None)
        self.received: queue.SimpleQueue[bytes | TooLong] = queue.SimpleQueue()
        self.ended = threading.Event()
        self.takes = True
        self._open = {self.stdin, self.stdout}

    def say(self, *said: bytes) -> None:
        os.write(self.stdin, b"".join(each + b"\n" for each in said))

    def connect(self) -> list[Early]:
        return self.wire.connect(self._receive, self.ended.set)

    def _receive(self, line: bytes | TooLong) -> bool:
        self.received.put(line)
        return self.takes

    def close(self, *descriptors: int) -> None:
        for each in descriptors or tuple(self._open):
            os.close(each)
            self._open.remove(each)


@pytest.fixture
def pipes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Pipes]]:
    made: list[Pipes] = []

    def make(**options: Any) -> Pipes:
        made.append(Pipes(monkeypatch, **options))
        return made[-1]

    yield make
    for each in made:
        each.connect()  # ends the waiting readers
        each.close()


def early(pipes: Pipes, count: int) -> None:
    """Wait until this many lines wait."""
    ends = time.monotonic() + PATIENCE
    while len(pipes.wire._early) < count:
        assert time.monotonic() < ends
        time.sleep(0.001)


def test_lines_wait_for_who_takes_them_and_the_next_ones_are_handed_on_in_their_order(
    pipes: Callable[..., Pipes],
) -> None:
    one = pipes()
    one.say(b"1", b"2")
    early(one, 2)
    assert one.connect() == [Early(b"1", None), Early(b"2", None)]
    one.say(b"3", b"4")
    assert [one.received.get(timeout=PATIENCE) for _ in range(2)] == [b"3", b"4"]
    assert not one.ended.is_set()
    one.close(one.stdin)
    assert one.ended.wait(PATIENCE)


def test_no_more_lines_wait_than_may_and_none_is_lost(pipes: Callable[..., Pipes]) -> None:
    one = pipes()
    said = [str(n).encode() for n in range(100)]
    one.say(*said)
    early(one, 32)
    found = [each.line for each in one.connect()]
    assert found == said[:32]
    assert [one.received.get(timeout=PATIENCE) for _ in said[32:]] == said[32:]


def test_who_takes_no_more_is_given_no_more(pipes: Callable[..., Pipes]) -> None:
    one = pipes()
    one.takes = False
    one.connect()
    one.say(b"1", b"2")
    assert one.received.get(timeout=PATIENCE) == b"1"
    with pytest.raises(queue.Empty):
        one.received.get(timeout=0.05)
    assert not one.ended.is_set()


def test_stdin_that_ends_before_anybody_takes_lines_is_told_once_somebody_does(pipes: Callable[..., Pipes]) -> None:
    one = pipes(opening=False)
    one.say(b"1")
    one.close(one.stdin)
    started = time.monotonic()
    one.wire.wait_for_opening(PATIENCE)  # there will be none
    assert time.monotonic() - started < PATIENCE
    assert not one.ended.is_set()
    assert [each.line for each in one.connect()] == [b"1"]
    assert one.ended.wait(PATIENCE)


@pytest.mark.skipif(sys.platform == "win32", reason="a folder cannot be opened")
def test_stdin_that_cannot_be_read_is_as_one_that_has_ended(pipes: Callable[..., Pipes]) -> None:
    one = pipes(folder=True)
    assert one.connect() == []
    assert one.ended.wait(PATIENCE)


def test_no_process_waits_for_its_threads(pipes: Callable[..., Pipes]) -> None:
    before = set(threading.enumerate())
    pipes()
    assert [each.daemon for each in set(threading.enumerate()) - before] == [True, True]


def test_an_opening_is_answered_at_once_and_each_answer_is_known_to_who_takes_the_lines(
    pipes: Callable[..., Pipes],
) -> None:
    keep()
    one = pipes(opening=True)
    notified = line({"jsonrpc": "2.0", "method": "notifications/initialized"})
    listing = line(request("tools/list", None, 2))
    one.say(line(request()), notified, listing, line(request(number=3)))
    with os.fdopen(os.dup(one.stdout), "rb") as answers:
        assert [json.loads(answers.readline())["id"] for _ in range(2)] == [1, 2]
    one.wire.wait_for_opening(PATIENCE)
    early(one, 4)
    results = [OPENING[0][1], None, OPENING[1][1] | {"ttlMs": 0}, None]
    assert [each.result for each in one.connect()] == results
    one.say(listing)
    assert one.received.get(timeout=PATIENCE) == listing


@pytest.mark.parametrize("begins", [line(request(params={})), b"{", b"x" * (END * 20)], ids=["other", "bad", "long"])
def test_an_opening_that_is_not_prepared_is_not_waited_for(begins: bytes, pipes: Callable[..., Pipes]) -> None:
    keep()
    one = pipes(opening=True)
    one.say(begins)
    started = time.monotonic()
    one.wire.wait_for_opening(PATIENCE)
    assert time.monotonic() - started < PATIENCE
    assert [each.result for each in one.connect()] == [None]


def test_the_opening_is_waited_for_no_longer_than_its_client_may_take(pipes: Callable[..., Pipes]) -> None:
    keep()
    one = pipes(opening=True)
    one.say(line(request()))
    one.wire.wait_for_opening(0.01)
    assert not one.wire._opened.is_set()
    early(one, 1)
    one.say(line(request("tools/list", None)))
    one.wire.wait_for_opening(PATIENCE)
    assert one.wire._opened.is_set()


def test_a_line_that_is_too_long_is_no_part_of_an_opening(
    pipes: Callable[..., Pipes], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep()
    monkeypatch.setattr(lines, "__defaults__", (64,))
    one = pipes(opening=True)
    one.say(line(request()))
    early(one, 1)
    [found] = one.connect()
    assert isinstance(found.line, TooLong)
    assert found.result is None


def test_each_line_is_written_whole_and_in_order_and_that_is_told(pipes: Callable[..., Pipes]) -> None:
    one = pipes()
    said = [bytes([each]) * 2**17 for each in (1, 2, 3)]  # more than a pipe holds
    written: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number, each in enumerate(said):
        one.wire.write(each, lambda number=number: written.put(number))  # type: ignore[misc]
    with os.fdopen(os.dup(one.stdout), "rb") as answers:
        assert answers.read(3 * 2**17) == b"".join(said)
    assert [written.get(timeout=PATIENCE) for _ in said] == [0, 1, 2]
    assert not one.ended.is_set()


def test_stdout_that_is_closed_is_told_once_somebody_takes_lines_and_each_line_counts_as_written(
    pipes: Callable[..., Pipes],
) -> None:
    one = pipes()
    written: queue.SimpleQueue[int] = queue.SimpleQueue()
    one.close(one.stdout)
    one.wire.write(b"1", lambda: written.put(1))
    one.wire.write(b"2", lambda: written.put(2))
    with pytest.raises(queue.Empty):
        written.get(timeout=0.05)
    one.connect()
    assert one.ended.wait(PATIENCE)
    one.ended.clear()
    assert [written.get(timeout=PATIENCE) for _ in range(2)] == [1, 2]
    assert not one.ended.is_set()  # reported once


@pytest.mark.parametrize("stderr", [True, False], ids=["stderr", "no stderr"])
def test_the_descriptors_are_taken_so_that_nothing_else_gets_into_the_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stderr: bool
) -> None:
    if not stderr:
        monkeypatch.setattr(sys, "stderr", None)
    own = [os.dup(each) for each in (0, 1, 2)]
    (tmp_path / "in").write_text("said")
    try:
        for at, name in enumerate(("in", "out", "err")):
            file = os.open(tmp_path / name, os.O_RDWR | os.O_CREAT)
            os.dup2(file, at)
            os.close(file)
        before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
        stdin, stdout = module._take_descriptors()
        opened = len(os.listdir("/proc/self/fd")) - before if sys.platform == "linux" else 2
        os.write(1, b"stray")
        os.write(stdout, os.read(0, 99) + b"|" + os.read(stdin, 99))
    finally:
        for at, each in enumerate(own):
            os.dup2(each, at)
            os.close(each)
    os.close(stdin)
    os.close(stdout)
    assert (tmp_path / "out").read_text() == "|said"
    assert (tmp_path / "err").read_text() == ("stray" if stderr else "")
    assert opened == 2
