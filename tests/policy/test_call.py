"""A call on its way through the gate: the chats it names, and what people and the trail are told about it."""

from __future__ import annotations

import hashlib
import json
from typing import Any, cast

import pytest

from tests.policy.common import DAD, MAYA, SAM
from waha_mcp.policy.call import FULL, Call, as_list, told
from waha_mcp.tools.catalog import CATALOG
from waha_mcp.waha.models import Contact

GROUP = "120363000000000001@g.us"
MESSAGE = f"false_{DAD}_3EB0C767D26A1B2E5F4C"


def a_call(tool: str, **arguments: Any) -> Call:
    """A call with every parameter of its tool, as the bridge makes it; its context is not used."""
    missing = dict.fromkeys(CATALOG[tool].arguments.model_fields)
    return Call(CATALOG[tool], missing | arguments, cast("Any", None))


@pytest.mark.parametrize(
    ("tool", "arguments", "reached", "not_reached"),
    [
        ("send_text", {"chat": SAM, "mentions": [MAYA, DAD]}, [SAM, MAYA, DAD], []),
        ("send_text", {"chat": SAM}, [SAM], []),
        ("archive_chat", {"chat": SAM}, [], [SAM]),
        ("get_messages", {"chat": SAM, "sender": DAD}, [SAM], [DAD]),
        ("list_labels", {}, [], []),
    ],
)
def test_the_chats_that_it_names_are_told_apart_by_whether_it_reaches_them(
    tool: str, arguments: dict[str, Any], reached: list[str], not_reached: list[str]
) -> None:
    call = a_call(tool, **arguments)
    assert call.named(reached=True) == reached
    assert call.named(reached=False) == not_reached
    assert sorted(call.named()) == sorted(reached + not_reached)


@pytest.mark.parametrize(
    ("tool", "name", "reached"),
    [("send_text", "reply_to", True), ("forward_message", "message_id", False), ("get_message", "message_id", False)],
)
def test_the_chats_of_the_messages_that_it_names_are_told_apart_as_well(tool: str, name: str, reached: bool) -> None:
    call = a_call(tool, **{name: MESSAGE})
    assert call.message_chats() == [DAD]
    assert call.message_chats(reached=reached) == [DAD]
    assert call.message_chats(reached=not reached) == []
    assert a_call(tool).message_chats() == []


@pytest.mark.parametrize(("value", "ids"), [(None, []), ("a", ["a"]), (["a", "b"], ["a", "b"]), ([], [])])
def test_a_parameter_holds_one_id_or_several_or_none(value: Any, ids: list[str]) -> None:
    assert as_list(value) == ids


# What a message says


def said(row: dict[str, Any]) -> str:
    call = a_call("send_text", chat=SAM, reply_to=MESSAGE)
    call.named_messages = {MESSAGE: row}
    quoted = call.quoted_texts()
    assert quoted.keys() == {"what reply_to says"}
    return quoted["what reply_to says"]


def test_a_call_that_names_no_message_quotes_none() -> None:
    assert a_call("send_text", chat=SAM).quoted_texts() == {}


def test_a_text_is_quoted_as_it_is_and_one_that_only_this_app_knows_is_said_to_be_that() -> None:
    assert said({"id": MESSAGE, "body": "Grüße\nDad"}) == "Grüße\nDad"
    assert said({}) == "a message that this App sent"


MEDIA = {"mimetype": "image/png", "filename": "größe.png"}
PLACE = {"latitude": 1.0, "longitude": 2.0, "description": "Pier"}
CARD = "BEGIN:VCARD\nVERSION:3.0\nFN:Bob\nTEL;TYPE=CELL:+12025550199\nEND:VCARD"
POLL = {"name": "Where?", "options": [{"optionName": "Lake"}, {"optionName": "Hill"}]}
OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a picture with a caption": (
        {"body": "Look", "hasMedia": True, "media": MEDIA},
        {"kind": "image", "text": "Look", "media": MEDIA},
    ),
    "a place": ({"location": PLACE}, {"kind": "location", "location": {"latitude": 1.0, "name": "Pier"}}),
    "a card": ({"vCards": [CARD]}, {"kind": "contact", "contacts": [{"name": "Bob", "phone": "+12025550199"}]}),
    "a poll": ({"_data": {"message": {"pollCreationMessage": POLL}}}, {"kind": "poll", "text": "Where?"}),
    "an event": (
        {"_data": {"message": {"eventMessage": {"name": "Party", "startTime": 1893456000}}}},
        {"kind": "event", "event": {"starts": "2030-01-01T00:00:00+00:00"}},
    ),
    "a text with a button": (
        {
            "body": "Pick",
            "_data": {
                "type": "chat",
                "dynamicReplyButtons": [{"buttonId": "a", "buttonText": {"displayText": "Yes"}}],
            },
        },
        {"kind": "text", "text": "Pick", "choices": [{"label": "Yes"}]},
    ),
    "a text that is empty": (
        {"_data": {"message": {"conversation": ""}}},
        {"kind": "text", "note": "empty: the engine gives no content for it"},
    ),
    "one that was deleted": (
        {"_data": {"type": "revoked"}, "body": "gone"},
        {"deleted": True, "note": "deleted by its sender"},
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_of_what_is_no_text_all_is_told_that_shows_what_it_is(what: str) -> None:
    row, shown = OTHERS[what]
    text = said({"id": MESSAGE, "timestamp": 1, **row})
    found = json.loads(text)
    for name, value in shown.items():
        if isinstance(value, dict):
            assert found[name].items() >= value.items()
        else:
            assert found[name] == value
    assert None not in found.values()
    assert "\\u" not in text
    assert not {"id", "time", "sender", "sender_name", "status"} & found.keys()


def test_of_a_poll_the_options_are_told() -> None:
    found = json.loads(said({"id": MESSAGE, **OTHERS["a poll"][0]}))
    assert [each["text"] for each in found["poll"]["options"]] == ["Lake", "Hill"]


# What is told of arguments


def test_an_argument_is_told_in_full_as_long_as_whatsapps_longest_text() -> None:
    assert told("x" * FULL) == "x" * FULL
    assert told("x" * (FULL + 1)).startswith(f"{FULL + 1} characters, sha256 ")
    assert told("ü" * (FULL + 1)).endswith(hashlib.sha256("ü".encode() * (FULL + 1)).hexdigest())
    assert told(5) == 5
    assert told(["x" * (FULL + 1)]) == ["x" * (FULL + 1)]
    assert told([Contact.model_validate({"id": SAM})]) == [{"id": SAM}]


# Its line in the trail


def test_a_call_that_was_refused_before_it_was_known_whom_it_reaches_leaves_whom_it_names() -> None:
    call = a_call("send_text", chat=SAM, reply_to=MESSAGE)
    assert call.record("refused", with_text=False)["chats"] == [SAM, DAD]
    call.reached = (MAYA,)
    assert call.record("refused", with_text=False)["chats"] == [MAYA]


def test_a_line_leaves_out_what_there_is_not() -> None:
    line = a_call("list_chats").record("done", with_text=False)
    assert line.keys() == {"time", "call", "tool", "decision", "outcome", "ms"}
    assert 0 <= line["ms"] < 60_000
    call = a_call("list_chats")
    call.digest, call.client, call.message_id = "d", "c", "m"
    line = call.record("done", with_text=True)
    assert (line["digest"], line["client"], line["message_id"]) == ("d", "c", "m")


def test_arguments_stand_in_it_only_where_they_are_asked_for_and_given() -> None:
    call = a_call("send_text", chat=SAM, text="Hello")
    assert "arguments" not in call.record("done", with_text=False)
    assert call.record("done", with_text=True)["arguments"] == {"chat": SAM, "text": "Hello"}
