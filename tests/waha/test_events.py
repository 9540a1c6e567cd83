"""WAHA's live events of four engines, in the shapes that its own code produces, parsed into one kind of record."""

from __future__ import annotations

from typing import Any

import pytest

from waha_mcp.waha.events import NAMES, Event, event_from, message_event

MAYA, MAYA_LID, SAM, GROUP = "447700900142@c.us", "211000000000142@lid", "12025550123@c.us", "120363000000000001@g.us"
NOW = 1_795_000_000


def envelope(name: str, payload: Any, engine: str = "GOWS") -> dict[str, Any]:
    return {
        "id": "evt_01k0000000000000000000000",
        "timestamp": NOW * 1000,
        "event": name,
        "session": "default",
        "me": None,
        "payload": payload,
        "engine": engine,
    }


def heard(name: str, payload: Any) -> Event:
    found = event_from(envelope(name, payload))
    assert found is not None
    return found


def message(message_id: str, **more: Any) -> dict[str, Any]:
    return {"id": message_id, "timestamp": NOW - 5, "fromMe": message_id.startswith("true"), "body": "Hi"} | more


def test_a_message_has_its_chat_and_author_from_its_id_whatever_from_and_to_say() -> None:
    event = heard("message.any", message(f"true_{MAYA}_3EB0A1", **{"from": SAM, "to": MAYA}))
    assert (event.kind, event.chat, event.by, event.time) == ("message", MAYA, "me", NOW - 5)
    event = heard("message.any", message(f"false_{GROUP}_3EB0A2_{SAM}", **{"from": GROUP, "participant": SAM}))
    assert (event.chat, event.by) == (GROUP, SAM)
    assert heard("message.any", message(f"false_{MAYA_LID}_3EB0A3")).by == MAYA_LID


def test_a_message_is_the_same_by_either_id_of_a_person_and_another_one_in_another_chat_or_by_another_author() -> None:
    def key(message_id: str) -> str | None:
        event = message_event(message(message_id))
        return None if event is None else event.key

    assert key(f"false_{MAYA}_3EB0A1") == key(f"false_{MAYA_LID}_3EB0A1")
    assert key(f"false_{GROUP}_3EB0A1_{SAM}") == key(f"false_{GROUP}_3EB0A1_{MAYA_LID}")
    several = [f"false_{MAYA}_3EB0A1", f"true_{MAYA}_3EB0A1", f"false_{GROUP}_3EB0A1_{SAM}", f"false_{MAYA}_3EB0A2"]
    assert len({key(each) for each in several}) == 4


@pytest.mark.parametrize(
    ("payload", "chat", "about", "by"),
    [
        # GOWS and NOWEB: the edit has a separate id.
        (message(f"false_{MAYA}_3EB0B1", editedMessageId="3EB0A1"), MAYA, "3EB0A1", MAYA),
        # WEBJS: it has the id of the message.
        (message(f"false_{GROUP}_3EB0A1_{SAM}", editedMessageId="3EB0A1", participant=SAM), GROUP, "3EB0A1", SAM),
        # WPP may leave it out, and an id may be whole.
        (message(f"true_{MAYA}_3EB0A1"), MAYA, "3EB0A1", "me"),
        (message(f"true_{MAYA}_3EB0B1", editedMessageId=f"true_{MAYA}_3EB0A1"), MAYA, "3EB0A1", "me"),
    ],
)
def test_an_edit_names_the_message_and_who_edited_it(payload: Any, chat: str, about: str, by: str) -> None:
    event = heard("message.edited", payload)
    assert (event.kind, event.chat, event.about, event.by, event.key) == ("edited", chat, about, by, None)


@pytest.mark.parametrize(
    ("payload", "chat", "about", "by"),
    [
        # GOWS, NOWEB: the revoking message, written by whoever did it.
        (
            {"after": message(f"false_{GROUP}_3EB0C1_{SAM}"), "before": None, "revokedMessageId": "3EB0A1"},
            GROUP,
            "3EB0A1",
            SAM,
        ),
        # WEBJS: only the message itself.
        ({"after": message(f"false_{MAYA}_3EB0A1"), "before": None}, MAYA, "3EB0A1", MAYA),
        # WPP: keys in the place of messages.
        (
            {
                "after": {"fromMe": False, "id": "3EB0C1", "remoteJid": "447700900142@s.whatsapp.net"},
                "before": {"fromMe": False, "id": "3EB0A1", "remoteJid": "447700900142@s.whatsapp.net"},
                "revokedMessageId": "3EB0A1",
            },
            MAYA,
            "3EB0A1",
            MAYA,
        ),
    ],
)
def test_a_deletion_names_the_message_and_who_deleted_it(payload: Any, chat: str, about: str, by: str) -> None:
    event = heard("message.revoked", payload)
    assert (event.kind, event.chat, event.about, event.by) == ("deleted", chat, about, by)


def test_a_reaction_is_to_a_message_of_its_own_chat_whatever_its_authors_device_wrote() -> None:
    theirs = {"text": "👍", "messageId": f"false_{SAM}_3EB0A1"}
    event = heard("message.reaction", message(f"false_{MAYA}_3EB0D1", reaction=theirs, timestamp=NOW + 0.853))
    assert (event.kind, event.chat, event.about, event.by, event.what) == ("reaction", MAYA, "3EB0A1", MAYA, "👍")
    for nothing in ("", None):
        taken_back = message(f"true_{MAYA}_3EB0D2", reaction={"text": nothing, "messageId": f"false_{MAYA}_3EB0A1"})
        event = heard("message.reaction", taken_back)
        assert (event.what, event.by) == ("", "me")


@pytest.mark.parametrize(
    ("name", "payload", "by", "what"),
    [
        ("message.ack", {"id": f"true_{MAYA}_3EB0A1", "ack": 3}, MAYA, "read"),
        ("message.ack", {"id": f"true_{MAYA}_3EB0A1", "ack": -1}, MAYA, "failed"),
        ("message.ack", {"id": f"false_{MAYA}_3EB0A1", "ack": 3, "fromMe": False}, "me", "read"),
        ("message.ack", {"id": f"true_{GROUP}_3EB0A1_{MAYA}", "ack": 2, "participant": SAM}, SAM, "delivered"),
        (
            "message.ack.group",
            {
                "id": f"true_{GROUP}_3EB0A1_{MAYA}",
                "ack": 4,
                "participant": MAYA,
                "_data": {"receipt": {"userJid": "12025550123:7@s.whatsapp.net"}},
            },
            SAM,
            "played",
        ),
    ],
)
def test_a_receipt_says_who_got_or_read_which_message(name: str, payload: Any, by: str, what: str) -> None:
    event = heard(name, payload)
    assert (event.kind, event.about, event.by, event.what, event.time) == ("receipt", "3EB0A1", by, what, NOW)


def test_a_vote_holds_the_whole_choice_and_names_the_poll() -> None:
    vote = {"id": f"false_{GROUP}_3EB0E1_{SAM}", "selectedOptions": ["A", "B"], "timestamp": (NOW + 1) * 1000}
    event = heard("poll.vote", {"vote": vote | {"participant": SAM}, "poll": {"id": f"true_{GROUP}_3EB0A1"}})
    assert (event.about, event.by, event.what, event.time) == ("3EB0A1", SAM, ("A", "B"), NOW + 1)
    event = heard("poll.vote", {"vote": vote | {"selectedOptions": None}, "poll": {"id": f"true_{GROUP}_3EB0A1"}})
    assert event.what == ()


def test_changes_of_a_group_have_their_time_in_seconds_or_milliseconds() -> None:
    people = [{"id": MAYA_LID, "pn": MAYA, "role": "participant"}, {"id": SAM, "pn": None}]
    for written in (NOW + 2, (NOW + 2) * 1000):
        payload = {"type": "join", "timestamp": written, "group": {"id": GROUP}, "participants": people}
        event = heard("group.v2.participants", payload)
        assert (event.chat, event.what, event.people, event.time) == (GROUP, "join", (MAYA, SAM), NOW + 2)
    assert heard("group.v2.update", {"timestamp": NOW, "group": {"id": GROUP, "subject": "New"}}).what == "update"


def test_presence_calls_and_the_session_have_their_state() -> None:
    rows = [{"participant": SAM, "lastKnownPresence": "online"}, {"participant": MAYA, "lastKnownPresence": "typing"}]
    assert heard("presence.update", {"id": GROUP, "presences": rows}).what == "typing"
    event = heard("call.received", {"id": "C1", "from": MAYA, "timestamp": NOW})
    assert (event.kind, event.by, event.what) == ("call", MAYA, "received")
    event = heard("session.status", {"name": "default", "status": "FAILED", "data": {"code": "SECRET"}})
    assert (event.kind, event.what, dict(event.row)) == ("session", "FAILED", {"status": "FAILED"})


NOTHING: tuple[Any, ...] = (None, [], "x", {"id": 7}, {"id": {"a": []}}, {"id": ""})
HOSTILE: list[Any] = [
    None,
    [],
    "text",
    7,
    {},
    {"event": "message.any"},
    {"event": ["message.any"], "payload": {"id": f"true_{MAYA}_1"}},
    *(envelope(name, payload) for name in NAMES for payload in NOTHING),
    envelope("message.reaction", message(f"false_{MAYA}_1", reaction="👍")),
    envelope("message.ack", {"id": f"true_{MAYA}_1", "ack": True}),
    envelope("poll.vote", {"vote": [], "poll": 3}),
    envelope("presence.update", {"id": GROUP, "presences": {"a": 1}}),
    envelope("group.v2.participants", {"group": {"id": GROUP}, "participants": [1, None], "type": {}}) | {"payload": 1},
    envelope("session.status", {"status": {"$": 1}}),
    envelope("unknown.event", message(f"false_{MAYA}_1")),
]


@pytest.mark.parametrize("raw", HOSTILE, ids=lambda raw: str(raw)[:40])
def test_what_is_no_event_is_none(raw: Any) -> None:
    assert event_from(raw) is None
