"""The prepared opening, without a process: when the file is used, and which lines it answers."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp.types import JSONRPCRequest

from tests.platforms import posix
from waha_mcp.app.inputs import observed
from waha_mcp.files import make_private, write_atomically
from waha_mcp.server.lines import read_line
from waha_mcp.server.prepared import CLIENTS, HOLDS, Prepared, Replies, same, spelled

PARAMS = {"protocolVersion": "2025-06-18", "capabilities": {"roots": {}}, "clientInfo": {"name": "Zoë", "version": "1"}}
OPENING: list[tuple[str, dict[str, Any]]] = [
    (spelled("initialize", PARAMS), {"instructions": "Grüße \ud83d"}),
    (spelled("tools/list", None), {"tools": [{"name": "send_text"}, {"name": "list_chats"}], "ttlMs": 60_000}),
]


def prepared(*arguments: str, environ: dict[str, str] | None = None) -> Prepared:
    return Prepared(["serve", *arguments], environ or {})


def keep(opening: list[tuple[str, dict[str, Any]]] = OPENING, /, *, age: float = 0.0, **other: Any) -> Path:
    """Keep an opening; `other`: what the file contains instead."""
    found = prepared()
    text = found.text(observed([__file__], ["MINE"]), opening, time.time() - age)
    path = found.path(opening[0][0])
    make_private(found.folder)
    write_atomically(path, json.dumps(json.loads(text) | other) if other else text, 0o600)
    return path


def line(raw: dict[str, Any], **dumps: Any) -> bytes:
    return json.dumps(raw, **dumps).encode()


def request(method: str = "initialize", params: Any = PARAMS, number: Any = 1, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params} | more


@pytest.fixture
def replies() -> Replies:
    keep()
    return Replies(prepared())


# Lines


@pytest.mark.parametrize("number", [1, 0, -(2**63) + 1, 2**63 - 1, "a", "", "7", "A-b_c " * 20], ids=str)
def test_an_expected_request_is_answered_under_its_id_with_what_the_sdk_said(replies: Replies, number: Any) -> None:
    said = replies.reply(line(request(number=number)))
    assert said is not None
    assert said[0].endswith(b"\n")
    assert said[0].count(b"\n") == 1
    assert json.loads(said[0]) == {"jsonrpc": "2.0", "id": number, "result": OPENING[0][1]}
    assert type(json.loads(said[0])["id"]) is type(number)
    assert said[1] == OPENING[0][1]
    asked = read_line(line(request(number=number)))
    assert isinstance(asked, JSONRPCRequest)
    assert asked.id == number


def test_how_a_client_spells_json_does_not_matter(replies: Replies) -> None:
    turned = dict(reversed(list(request(params=dict(reversed(list(PARAMS.items())))).items())))
    assert replies.reply(b" " + line(turned, indent=1, ensure_ascii=False).replace(b"\n", b"\t") + b" \r") is not None


def test_each_request_is_answered_once_and_only_in_its_turn(replies: Replies) -> None:
    listing = line({"jsonrpc": "2.0", "id": 2, "method": "tools/list"})
    assert replies.reply(listing) is None
    answered = [
        (replies.reply(text) is not None, replies.listed)
        for text in (
            line(request()),
            line(request()),
            line({"jsonrpc": "2.0", "method": "notifications/initialized"}),
            listing,
            listing,
        )
    ]
    assert answered == [(True, False), (False, False), (False, False), (True, True), (False, True)]


def test_a_line_may_be_as_long_as_such_a_request_can_be(replies: Replies) -> None:
    assert replies.reply(line(request()).ljust(16_384)) is not None


def test_params_that_are_null_are_as_none(replies: Replies) -> None:
    replies.reply(line(request()))
    assert replies.reply(line(request("tools/list", None))) is not None


def _dumped(text: str) -> bytes:
    return line(request()).replace(b'"id": 1', f'"id": {text}'.encode())


STRANGE = {
    "huge": _dumped("1" * 30),
    "just too large": _dumped(str(2**63)),
    "fraction": _dumped("1.0"),
    "infinite": _dumped("1e999"),
    "true": _dumped("true"),
    "null": _dumped("null"),
    "list": _dumped("[1]"),
    "half a pair": _dumped(r'"\ud800"'),
    "accent": _dumped(r'"\u00e9"'),
    "not UTF-8": _dumped('"X"').replace(b"X", b"\xed\xa0\x80"),
    "UTF-16": line(request()).decode().encode("utf-16-le"),
    "UTF-32": line(request()).decode().encode("utf-32-be"),
    "mark": b"\xef\xbb\xbf" + line(request()),
    "twice": line(request()).replace(b'"params"', b'"params": {"x": NaN}, "params"'),
    "twice within": line(request()).replace(b'"roots"', b'"roots": ' + b"[" * 70 + b"]" * 70 + b', "roots"'),
    "deep": b"[" * 4000,
    "many digits": _dumped("1" * 9000),
    "batch": b"[" + line(request()) + b"]",
    "text": b'"initialize"',
    "broken": line(request())[:-1],
    "empty": b"",
    "long": line(request()).ljust(16_385),
    "other version": line(request(jsonrpc="1.0")),
    "more": line(request(more=1)),
    "no id": line({"jsonrpc": "2.0", "method": "initialize", "params": PARAMS}),
    "an answer as well": line(request(result={})),
    "other method": line(request("server/discover")),
    "method of another type": line(request(["initialize"])),  # type: ignore[arg-type]
    "other params": line(request(params=PARAMS | {"protocolVersion": "2024-11-05"})),
    "more params": line(request(params=PARAMS | {"_meta": {"progressToken": 1}})),
    "one for true": line(request(params=PARAMS | {"capabilities": {"roots": []}})),
    "no params": line({"jsonrpc": "2.0", "id": 1, "method": "initialize"}),
}


@pytest.mark.parametrize("name", STRANGE)
def test_any_other_line_is_left_to_the_sdk_and_the_expected_one_is_still_answered(replies: Replies, name: str) -> None:
    assert replies.reply(STRANGE[name]) is None
    assert replies.reply(line(request())) is not None


# The file


def test_what_is_kept_is_said_again_and_no_client_may_keep_what_is_not_confirmed() -> None:
    keep()
    found = prepared()
    assert found.openings == {OPENING[0][0]: [OPENING[0], (OPENING[1][0], OPENING[1][1] | {"ttlMs": 0})]}
    assert found.tools == {"send_text", "list_chats"}


def test_there_is_none_at_first() -> None:
    assert prepared().openings == {}
    assert prepared().tools == set()
    prepared().discard()
    prepared().sweep()


@pytest.mark.parametrize("age", [HOLDS + 1, -60.0], ids=["old", "of the future"])
def test_a_confirmation_holds_for_a_day_from_when_it_was_given(age: float) -> None:
    keep(age=age)
    assert prepared().openings == {}
    keep(age=HOLDS - 60)
    assert prepared().openings


@pytest.mark.parametrize(
    "other",
    [
        {"opening": [["initialize", {"tools": 5}]]},
        {"opening": [["initialize", {"tools": [5]}]]},
        {"opening": [["initialize", {"tools": [{}]}]]},
        {"opening": [["initialize", {}, 1]]},
        {"opening": None},
        {"opening": []},
        {"opening": [5]},
        {"confirmed": "now"},
        {"confirmed": float("nan")},
        {"confirmed": None},
        {"inputs": None},
        {"inputs": {}},
        {"inputs": {"files": 5, "variables": [], "definitions": []}},
    ],
    ids=str,
)
def test_a_file_of_another_shape_is_as_none(other: dict[str, Any]) -> None:
    keep(**other)
    assert prepared().openings == {}
    assert prepared().tools == set()


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[1]", "\x00"], ids=["empty", "cut", "deep", "list", "zero"])
def test_a_file_that_is_broken_is_as_none(text: str) -> None:
    keep().write_text(text)
    assert prepared().openings == {}


def test_inputs_that_are_not_as_they_were_make_it_none(monkeypatch: pytest.MonkeyPatch) -> None:
    keep()
    monkeypatch.setenv("MINE", "another key")
    assert prepared().openings == {}


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
def test_a_file_that_others_may_read_or_write_is_as_none(mode: int) -> None:
    keep().chmod(mode)
    assert prepared().openings == {}


@posix
def test_a_file_of_another_user_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    keep()
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    assert prepared().openings == {}


def _folder(patch: pytest.MonkeyPatch, path: Path) -> Prepared:
    patch.chdir(path)
    return prepared("--key-file", "k")


@pytest.mark.parametrize(
    "other",
    [
        lambda patch, path: prepared("--exclude", "send_text"),
        lambda patch, path: prepared(environ={"WAHA_URL": "http://localhost:1"}),
        lambda patch, path: patch.setenv("HOME", str(path)) or prepared(),
        lambda patch, path: patch.setattr("sys.version", "3.99") or prepared(),
        lambda patch, path: patch.setattr("waha_mcp.server.prepared.__version__", "99") or prepared(),
        _folder,
    ],
    ids=["arguments", "variable", "home", "python", "version", "folder of a key"],
)
def test_each_way_of_starting_has_a_file_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, other: Callable[[pytest.MonkeyPatch, Path], Prepared]
) -> None:
    mine = prepared("--key-file", "k") if other is _folder else prepared()
    assert other(monkeypatch, tmp_path).path("") != mine.path("")


def test_what_decides_nothing_makes_no_other_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = prepared(environ={"WAHA_URL": "u", "WAHA_API_KEY": "k"})
    monkeypatch.chdir(tmp_path)
    assert prepared(environ={"WAHA_API_KEY": "k", "TERM": "x", "WAHA_URL": "u"}).path("") == mine.path("")
    assert re.fullmatch(r"[0-9a-f]{40}-[0-9a-f]{16}\.json", mine.path("").name)


def test_files_that_hold_no_more_are_deleted_with_those_of_other_ways() -> None:
    mine, other = keep(), prepared("--exclude", "x").path("")
    other.write_text("{}")
    young = other.with_name("young")
    young.write_text("")
    old = time.time() - HOLDS - 60
    os.utime(other, (old, old))
    prepared().sweep()
    assert {mine, young} == set(mine.parent.iterdir())
    prepared().discard()
    assert not mine.exists()
    mine.mkdir()
    prepared().discard()  # what cannot be deleted stays
    assert mine.is_dir()


def test_of_one_way_of_starting_the_openings_of_the_last_clients_are_kept() -> None:
    now = time.time()
    for number in range(CLIENTS + 2):
        opening = [(spelled("initialize", number), {"n": number}), OPENING[1]]
        path = keep(opening)
        os.utime(path, (now, now + number))
    last = {spelled("initialize", number) for number in range(2, CLIENTS + 2)}
    assert set(prepared().openings) == last
    prepared().sweep()
    assert len(list(prepared().folder.iterdir())) == CLIENTS
    assert set(prepared().openings) == last
    prepared().discard()
    assert prepared().openings == {}


def test_each_client_gets_the_answers_to_its_own_opening() -> None:
    keep()
    keep([(spelled("initialize", 2), {"n": 2}), (spelled("tools/list", None), {"tools": []})])
    replies = Replies(prepared())
    answers = [replies.reply(line(request(params=2))), replies.reply(line(request("tools/list", None, 2)))]
    assert [answer and answer[1] for answer in answers] == [{"n": 2}, {"tools": []}]
    assert replies.reply(line(request())) is None
    mine = Replies(prepared())
    assert mine.reply(line(request("tools/list", None))) is None
    assert mine.reply(line(request())) is not None


def test_results_are_the_same_but_for_how_long_they_may_be_kept() -> None:
    assert same({"a": 1, "b": [2], "ttlMs": 5}, {"ttlMs": 0, "b": [2], "a": 1})
    assert not same({"a": 1}, {"a": 1, "ttlMs": 0})
    assert not same({"a": [1, 2]}, {"a": [2, 1]})
    assert not same({"a": 1}, {"a": True})
