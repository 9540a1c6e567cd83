"""Lines of stdio: which are messages, and how the others are answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from mcp.types import INVALID_REQUEST, PARSE_ERROR, JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from waha_mcp.server.lines import DEEPEST, Rejected, read_line, write_line
from waha_mcp.server.wire import MOST, TooLong, lines


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


REJECTED: dict[str, tuple[str | bytes, Any, int, str]] = {
    "no JSON": ("hello", None, PARSE_ERROR, "not JSON"),
    "half an object": ('{"jsonrpc":"2.0","id":1,"method":"ping"', None, PARSE_ERROR, "not JSON"),
    "NUL": (b'{"jsonrpc":"2.0","id":1,"method":"ping"}\0', None, PARSE_ERROR, "not JSON"),
    "UTF-16": ('{"jsonrpc":"2.0","id":1,"method":"ping"}'.encode("utf-16"), None, PARSE_ERROR, "UTF-8"),
    "a bad byte": (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', 1, PARSE_ERROR, "UTF-8"),
    "a raw surrogate": (b'{"jsonrpc":"2.0","id":1,"method":"\xed\xa0\x80"}', 1, PARSE_ERROR, "UTF-8"),
    "NaN": ('{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}', 1, PARSE_ERROR, "NaN"),
    "Infinity": ('{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":-Infinity}}', 1, PARSE_ERROR, "Infinity"),
    "a batch": ('[{"jsonrpc":"2.0","id":1,"method":"ping"}]', None, INVALID_REQUEST, "batches"),
    "an empty batch": ("[]", None, INVALID_REQUEST, "batches"),
    "a string": ('"ping"', None, INVALID_REQUEST, "one JSON object"),
    "null": ("null", None, INVALID_REQUEST, "one JSON object"),
    "an empty object": ("{}", None, INVALID_REQUEST, "jsonrpc"),
    "no jsonrpc": ('{"id":1,"method":"ping"}', 1, INVALID_REQUEST, "jsonrpc"),
    "jsonrpc 1.0": ('{"jsonrpc":"1.0","id":1,"method":"ping"}', 1, INVALID_REQUEST, "jsonrpc"),
    "jsonrpc as a number": ('{"jsonrpc":2.0,"id":1,"method":"ping"}', 1, INVALID_REQUEST, "jsonrpc"),
    "no method": ('{"jsonrpc":"2.0","id":1}', 1, INVALID_REQUEST, "method"),
    "method as a number": ('{"jsonrpc":"2.0","id":1,"method":5}', 1, INVALID_REQUEST, "method"),
    "a notification's method as null": ('{"jsonrpc":"2.0","method":null}', None, INVALID_REQUEST, "method"),
    "method and result": ('{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}', 1, INVALID_REQUEST, "either"),
    "method and error": ('{"jsonrpc":"2.0","id":1,"method":"ping","error":{}}', 1, INVALID_REQUEST, "either"),
    "params as a list": ('{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}', 1, INVALID_REQUEST, "params"),
    "params as a string": ('{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}', 1, INVALID_REQUEST, "params"),
    "a notification's params as a list": (
        '{"jsonrpc":"2.0","method":"x","params":[]}',
        None,
        INVALID_REQUEST,
        "params",
    ),
    "id null": ('{"jsonrpc":"2.0","id":null,"method":"ping"}', None, INVALID_REQUEST, "id"),
    "id true": ('{"jsonrpc":"2.0","id":true,"method":"ping"}', None, INVALID_REQUEST, "id"),
    "id as a fraction": ('{"jsonrpc":"2.0","id":1.5,"method":"ping"}', 1.5, INVALID_REQUEST, "id"),
    "id as a list": ('{"jsonrpc":"2.0","id":[1],"method":"ping"}', None, INVALID_REQUEST, "id"),
    "id as an object": ('{"jsonrpc":"2.0","id":{},"method":"ping"}', None, INVALID_REQUEST, "id"),
    "a huge id": ('{"jsonrpc":"2.0","id":' + "9" * 5000 + ',"method":"ping"}', None, INVALID_REQUEST, "64 bits"),
    "an id of 65 bits": ('{"jsonrpc":"2.0","id":18446744073709551616,"method":"x"}', None, INVALID_REQUEST, "64 bits"),
    "a huge integer": (
        '{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":' + "9" * 5000 + "}}",
        1,
        INVALID_REQUEST,
        "64 bits",
    ),
    "a huge fraction": ('{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1e999999}}', 1, INVALID_REQUEST, "large"),
    "half a pair in an argument": (
        r'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\ud83d!"}}',
        1,
        INVALID_REQUEST,
        r"\ud83d",
    ),
    "half a pair in a name": (r'{"jsonrpc":"2.0","id":1,"method":"x","params":{"\udc00":1}}', 1, -32600, r"\udc00"),
    "half a pair in the method": (r'{"jsonrpc":"2.0","id":1,"method":"\ud800"}', 1, INVALID_REQUEST, r"\ud800"),
    "half a pair in the id": (r'{"jsonrpc":"2.0","id":"\ud800","method":"x"}', "\ud800", INVALID_REQUEST, r"\ud800"),
    "deep": (
        f'{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":{nested(DEEPEST - 1)}}}}}',
        1,
        INVALID_REQUEST,
        "nested",
    ),
    "deeper than the parser goes, id first": (
        f'{{"jsonrpc":"2.0","id":"a","method":"x","params":{{"a":{nested(100_000)}}}}}',
        "a",
        INVALID_REQUEST,
        "nested",
    ),
    "deeper than the parser goes, id last": (
        f'{{"method":"x","params":{{"a":{nested(100_000)}}},"jsonrpc":"2.0","id":7}}',
        7,
        INVALID_REQUEST,
        "nested",
    ),
    "nothing but brackets": ("[" * 100_000, None, INVALID_REQUEST, "nested"),
}


@pytest.mark.parametrize(("line", "number", "code", "says"), REJECTED.values(), ids=REJECTED)
def test_what_is_no_message_is_answered_under_its_id_and_told_why(
    line: str | bytes, number: Any, code: int, says: str
) -> None:
    rejected = read_line(line if isinstance(line, bytes) else line.encode())
    assert isinstance(rejected, Rejected), rejected
    assert (rejected.id, rejected.code) == (number, code)
    assert says in rejected.message
    answer = json.loads(write_line(rejected))
    assert answer == {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": rejected.message}}


@pytest.mark.parametrize("line", ['{"jsonrpc":"2.0","id":3}', '{"jsonrpc":"2.0","id":3,"method":"x","result":{}}'])
def test_what_may_be_an_answer_of_the_client_reaches_whoever_waits_for_it_as_well(line: str) -> None:
    rejected = read_line(line.encode())
    assert isinstance(rejected, Rejected)
    assert rejected.answer is not None
    assert (rejected.answer.id, rejected.answer.error.code) == (3, INVALID_REQUEST)


@pytest.mark.parametrize("line", ['{"jsonrpc":"2.0","id":3,"method":7}', '{"jsonrpc":"1.0","id":3,"method":"ping"}'])
def test_what_is_a_request_is_no_answer(line: str) -> None:
    rejected = read_line(line.encode())
    assert isinstance(rejected, Rejected)
    assert rejected.answer is None


REQUESTS: dict[str, bytes] = {
    "plain": b'{"jsonrpc":"2.0","id":1,"method":"ping"}',
    "a carriage return": b'{"jsonrpc":"2.0","id":1,"method":"ping"}\r',
    "a byte order mark": b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"ping"}',
    "params null": b'{"jsonrpc":"2.0","id":1,"method":"ping","params":null}',
    "more fields": b'{"jsonrpc":"2.0","id":1,"method":"ping","x":[1]}',
    "an id of 64 bits": b'{"jsonrpc":"2.0","id":18446744073709551615,"method":"ping"}',
    "a string of digits": b'{"jsonrpc":"2.0","id":"1","method":"ping"}',
    "an empty id": b'{"jsonrpc":"2.0","id":"","method":"ping"}',
    "a whole pair": rb'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\ud83d\ude00"}}',
    "brackets in a string": b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"' + b"[" * 200 + rb'\"["}}',
    "wide but not deep": b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":[' + b"[]," * 200 + b"[]]}}",
    "as deep as may be": f'{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":{nested(DEEPEST - 2)}}}}}'.encode(),
}


@pytest.mark.parametrize("line", REQUESTS.values(), ids=REQUESTS)
def test_a_request_is_read_as_it_stands(line: bytes) -> None:
    raw = json.loads(line.decode("utf-8-sig"))
    message = read_line(line)
    assert isinstance(message, JSONRPCRequest)
    assert (message.id, message.method, message.params) == (raw["id"], raw["method"], raw.get("params"))
    assert type(message.id) is type(raw["id"])


def test_a_notification_may_spell_no_id_as_null() -> None:
    message = read_line(b'{"jsonrpc":"2.0","id":null,"method":"notifications/initialized"}')
    assert isinstance(message, JSONRPCNotification)


@pytest.mark.parametrize("line", [b"", b" \t\r"])
def test_a_blank_line_is_nothing(line: bytes) -> None:
    assert read_line(line) is None


MALFORMED = {
    "null": '"result":null',
    "a list": '"result":[]',
    "a string": '"result":"accept"',
    "both": '"result":{},"error":{"code":1,"message":"x"}',
    "error null": '"error":null',
    "error as a string": '"error":"no"',
    "error without a code": '"error":{"message":"no"}',
    "error with half a code": '"error":{"code":1.5,"message":"no"}',
    "a huge number": '"result":{"content":{"approve":1e999}}',
    "half a pair": r'"result":{"action":"\ud800"}',
    "too deep": f'"result":{{"a":{nested(DEEPEST)}}}',
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_answer_of_the_client_reaches_whoever_waits_for_it_as_an_error(answer: str) -> None:
    message = read_line(f'{{"jsonrpc":"2.0","id":4,{answer}}}'.encode())
    assert isinstance(message, JSONRPCError)
    assert message.id == 4


@pytest.mark.parametrize("number", ["null", "true", "[1]", "1.5", '"x"', r'"\ud800"', "9" * 5000])
def test_an_answer_to_nothing_that_was_asked_is_not_answered_back(number: str) -> None:
    assert read_line(f'{{"jsonrpc":"2.0","id":{number},"result":{{}}}}'.encode()) is None


def test_an_answer_of_the_client_is_read_as_it_stands() -> None:
    good = read_line(b'{"jsonrpc":"2.0","id":"4","result":{"action":"accept"}}')
    assert good == JSONRPCResponse(jsonrpc="2.0", id="4", result={"action": "accept"})
    bad = read_line(b'{"jsonrpc":"2.0","id":4,"error":{"code":-32601,"message":"no"}}')
    assert isinstance(bad, JSONRPCError)
    assert bad.error.code == -32601


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_lines_come_whole_however_they_are_cut(size: int) -> None:
    text = b"one\n\ntwo\r\n" + b"x" * 10_000 + b"\nlast"
    pieces = iter([text[at : at + size] for at in range(0, len(text), size)] + [b""])
    assert list(lines(lambda: next(pieces))) == [b"one", b"", b"two\r", b"x" * 10_000, b"last"]


def endless(line: bytes, count: int) -> Iterator[bytes]:
    yield b'{"jsonrpc":"2.0","id":3,"method":"x","params":{"a":"'
    for _ in range(count):
        yield line
    yield b'"}}\nnext\n'
    yield b""


def test_of_a_line_that_is_too_long_only_the_ends_are_kept() -> None:
    pieces = endless(b"x" * 1000, 100)
    found = list(lines(lambda: next(pieces), most=50_000))
    [cut, after] = found
    assert isinstance(cut, TooLong)
    assert len(cut.head) + len(cut.tail) < 10_000
    assert after == b"next"
    assert read_line(cut) == Rejected(
        3,
        INVALID_REQUEST,
        f"This line is longer than {MOST // 2**20} MiB and was not read: nothing was done. Send less at once",
    )


@pytest.mark.parametrize(
    ("head", "tail", "number"),
    [
        (b'{"jsonrpc":"2.0","id":5,"method":"x","params":{', b'"id":6}}', 5),
        (b'{"method":"x","params":{"id":6,', b'"}},"jsonrpc":"2.0","id":5}', 5),
        (b'{"method":"x","params":{"id":6,', b'"}},"id":"five", "jsonrpc": "2.0"} ', "five"),
        (b'{"method":"x","params":{"id":6,', b'"id":7}}', None),
        (b'{"method":"x","params":{"a":"', rb",\"id\":7}", None),
        (b'{"method":"x","id":[1],"params":{', b"}}", None),
        (b"xxxx", b"xxxx", None),
    ],
)
def test_the_id_of_a_line_that_is_too_long_is_read_from_its_ends(head: bytes, tail: bytes, number: Any) -> None:
    rejected = read_line(TooLong(head, tail))
    assert isinstance(rejected, Rejected)
    assert rejected.id == number


def test_an_answer_that_echoes_half_a_surrogate_pair_is_written_as_an_escape() -> None:
    line = write_line(JSONRPCResponse(jsonrpc="2.0", id=1, result={"text": "é \ud800 😀", "\udfff": 1}))
    assert rb"\ud800" in line
    assert json.loads(line)["result"] == {"text": "é \ud800 😀", "\udfff": 1}


def test_an_answer_that_cannot_be_written_is_an_error_under_its_id() -> None:
    for value in (float("nan"), object()):
        message = JSONRPCResponse(jsonrpc="2.0", id=9, result={"a": "\ud800", "b": value})
        answer = json.loads(write_line(message))
        assert (answer["id"], answer["error"]["code"]) == (9, -32603)
