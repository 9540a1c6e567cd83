"""Messages in the real forms of WAHA's engines: Baileys (NOWEB), whatsmeow (GOWS) and the browser engines."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import pytest

from waha_mcp.waha.errors import Refused
from waha_mcp.waha.messages import message_from, refuse_view_once, with_known_names
from waha_mcp.whatsapp.ids import NOT_KNOWN


class Book:
    """A few names, and chats that may not be shown."""

    def __init__(self, *hidden: str) -> None:
        self.hidden = hidden

    me = frozenset({"12025550100@c.us", "999@lid"})

    def canonical(self, chat_id: str) -> str:
        return {"777@lid": "12025550123@c.us", "999@lid": "12025550100@c.us"}.get(chat_id, chat_id)

    def name(self, chat_id: str) -> str | None:
        return {"12025550123@c.us": "Sam"}.get(chat_id)

    def shows(self, chat_id: str) -> bool:
        return self.canonical(chat_id) not in self.hidden and not (self.hidden and chat_id == NOT_KNOWN)


def read(data: dict[str, Any] | None = None, *, full: bool = True, hidden: Sequence[str] = (), **raw: Any) -> Any:
    base = {"id": "false_1@g.us_A_777@lid", "from": "1@g.us", "participant": "777@lid", "timestamp": 1_790_000_000}
    message = message_from(base | raw | ({"_data": data} if data is not None else {}), Book(*hidden), full=full)
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


def test_a_mention_is_replaced_as_a_whole() -> None:
    context = {
        "mentionedJid": ["777@lid", "7@lid"],
        "groupMentions": [{"groupJid": "7-1@g.us", "groupSubject": "Club"}],
    }
    data = {"message": {"extendedTextMessage": {"text": "@7 @777, @7-1@g.us @7771 @777-8", "contextInfo": context}}}
    assert read(data).text == "@7@lid @Sam, @Club @7771 @Sam-8"


@pytest.mark.parametrize("wrapper", ["viewOnceMessage", "viewOnceMessageV2"])
def test_buttons_in_the_wrapper_of_what_is_seen_once_are_seen_as_often_as_one_likes(wrapper: str) -> None:
    buttons = {"buttonsMessage": {"contentText": "Today?", "buttons": []}}
    message = read({"message": {wrapper: {"message": buttons}}})
    assert (message.kind, message.text, message.note, message.view_once) == ("buttons", "Today?", None, None)


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


def quoting(**context: Any) -> dict[str, Any]:
    found = {"stanzaId": "B", "participant": "777@lid", "quotedMessage": {"conversation": "Look"}, **context}
    return {"message": {"extendedTextMessage": {"text": "Nice", "contextInfo": found}}}


def test_a_reply_to_a_status_is_no_reply_to_a_message_of_this_chat() -> None:
    quote = read(quoting(remoteJid="status@broadcast")).reply_to
    assert (quote.of, quote.id) == ("status", "false_status@broadcast_B_777@lid")
    assert read(quoting(remoteJid="status@broadcast"), full=False).reply_to.of == "status"


def test_a_reply_to_a_message_of_another_chat_gives_no_id_of_this_one() -> None:
    quote = read(quoting(remoteJid="2@g.us")).reply_to
    assert (quote.of, quote.text) == ("another chat", "Look")
    assert "2@g.us" in quote.id
    browser = {
        "type": "chat",
        "quotedMsg": {"type": "chat", "body": "Look"},
        "quotedRemoteJid": {"_serialized": "2@g.us"},
    }
    assert read(browser).reply_to.of == "another chat"


GROUP, OTHER, ANN, ME = "1@g.us", "2@g.us", "12025550101@c.us", "12025550100@c.us"
IN_PERSON: dict[str, Any] = {"id": "false_12025550123@c.us_A", "from": "12025550123@c.us", "participant": None}


@pytest.mark.parametrize(
    ("context", "hidden", "shown"),
    [
        ({"remoteJid": OTHER}, [OTHER], False),
        ({"remoteJid": OTHER}, [ANN], True),
        ({"remoteJID": OTHER, "participant": ME}, [OTHER], False),
        ({"remoteJid": "status@broadcast", "participant": ANN}, [ANN], False),
        ({"remoteJid": "status@broadcast", "participant": ANN}, ["status@broadcast"], False),
        ({"remoteJid": "status@broadcast", "participant": ANN}, [OTHER], True),
        ({"remoteJid": "status@broadcast", "participant": None}, [OTHER], False),
        ({"remoteJid": "status@broadcast", "participant": ME}, [ANN], True),
        # This author does not write in a chat with another person, so the quote is from elsewhere.
        ({"participant": ANN}, [OTHER], False),
        ({"participant": ANN}, [], True),
        ({}, [OTHER], True),
        ({"participant": ME}, [OTHER], True),
        ({"remoteJid": "12025550123@s.whatsapp.net"}, [OTHER], True),
        # A hidden id without a known number may or may not be this person's.
        ({"remoteJid": "4242@lid"}, [OTHER], False),
        ({"remoteJid": "4242@lid"}, [], True),
    ],
)
def test_a_quote_shows_nothing_of_a_chat_that_may_not_be_shown(
    context: dict[str, Any], hidden: list[str], shown: bool
) -> None:
    message = read(quoting(**context), hidden=hidden, **IN_PERSON)
    assert message.text == "Nice"
    assert (message.reply_to is not None) is shown
    assert ("Look" in message.model_dump_json()) is shown


def test_in_a_group_its_members_are_quoted_whoever_may_be_read() -> None:
    assert read(quoting(participant=ANN), hidden=[ANN]).reply_to.text == "Look"
    assert read(quoting(participant=ANN, remoteJid=OTHER), hidden=[OTHER]).reply_to is None


def test_only_a_chat_that_is_named_is_said_to_be_another() -> None:
    assert read(quoting(participant=ANN), **IN_PERSON).reply_to.of is None
    assert read(quoting(remoteJid="4242@lid"), **IN_PERSON).reply_to.of is None


def test_a_channel_that_may_not_be_shown_is_not_named_as_where_a_message_comes_from() -> None:
    channel = "120363000000000009@newsletter"
    info = {"newsletterJid": channel, "newsletterName": "Storms"}
    data = quoting(isForwarded=True, forwardedNewsletterMessageInfo=info)
    assert read(data).forwarded_from == "Storms"
    assert read(data, hidden=[channel]).forwarded_from is None
    invited = {"message": {"newsletterAdminInviteMessage": {"newsletterJid": channel, "newsletterName": "Storms"}}}
    assert read(invited).invite_channel == channel
    assert read(invited, hidden=[channel]).invite_channel is None


def test_a_quote_that_names_this_chat_in_another_form_is_of_this_chat() -> None:
    quote = read(quoting(remoteJid="777@lid"), id="false_12025550123@c.us_A", participant=None).reply_to
    assert (quote.of, quote.id) == (None, "false_12025550123@c.us_B")


@pytest.mark.parametrize(
    "data",
    [
        {"Message": {"conversation": "now"}, "Info": {"Edit": "3"}},
        {"Message": {"conversation": "now"}, "NewsletterMeta": {"EditTS": "2026-11-25T12:16:40Z"}},
    ],
)
def test_a_post_that_was_edited_says_so(data: dict[str, Any]) -> None:
    assert read(data).edited


def test_a_post_that_was_not_edited_has_gos_zero_time() -> None:
    meta = {"EditTS": "0001-01-01T00:00:00Z", "OriginalTS": "2026-11-25T09:46:40Z"}
    assert read({"Message": {"conversation": "now"}, "NewsletterMeta": meta}).edited is None


@pytest.mark.parametrize(
    ("data", "about"),
    [
        ({"type": "revoked", "subtype": "admin", "revokeSender": {"_serialized": "12025550123@c.us"}}, ["Sam"]),
        ({"type": "revoked", "subtype": "admin_revoke"}, None),
        ({"Info": {"Edit": "8", "ID": "A"}, "Message": {"conversation": "secret"}}, None),
    ],
)
def test_what_an_admin_deleted_was_not_deleted_by_its_sender(data: dict[str, Any], about: list[str] | None) -> None:
    message = read(data)
    assert (message.deleted, message.note, message.about) == (True, "deleted by an admin", about)


POLL = {"name": "When?", "options": [{"optionName": "Noon"}, {"optionName": "Night"}]}


def test_a_poll_whose_votes_the_engine_does_not_list_is_not_said_to_have_none() -> None:
    unknown = read({"message": {"pollCreationMessageV3": POLL}}).poll
    assert [(each.text, each.votes) for each in unknown.options] == [("Noon", None), ("Night", None)]
    nobody = read({"message": {"pollCreationMessageV3": POLL}, "pollUpdates": []}).poll
    assert [each.votes for each in nobody.options] == [0, 0]


@pytest.mark.parametrize("count", [41, "41", 41.0, {"low": 41, "high": 0, "unsigned": False}])
def test_the_result_of_a_poll_counts_in_whatever_form(count: Any) -> None:
    votes = [{"optionName": "Noon", "optionVoteCount": count}, {"optionName": "Night", "optionVoteCount": None}]
    poll = read({"message": {"pollResultSnapshotMessage": {"name": "When?", "pollVotes": votes}}}).poll
    assert [each.votes for each in poll.options] == [41, None]


def test_a_live_location_that_ended_is_where_it_ended() -> None:
    data = {"type": "location", "isLive": True, "lat": 1.0, "lng": 2.0}
    assert (read(data).location.live, read(data).location.latitude) == (True, 1.0)
    ended = read(data | {"finalLat": 3.0, "finalLng": 0}).location
    assert (ended.live, ended.latitude, ended.longitude) == (None, 3.0, 0.0)


def test_a_place_is_named_once() -> None:
    place = {"latitude": 1, "longitude": 2, "name": "Pier 9", "address": "Quay 1", "description": "Pier 9\nQuay 1"}
    message = read({"type": "location", "loc": "Pier 9\nQuay 1"}, location=place)
    assert message.location.name == "Pier 9, Quay 1"


def test_a_card_that_cannot_be_read_is_shown_beside_those_that_can() -> None:
    cards = [
        {"displayName": "Ann", "vcard": "BEGIN:VCARD\nVERSION:3.0\nFN:Ann\nEND:VCARD"},
        {"displayName": "Bob", "vcard": ""},
        {"displayName": "Cid"},
    ]
    data = {"message": {"contactsArrayMessage": {"contacts": cards}}}
    assert [each.name for each in read(data).contacts] == ["Ann", "Bob", "Cid"]


@pytest.mark.parametrize(
    ("subtype", "value", "note"),
    [
        ("announce", "on", "only admins may write"),
        ("announce", "off", "everybody may write"),
        ("announce", "", "changed who may write"),
        ("restrict", "perhaps", "changed who may change the group's info"),
        ("member_add_mode", "all_member_add", "everybody may add members"),
        ("member_add_mode", "admin_add", "only admins may add members"),
        ("member_add_mode", "", "changed who may add members"),
        ("membership_approval_mode", None, "changed whether admins let new members in"),
        ("ephemeral", "0", "messages no longer disappear"),
        ("ephemeral", "86400", "messages disappear after 1 day"),
        ("ephemeral", "²", "changed how long messages stay"),
    ],
)
def test_a_setting_whose_value_is_not_told_is_only_said_to_have_changed(
    subtype: str, value: str | None, note: str
) -> None:
    assert read({"type": "gp2", "subtype": subtype, "body": value}).note == note


@pytest.mark.parametrize(
    ("protocol", "note"),
    [
        ({"type": 3, "ephemeralExpiration": 604_800}, "messages disappear after 7 days"),
        ({"type": "EPHEMERAL_SETTING", "ephemeralExpiration": 0}, "messages no longer disappear"),
        ({"type": 3}, "changed how long messages stay"),
        ({"type": "LIMIT_SHARING"}, "changed whether this chat's messages may be shared on"),
    ],
)
def test_what_a_protocol_message_changes_is_said(protocol: dict[str, Any], note: str) -> None:
    assert read({"message": {"protocolMessage": protocol}}).note == note


def test_numbers_of_stubs_are_not_those_of_protocol_messages() -> None:
    assert read({"messageStubType": 11}).note == "a system message of WhatsApp"


@pytest.mark.parametrize(
    ("data", "note"),
    [
        ({"type": "call_log", "subtype": None}, "voice call"),
        ({"type": "call_log", "subtype": "miss_video"}, "missed video call"),
        ({"type": "call_log", "callOutcome": "Missed", "subtype": None}, "missed voice call"),
        ({"message": {"call": {"callKey": "x"}}}, "a call"),
        ({"message": {"callLogMesssage": {"durationSecs": {"low": 65, "high": 0}}}}, "voice call, 1:05 min"),
    ],
)
def test_a_call_is_missed_or_of_a_kind_only_where_the_engine_says_so(data: dict[str, Any], note: str) -> None:
    assert read(data).note == note


def test_a_planned_call_says_when() -> None:
    data = {"scheduledCallCreationMessage": {"title": "Budget", "scheduledTimestampMs": "1790000000000"}}
    assert read({"message": data}).event.starts == read({}, timestamp=1_790_000_000).time


def test_an_unpinned_message_is_not_pinned() -> None:
    assert read({"type": "pinned_message", "pinMessageType": 1}).note == "pinned a message"
    assert read({"type": "pinned_message", "pinMessageType": 2}).note == "unpinned a message"


def test_an_encrypted_change_does_not_promise_that_what_stands_there_is_changed() -> None:
    assert "may still stand here as it was" in read({"message": {"secretEncryptedMessage": {}}}).note


@pytest.mark.parametrize("amount", [10**400, -5, 1e400, True, "x", {"low": None}])
def test_an_amount_that_is_none_is_left_out(amount: Any) -> None:
    product = {"title": "Lamp", "priceAmount1000": amount, "currencyCode": "EUR"}
    assert read({"message": {"productMessage": {"product": product}}}).note == "a product"


def test_a_picture_in_the_place_of_a_text_makes_no_text_of_an_unknown_kind() -> None:
    message = read({"type": "bot_thing"}, body="/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAYEBQYFBAYG")
    assert (message.kind, message.note) == ("other", "of a kind that is not read here")


def test_an_answer_to_a_list_shows_all_of_the_row_and_nothing_that_whatsapp_sends_along() -> None:
    answer = {"title": "Rye", "description": "dark", "singleSelectReply": {"selectedRowId": "row_7"}}
    assert read({"type": "list_response", "listResponse": answer}, body="Rye").text == "Rye\ndark"


def test_the_channel_of_an_invitation_can_be_followed() -> None:
    invite = {"newsletterJid": "120363000000000009@newsletter", "newsletterName": "News"}
    assert read({"message": {"newsletterFollowerInviteMessageV2": invite}}).invite_channel == invite["newsletterJid"]
    assert read({"message": {"newsletterFollowerInviteMessageV2": {"newsletterJid": 5}}}).invite_channel is None


@pytest.mark.parametrize(
    ("text", "hidden", "shown"),
    [
        ("@777@lid and @+12025550123, come", [], "@Sam and @Sam, come"),
        ("@999@lid, @+12025550100", [], "@me, @me"),
        # The text stays the same for people who may not be shown, or are unknown.
        ("@777@lid and @+12025550123", ["12025550123@c.us"], "@777@lid and @+12025550123"),
        ("@555@lid @+15550100 @12025550123 a@777@lidl @+12025550123456789", [], None),
        ("no mention", [], None),
    ],
)
def test_a_text_that_was_made_without_names_gets_those_that_are_known_and_may_be_shown(
    text: str, hidden: list[str], shown: str | None
) -> None:
    assert with_known_names(text, Book(*hidden)) == (shown or text)
