"""Parsing of WAHA's objects: every odd shape of the reference, and junk that must not break anything."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waha_mcp.waha.chat_rows import chat_from
from waha_mcp.waha.errors import BadAnswer
from waha_mcp.waha.messages import message_from
from waha_mcp.waha.models import contact_from, group_from, sent_from
from waha_mcp.waha.parsing import chat_id_of, epoch, iso_time, kind_of_chat, listing

SECOND = 1_790_000_000


@pytest.mark.parametrize(
    "value",
    [
        SECOND,
        float(SECOND),
        datetime.fromtimestamp(SECOND, UTC).isoformat().replace("+00:00", "Z"),
        datetime.fromtimestamp(SECOND).isoformat(),
        str(SECOND),
        SECOND * 1000,
        str(SECOND * 1000),
        {"low": SECOND, "high": 0, "unsigned": True},
        {"low": SECOND - 2**32, "high": 0, "unsigned": False},
        {"low": SECOND},
        {"low": (SECOND * 1000) & 0xFFFFFFFF, "high": (SECOND * 1000) >> 32, "unsigned": True},
    ],
)
def test_a_time_is_read_from_each_of_its_shapes(value: Any) -> None:
    assert epoch(value) == SECOND
    said = iso_time(value)
    assert said is not None
    moment = datetime.fromisoformat(said)
    assert moment.tzinfo is not None
    assert moment.timestamp() == SECOND


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "soon",
        "0001-01-01T00:00:00Z",
        -62135596800,
        -62135596800000,
        "1969-12-31T23:59:59Z",
        True,
        [],
        {},
        0,
        -5,
        "nan",
        float("inf"),
        10**400,
        {"low": "1"},
        {"low": 1, "high": None},
        1e30,
    ],
)
def test_what_is_no_time_is_none(value: Any) -> None:
    assert epoch(value) is None
    assert iso_time(value) is None


def test_a_time_with_fractions_is_shown_to_the_second() -> None:
    assert epoch(SECOND + 0.75) == epoch(f"{SECOND}.75") == SECOND + 0.75
    assert iso_time(SECOND + 0.75) == iso_time(SECOND)


def test_groups_keyed_by_id_are_a_list_like_any_other() -> None:
    rows = [{"id": "1@g.us"}, {"id": "2@g.us"}]
    assert listing({"1@g.us": rows[0], "2@g.us": rows[1]}, "groups") == listing(rows, "groups") == rows


def test_an_empty_list_is_no_rows_and_an_empty_object_only_of_groups() -> None:
    assert listing([], "chats") == []
    assert listing({}, "groups") == []
    with pytest.raises(BadAnswer):
        listing({}, "chats")


@pytest.mark.parametrize("answer", [None, "text", 5, True, [1], [{}, None], {"message": "hello"}, {"error": {}}])
def test_what_is_no_list_is_a_bad_answer_that_says_of_what(answer: Any) -> None:
    with pytest.raises(BadAnswer) as caught:
        listing(answer, "chats")
    assert "list of chats" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "chat"),
    [
        ("1202@s.whatsapp.net", "1202@c.us"),
        ({"_serialized": "1202@c.us", "user": "1202", "server": "c.us"}, "1202@c.us"),
        ({"user": "1202", "server": "s.whatsapp.net"}, "1202@c.us"),
        ({"_serialized": 5}, None),
        ({}, None),
        (None, None),
        (["1202@c.us"], None),
        ("junk", None),
    ],
)
def test_a_chat_id_is_found_in_each_of_its_shapes(value: Any, chat: str | None) -> None:
    assert chat_id_of(value) == chat


@pytest.mark.parametrize(
    ("chat", "kind"),
    [
        ("1@c.us", "person"),
        ("1@lid", "person"),
        ("1@g.us", "group"),
        ("1@newsletter", "channel"),
        ("status@broadcast", "status"),
        ("1@broadcast", "broadcast"),
    ],
)
def test_a_chats_kind_follows_from_its_id(chat: str, kind: str) -> None:
    assert kind_of_chat(chat) == kind


def message(**changes: Any) -> Any:
    raw = {"id": "false_1202@c.us_A", "timestamp": SECOND, "from": "1202@c.us", "fromMe": False, "body": "hello"}
    return message_from(raw | changes)


def test_a_text_message_keeps_what_matters() -> None:
    kept = message(_data={"pushName": "Zoë", "secret": "x" * 2000}).model_dump(exclude_none=True)
    assert kept == {
        "id": "false_1202@c.us_A",
        "time": iso_time(SECOND),
        "sender": "1202@c.us",
        "sender_name": "Zoë",
        "kind": "text",
        "text": "hello",
    }


def test_an_own_message_is_from_me_and_has_a_status() -> None:
    own = message(fromMe=True, ack=3, _data={"pushName": "Me"})
    assert (own.sender, own.sender_name, own.status) == ("me", None, "read")
    assert message(fromMe=False, ack=3).status is None
    assert message(fromMe=True, ack=99).status is None


def test_in_a_group_the_sender_is_the_participant() -> None:
    assert message(**{"from": "1@g.us", "participant": "1202@s.whatsapp.net"}).sender == "1202@c.us"
    assert message(**{"from": None, "participant": None}).sender == "unknown"


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"hasMedia": True, "media": {"mimetype": "image/png"}}, "image"),
        ({"hasMedia": True, "media": {"mimetype": "application/pdf"}}, "document"),
        ({"hasMedia": True, "media": None}, "document"),
        ({"hasMedia": False, "_data": {"message": {"imageMessage": {}}}}, "image"),
        ({"_data": {"message": {"audioMessage": {"ptt": True}}}}, "voice"),
        ({"_data": {"Message": {"audioMessage": {"PTT": True}}}}, "voice"),
        ({"_data": {"Message": {"audioMessage": {}}}}, "audio"),
        ({"_data": {"Message": {"pollCreationMessageV3": {}}}}, "poll"),
        ({"location": {"latitude": "1.5", "longitude": 2}}, "location"),
        ({"vCards": ["BEGIN:VCARD\nFN:Zoë\nEND:VCARD"]}, "contact"),
        ({"body": None}, "other"),
        ({"_data": {"message": None}}, "text"),
    ],
)
def test_the_kind_of_a_message_is_found_in_each_engine(changes: dict[str, Any], kind: str) -> None:
    assert message(**changes).kind == kind


def test_a_location_is_kept_when_it_is_one() -> None:
    assert message(location={"latitude": "1.5", "longitude": 2, "description": "Home"}).location.name == "Home"
    junks: list[Any] = [
        {"latitude": 1},
        {"latitude": "nan", "longitude": 1},
        {"latitude": 10**400, "longitude": 1},
        [],
        "x",
    ]
    for junk in junks:
        assert message(location=junk).location is None


def test_contact_cards_show_name_and_number() -> None:
    card = "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Zoë 😀\r\nitem1.TEL;waid=1202:+1 202\r\nEND:VCARD"
    [shown] = message(vCards=[card]).contacts
    assert (shown.name, shown.phone) == ("Zoë 😀", "+1 202")
    assert message(vCards=[5]).contacts is None
    assert message(vCards="junk").contacts is None


def test_a_quote_shows_what_was_answered() -> None:
    assert message(replyTo={"id": "A", "body": "before"}).reply_to.text == "before"
    assert message(replyTo=None).reply_to is None


def test_an_id_may_be_an_object_of_a_browser_engine() -> None:
    assert message(id={"_serialized": "false_1@c.us_A"}).id == "false_1@c.us_A"


def test_a_message_without_an_id_is_left_out() -> None:
    assert message_from({"id": "false_1@c.us_A"}) is not None
    for raw in ({"id": None}, {"id": ""}, {}):
        assert message_from(raw) is None


def test_a_chat_keeps_name_kind_and_last_message() -> None:
    chat = chat_from(
        {
            "id": "1@g.us",
            "name": "عائلة 👨‍👩‍👧",
            "lastMessage": {"id": "false_1@g.us_A"},
            "_chat": {"unreadCount": 3},
        }
    )
    assert chat is not None
    assert (chat.name, chat.kind, chat.unread) == ("عائلة 👨‍👩‍👧", "group", 3)
    assert chat.last_message is not None


@pytest.mark.parametrize("unread", [None, "3", True, {}])
def test_unread_is_left_out_where_it_is_no_count(unread: Any) -> None:
    chat = chat_from({"id": "1@c.us", "lastMessage": {}, "_chat": {"unreadCount": unread}})
    assert chat is not None
    assert chat.unread is None
    assert chat.last_message is None


def test_a_contact_keeps_name_and_number() -> None:
    contact = contact_from({"id": "1202555@s.whatsapp.net", "pushname": "Zoë", "isMyContact": True, "isBlocked": False})
    assert contact is not None
    assert contact.model_dump(exclude_none=True) == {
        "id": "1202555@c.us",
        "calls_themselves": "Zoë",
        "phone": "+1202555",
        "saved": True,
    }


@pytest.mark.parametrize(
    ("raw", "name", "push_name"),
    [
        ({"name": "Ada", "formattedName": "Ada L.", "username": "ada"}, "Ada", None),
        ({"name": "Ada", "verifiedName": "Ada's 24/7"}, "Ada", "Ada's 24/7"),
        ({"formattedName": "Ada", "isMyContact": True}, None, "Ada"),
        ({"formattedName": "+1 (202) 555-0155"}, None, None),
        ({"pushname": "ada", "formattedName": "Ada"}, None, "ada"),
        ({"username": "ada_l", "formattedName": "+1 (202) 555-0155"}, None, "ada_l"),
    ],
)
def test_a_name_that_an_engine_puts_together_counts_as_chosen_and_a_number_as_none(
    raw: dict[str, Any], name: str | None, push_name: str | None
) -> None:
    contact = contact_from({"id": "12025550155@c.us", **raw})
    assert contact is not None
    assert (contact.name, contact.calls_themselves) == (name, push_name)


def test_the_number_behind_a_hidden_id_is_shown_where_the_contact_names_it() -> None:
    contact = contact_from({"id": "990003@lid", "phoneNumber": "12025550155@s.whatsapp.net"})
    assert contact is not None
    assert (contact.id, contact.phone) == ("990003@lid", "+12025550155")


@pytest.mark.parametrize("raw", [{}, {"id": None}, {"id": "1@g.us"}, {"id": "1@c.us", "isMe": True}])
def test_who_is_no_contact_is_left_out(raw: dict[str, Any]) -> None:
    assert contact_from(raw) is None


@pytest.mark.parametrize(
    ("raw", "subject", "participants"),
    [
        ({"id": "1@g.us", "subject": "Team", "participants": [{}, {}], "creation": SECOND}, "Team", 2),
        ({"id": {"_serialized": "1@g.us"}, "name": "Team", "size": 2}, "Team", 2),
        ({"JID": "1@g.us", "Name": "Team", "ParticipantCount": 2, "Participants": []}, "Team", 2),
        ({"id": "1@g.us", "subject": None, "participants": None, "size": "2"}, None, None),
        ({"id": {"_serialized": "1@g.us"}, "groupMetadata": {"subject": "Team", "participants": [{}, {}]}}, "Team", 2),
        ({"id": "1@g.us", "name": None, "groupMetadata": {"id": "2@g.us", "subject": "Team", "size": 2}}, "Team", 2),
        ({"JID": "1@g.us", "Participants": [{"Error": 0}, {"Error": 403}], "ParticipantCount": 2}, None, 1),
    ],
)
def test_a_group_is_read_from_each_engine(raw: Any, subject: str | None, participants: int | None) -> None:
    group = group_from(raw)
    assert group is not None
    assert (group.id, group.subject, group.participants) == ("1@g.us", subject, participants)


def test_a_groups_birthday_is_a_number_or_text() -> None:
    number = group_from({"id": "1@g.us", "creation": SECOND})
    none = group_from({"JID": "1@g.us", "GroupCreated": "0001-01-01T00:00:00Z"})
    assert none is not None
    assert none.created is None
    text = group_from({"JID": "1@g.us", "GroupCreated": datetime.fromtimestamp(SECOND).astimezone().isoformat()})
    assert number is not None
    assert text is not None
    assert number.created == text.created == iso_time(SECOND)


def test_a_send_answered_with_a_message_gives_its_id_and_chat() -> None:
    sent = sent_from({"id": "true_1202@c.us_A", "timestamp": SECOND}, "999@c.us")
    assert (sent.message_id, sent.chat, sent.time) == ("true_1202@c.us_A", "1202@c.us", iso_time(SECOND))


@pytest.mark.parametrize(
    ("answer", "message_id", "chat"),
    [
        (
            {"key": {"remoteJid": "1202@s.whatsapp.net", "fromMe": True, "id": "A"}, "messageTimestamp": str(SECOND)},
            "true_1202@c.us_A",
            "1202@c.us",
        ),
        (
            {
                "key": {"remoteJid": "1@g.us", "fromMe": False, "id": "A", "participant": "5@s.whatsapp.net"},
                "messageTimestamp": {"low": SECOND, "high": 0, "unsigned": True},
            },
            "false_1@g.us_A_5@c.us",
            "1@g.us",
        ),
        (
            {"key": {"remoteJid": "1202@lid", "fromMe": None, "id": "A"}, "messageTimestamp": SECOND},
            "true_1202@lid_A",
            "1202@lid",
        ),
        (
            {"id": {"_serialized": "true_1202@c.us_A", "id": "A"}, "timestamp": SECOND},
            "true_1202@c.us_A",
            "1202@c.us",
        ),
    ],
)
def test_a_send_answered_with_the_engines_own_message_gives_the_same(answer: Any, message_id: str, chat: str) -> None:
    sent = sent_from(answer, "999@c.us")
    assert (sent.message_id, sent.chat, sent.time) == (message_id, chat, iso_time(SECOND))


@pytest.mark.parametrize("answer", [None, "", [], True, {}, {"id": 5}, {"id": ""}, {"key": {"id": "A"}}, {"key": "x"}])
def test_a_send_that_answers_nothing_was_still_a_send(answer: Any) -> None:
    sent = sent_from(answer, "999@c.us")
    assert (sent.message_id, sent.chat, sent.time) == (None, "999@c.us", None)


_FIELDS = [
    *("id", "_serialized", "user", "server", "JID", "key", "remoteJid", "fromMe", "participant", "from", "timestamp"),
    *("messageTimestamp", "low", "high", "body", "media", "mimetype", "filename", "hasMedia", "location", "latitude"),
    *("longitude", "replyTo", "vCards", "ack", "_data", "message", "Message", "audioMessage", "pushName", "Info"),
    *("_chat", "unreadCount", "lastMessage", "name", "isMe", "isMyContact", "participants", "size", "creation"),
    *("GroupCreated", "subject", "description"),
]
_junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -1, "1202@c.us", "1@g.us", "true_1202@c.us_A", str(SECOND)])
    | st.floats()
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=6),
    max_leaves=30,
)
_object = st.dictionaries(st.sampled_from(_FIELDS), _junk, max_size=12)


# How long generating the examples takes says nothing about the code.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_object, st.sampled_from(["1202@c.us", "1@g.us", {"_serialized": "1@g.us"}, "true_1202@c.us_A"]))
@pytest.mark.slow
def test_junk_breaks_nothing_and_what_comes_out_can_be_written(raw: dict[str, Any], an_id: Any) -> None:
    for read in (chat_from, message_from, contact_from, group_from):
        for source in (raw, raw | {"id": an_id}):
            kept = read(source)
            if kept is not None:
                json.dumps(kept.model_dump(mode="json", exclude_none=True), allow_nan=False)
    sent_from(raw, "1202@c.us")


@given(_junk)
def test_a_junk_answer_is_a_list_or_a_bad_answer(answer: Any) -> None:
    try:
        rows = listing(answer, "things")
    except BadAnswer:
        return
    assert all(isinstance(row, dict) for row in rows)


@pytest.mark.parametrize(
    ("answer", "told"), [({"sent": True}, True), ({"sent": "true"}, False), ({}, False), (None, False)]
)
def test_a_send_is_told_without_an_id_only_by_wahas_own_word(answer: Any, told: bool) -> None:
    sent = sent_from(answer, "12025550123@c.us")
    assert (sent.message_id, sent.told) == (None, told)
