"""Messages as WAHA's engines really spell them: Baileys (NOWEB), whatsmeow (GOWS) and the browser engines."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from waha_mcp.waha.errors import Refused
from waha_mcp.waha.messages import message_from, refuse_view_once


class Book:
    """A few names."""

    me = frozenset({"12025550100@c.us", "999@lid"})

    def canonical(self, chat_id: str) -> str:
        return {"777@lid": "12025550123@c.us", "999@lid": "12025550100@c.us"}.get(chat_id, chat_id)

    def name(self, chat_id: str) -> str | None:
        return {"12025550123@c.us": "Sam"}.get(chat_id)


def read(data: dict[str, Any] | None = None, *, full: bool = True, **raw: Any) -> Any:
    base = {"id": "false_1@g.us_A_777@lid", "from": "1@g.us", "participant": "777@lid", "timestamp": 1_790_000_000}
    message = message_from(base | raw | ({"_data": data} if data is not None else {}), Book(), full=full)
    assert message is not None
    return message


VIEW_ONCE: dict[str, dict[str, Any]] = {
    "NOWEB, v1": {"message": {"viewOnceMessage": {"message": {"imageMessage": {}}}}},
    "NOWEB, v2": {"message": {"viewOnceMessageV2": {"message": {"imageMessage": {"mimetype": "image/jpeg"}}}}},
    "NOWEB, v2 extension": {"message": {"viewOnceMessageV2Extension": {"message": {"imageMessage": {}}}}},
    "NOWEB, a later version": {"message": {"viewOnceMessageV3": {"message": {"imageMessage": {}}}, "imageMessage": {}}},
    "NOWEB, disappearing": {
        "message": {"ephemeralMessage": {"message": {"viewOnceMessage": {"message": {"imageMessage": {}}}}}}
    },
    "NOWEB, sent elsewhere": {"message": {"deviceSentMessage": {"message": {"imageMessage": {"viewOnce": True}}}}},
    "NOWEB, a flag": {"message": {"imageMessage": {"viewOnce": True}}},
    "NOWEB, the key": {"key": {"isViewOnce": True}, "message": {"imageMessage": {}}},
    "GOWS, v1": {"Message": {"imageMessage": {}}, "IsViewOnce": True},
    "GOWS, v2": {"Message": {"imageMessage": {}}, "IsViewOnceV2": True},
    "GOWS, v2 extension": {"Message": {"imageMessage": {}}, "IsViewOnceV2Extension": True},
    "GOWS, a flag": {"Message": {"imageMessage": {"viewOnce": True}}, "IsViewOnce": False},
    "GOWS, raw": {
        "Message": {"imageMessage": {}},
        "RawMessage": {"viewOnceMessageV2": {"message": {"imageMessage": {}}}},
    },
    "GOWS, Go's names": {"Message": {"imageMessage": {"ViewOnce": True}}},
    "WEBJS": {"type": "image", "isViewOnce": True},
    "WPP": {"type": "image", "isViewOnce": 1},
    "WPP, an object": {"type": "image", "msg": {"isViewOnce": "true"}},
}


@pytest.mark.parametrize("data", VIEW_ONCE.values(), ids=VIEW_ONCE.keys())
def test_what_may_be_seen_once_is_said_to_be_so_and_is_not_to_be_copied(data: dict[str, Any]) -> None:
    message = read(data)
    assert (message.kind, message.view_once) == ("image", True)
    assert "once" in message.note
    with pytest.raises(Refused, match="seen once"):
        refuse_view_once({"_data": data})


@pytest.mark.parametrize(
    "data",
    [
        {"messageStubType": 2, "key": {"isViewOnce": True}},
        {"Info": {"Type": "media"}, "UnavailableType": "view_once"},
        {"type": "ciphertext", "subtype": "view_once_unavailable_fanout"},
    ],
)
def test_what_may_be_seen_once_is_so_too_where_it_never_came(data: dict[str, Any]) -> None:
    message = read(data)
    assert message.view_once
    assert "once" in message.note


@pytest.mark.parametrize(
    "data",
    [
        {"message": {"imageMessage": {"viewOnce": False}}},
        {"message": {"imageMessage": {"viewOnce": None, "caption": "viewOnce view_once"}}},
        {"Message": {"imageMessage": {}}, "IsViewOnce": False, "IsViewOnceV2": False},
        {"type": "image", "isViewOnce": "false", "caption": "view_once"},
        {"type": "image", "isViewOnce": ""},
        {"message": {"imageMessage": {"contextInfo": {"quotedMessage": {"viewOnceMessage": {"message": {}}}}}}},
        {"type": "image", "quotedMsg": {"type": "image", "isViewOnce": True}},
        {"message": {"imageMessage": {"jpegThumbnail": {"0": 255, "isViewOnce": 216}}}},
    ],
)
def test_other_media_is_not_to_be_seen_once(data: dict[str, Any]) -> None:
    assert (read(data).kind, read(data).view_once) == ("image", None)
    refuse_view_once({"_data": data, "replyTo": {"_data": {"isViewOnce": True}}})


@pytest.mark.parametrize("nothing", [None, "", [], {}, {"_data": None}])
def test_where_waha_shows_nothing_there_is_nothing_to_be_seen_once(nothing: Any) -> None:
    refuse_view_once(nothing)


@pytest.mark.parametrize(
    "data",
    [
        {"message": {"protocolMessage": {"type": "MESSAGE_EDIT", "editedMessage": {"conversation": "now"}}}},
        {"message": {"editedMessage": {"message": {"protocolMessage": {"editedMessage": {"conversation": "now"}}}}}},
        {"message": {"editedMessage": {"message": {"conversation": "now"}}}},
        {"Message": {"conversation": "now"}, "IsEdit": True},
        {"Message": {"conversation": "now"}, "Info": {"Edit": "1"}},
        {"type": "chat", "body": "now", "latestEditMsgKey": {"id": "x"}},
    ],
)
def test_an_edited_message_shows_what_it_says_now(data: dict[str, Any]) -> None:
    message = read(data, body="now" if data.get("type") else None)
    assert (message.text, message.edited) == ("now", True)


@pytest.mark.parametrize(
    "data",
    [
        {"messageStubType": 1, "message": None},
        {"messageStubType": "REVOKE"},
        {"Info": {"Edit": "7", "ID": "A"}, "Message": {"conversation": "secret"}},
        {"Info": {"ID": "A"}, "Message": {"protocolMessage": {"key": {"ID": "A"}, "type": 0}}},
        {"type": "revoked", "body": "secret"},
    ],
)
def test_of_a_deleted_message_only_that_is_left(data: dict[str, Any]) -> None:
    message = read(data, body="secret")
    assert message.deleted
    assert message.text is None
    assert "deleted" in message.note


@pytest.mark.parametrize(
    ("data", "kind", "note"),
    [
        ({"messageStubType": 27, "message": None}, "system", "added people"),
        ({"messageStubType": 40}, "system", "missed voice call"),
        ({"messageStubType": 2}, "system", "decrypted"),
        ({"messageStubType": 4711}, "system", "system message"),
        ({"type": "ciphertext"}, "other", "decrypted"),
        ({"type": "e2e_notification"}, "system", "system message"),
        ({"type": "call_log"}, "call", "voice call"),
        ({"message": {"protocolMessage": {"key": {"id": "B"}, "type": 0}}}, "system", "a message was deleted"),
        ({"message": {"senderKeyDistributionMessage": {}}}, "system", "system message"),
        ({"message": {"somethingNew": {}}}, "other", "not read here"),
        ({"message": {"conversation": ""}}, "text", "empty"),
    ],
)
def test_what_has_no_text_says_what_it_is(data: dict[str, Any], kind: str, note: str) -> None:
    message = read(data)
    assert message.kind == kind
    assert note in message.note


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        ({"message": {"ephemeralMessage": {"message": {"documentMessage": {"caption": "Plan"}}}}}, "document", "Plan"),
        ({"message": {"documentWithCaptionMessage": {"message": {"documentMessage": {}}}}}, "document", None),
        ({"message": {"listResponseMessage": {"title": "Large"}}}, "text", "Large"),
        ({"message": {"interactiveMessage": {"body": {"text": "Choose"}}}}, "buttons", "Choose"),
        ({"message": {"groupInviteMessage": {"groupName": "Choir"}}}, "invite", "Choir"),
        ({"message": {"reactionMessage": {"text": "👍"}}}, "reaction", "👍"),
        ({"type": "ptt", "duration": "7"}, "voice", None),
        ({"Message": {"audioMessage": {"PTT": True, "seconds": 7}}}, "voice", None),
        ({"message": {"ptvMessage": {"seconds": 7}}}, "video", None),
    ],
)  # fmt: skip
def test_kind_and_words_are_found_wherever_the_engine_keeps_them(
    data: dict[str, Any], kind: str, text: str | None
) -> None:
    message = read(data)
    assert (message.kind, message.text) == (kind, text)


@pytest.mark.parametrize(
    "length",
    [2048, "2048", {"low": 2048, "high": 0, "unsigned": True}, 2048.0],
    ids=["number", "text", "long", "float"],
)
def test_a_file_has_name_size_and_length(length: Any) -> None:
    body = {"mimetype": "video/mp4", "fileLength": length, "seconds": 12, "fileName": "waves.mp4"}
    media = read({"message": {"videoMessage": body}}).media
    assert (media.filename, media.size, media.seconds, media.mimetype) == ("waves.mp4", 2048, 12, "video/mp4")


def digest(option: str) -> bytes:
    return hashlib.sha256(option.encode()).digest()


@pytest.mark.parametrize(
    "spelled",
    [
        lambda o: base64.b64encode(digest(o)).decode(),
        lambda o: digest(o).hex(),
        lambda o: {"type": "Buffer", "data": list(digest(o))},
        lambda o: {"type": "Buffer", "data": base64.b64encode(digest(o)).decode()},
        lambda o: list(digest(o)),
        lambda o: o,
        lambda o: {"name": o},
    ],
    ids=["base64", "hex", "buffer", "buffer64", "bytes", "name", "object"],
)
def test_the_last_vote_of_each_counts_however_its_options_are_spelled(spelled: Any) -> None:
    def vote(option: str, when: int, **key: Any) -> dict[str, Any]:
        return {
            "pollUpdateMessageKey": key,
            "vote": {"selectedOptions": [spelled(option)]},
            "senderTimestampMs": when,
        }

    data = {
        "message": {
            "pollCreationMessageV3": {
                "name": "When?",
                "options": [{"optionName": "Noon"}, {"optionName": "Night"}],
                "selectableOptionsCount": 1,
            }
        },
        "pollUpdates": [
            vote("Noon", 1_790_000_001_000, participant="777@lid"),
            vote("Night", 1_790_000_002_000, participant="777@lid"),
            vote("Night", 1_790_000_001_000, fromMe=True),
        ],
    }
    message = read(data)
    assert (message.kind, message.text, message.poll.several) == ("poll", "When?", None)
    assert [(o.text, o.votes, o.voters) for o in message.poll.options] == [
        ("Noon", 0, None),
        ("Night", 2, ["Sam", "me"]),
    ]


@pytest.mark.parametrize("field", ["mentionedJid", "mentionedJID"])
def test_mentions_stand_in_the_text_by_name(field: str) -> None:
    context = {field: ["777@lid", "12025550100@s.whatsapp.net", "5@lid"]}
    data = {"message": {"extendedTextMessage": {"text": "@777 @12025550100 @5", "contextInfo": context}}}
    assert read(data).text == "@Sam @me @5@lid"


def test_a_quote_without_replyto_is_read_from_the_context() -> None:
    context = {
        "stanzaID": "B",
        "participant": "777@lid",
        "quotedMessage": {"imageMessage": {"caption": "Look"}},
        "isForwarded": True,
    }
    message = read({"Message": {"extendedTextMessage": {"text": "Nice", "contextInfo": context}}})
    assert (message.reply_to.sender_name, message.reply_to.text) == ("Sam", "Look")
    assert message.reply_to.id == "false_1@g.us_B_777@lid"
    assert message.forwarded
    assert read({"message": {"extendedTextMessage": {"contextInfo": context}}}, full=False).reply_to.id is None


@pytest.mark.parametrize(
    "data",
    [
        {"Info": {"SenderAlt": "12025550123@s.whatsapp.net"}},
        {"key": {"participantAlt": "12025550123@s.whatsapp.net"}},
        {"key": {"participantPn": "12025550123@s.whatsapp.net"}},
    ],
)
def test_the_number_of_a_hidden_sender_is_taken_where_the_message_tells_it(data: dict[str, Any]) -> None:
    message = read(data, participant="4242@lid", body="hi")
    assert (message.sender, message.sender_name) == ("12025550123@c.us", "Sam")


def test_a_location_has_a_map_and_must_be_on_earth() -> None:
    data = {"message": {"liveLocationMessage": {"degreesLatitude": 48.2, "degreesLongitude": -16.3}}}
    assert read(data).location.map == "https://maps.google.com/?q=48.200000,-16.300000"
    assert read({"message": {"locationMessage": {"degreesLatitude": 148, "degreesLongitude": 0}}}).location is None
