"""WEBJS and WPP: their rows have the shapes of the payloads that `tests/engines/corpus` holds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engines.corpus import cases
from tests.sandbox.box import MAYA, SAM, Box, bare_id, group_id

pytestmark = pytest.mark.anyio

#: Keys that only some messages have, or that the sandbox leaves out: the corpus has every field of a model.
SOMETIMES = {"participant", "replyTo", "body", "mediaUrl", "ackReason"}
COURIER = "12025550182@c.us"
ANNA = "491713920011@c.us"


def row_of(engine: str, case: str, file: str = "messages") -> Any:
    [found] = [each.row for each in cases(file, engine) if each.case == case]
    return found


def of_type(messages: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(each for each in messages if each["_data"]["type"] == kind)


def shape(value: Any) -> Any:
    """The structure of a value: the types of its parts."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return "null" if value is None else "number" if isinstance(value, int | float) else type(value).__name__


async def everything(box: Box) -> list[dict[str, Any]]:
    """All messages of all chats."""
    found = []
    for chat in await box.get("/api/default/chats/overview", limit=100):
        found += await box.messages(chat["id"], limit=-1)
    return found


#: Type of the model -> a payload of that type.
SAME = {
    "chat": "text from another person",
    "image": "image, not downloaded",
    "ptt": "voice message",
    "document": "document",
    "location": "location with a name only",
    "vcard": "contact card",
    "poll_creation": "poll v1, several answers",
    "sticker": "sticker",
    "revoked": "deleted by its sender",
}


async def test_a_row_has_the_keys_of_the_engines_own(browser: Box) -> None:
    messages = await everything(browser)
    for kind, case in SAME.items():
        mine, theirs = of_type(messages, kind), row_of(browser.engine, case)
        assert mine.keys() - SOMETIMES == theirs.keys() - SOMETIMES, kind
        # Fields of the sandbox's model occur in a real one, too.
        extra = {"author", "quotedMsg", "quotedStanzaID", "quotedParticipant", "quotedMsgId", "notifyName", "caption"}
        optional = {"serverId", "isForwarded", "forwardingScore", "filename", "description", "revokeTimestamp"}
        assert mine["_data"].keys() - theirs["_data"].keys() <= extra | optional, kind


async def test_ids_in_rows_are_objects_on_webjs_and_mostly_text_on_wpp(browser: Box) -> None:
    group = await browser.group("Sunday Hikers 🥾")
    mine = (await browser.messages(group, limit=1))[0]
    theirs = row_of(browser.engine, "text in a group, with participant")
    for name in ("id", "from", "to", "author"):
        assert shape(mine["_data"][name]) == shape(theirs["_data"][name]), name
    assert isinstance(mine["_data"]["id"], dict if browser.engine == "webjs" else str)
    assert mine["participant"]


async def test_places_and_pictures_carry_their_preview_where_text_would_stand(browser: Box) -> None:
    place = of_type(await browser.messages(COURIER), "location")
    assert place["body"].startswith("/9j/")
    assert place["_data"]["body"] == place["body"]
    if browser.engine == "wpp":
        assert place["location"] is None
        assert place["_data"]["loc"]
    else:
        assert place["location"]["thumbnail"] == place["body"]
        assert place["location"]["description"] == place["_data"]["loc"]
    # A picture without a caption: its preview is not treated as text until the picture is quoted.
    bare = await browser.control("POST", "messages", chatId=MAYA, text="", mimetype="image/jpeg")
    row = (await browser.messages(MAYA, limit=1))[0]
    assert row["id"] == bare["id"]
    assert row["hasMedia"] is True
    assert row.get("body", "") == ""
    assert row["_data"]["body"].startswith("/9j/")
    await browser.send(MAYA, "what a view", reply_to=bare["id"])
    answer = (await browser.messages(MAYA, limit=1))[0]["replyTo"]
    theirs = row_of(browser.engine, "reply to a picture without a caption, its thumbnail in the body")["replyTo"]
    assert answer.keys() == theirs.keys()
    assert shape(answer["participant"]) == shape(theirs["participant"])
    if browser.engine == "webjs":
        assert answer["body"].startswith("/9j/")
        assert answer["id"] == bare["id"].split("_")[2]
    else:
        assert answer["id"] == bare["id"]


async def test_a_contact_card_is_raw_text(browser: Box) -> None:
    contact = {"fullName": "Ada", "phoneNumber": "+1 202 555 0190", "vcard": None}
    for number in (1, 2):
        body = {"session": "default", "chatId": MAYA, "contacts": [contact] * number}
        await browser.do("POST", "/api/sendContactVcard", body)
    many, one = await browser.messages(MAYA, limit=2)
    assert one["body"].startswith("BEGIN:VCARD")
    assert [each["displayName"] for each in many["_data"]["vcardList"]] == ["Ada", "Ada"]
    if browser.engine == "wpp":
        assert one["vCards"] is many["vCards"] is None
        assert "body" not in many
    else:
        assert one["vCards"] == [one["body"]]
        assert len(many["vCards"]) == 2


async def test_a_reaction_shows_only_that_there_is_one(browser: Box) -> None:
    message_id = (await browser.messages(MAYA, limit=1))[0]["id"]
    body = {"session": "default", "messageId": message_id, "reaction": "👍"}
    told = await browser.do("PUT", "/api/reaction", body)
    assert told == (None if browser.engine == "webjs" else {"sendMsgResult": "OK"})
    row = (await browser.messages(MAYA, limit=1))[0]
    assert row["_data"]["hasReaction"] is True
    assert "👍" not in str(row)


async def test_a_group_keeps_what_it_is_under_its_metadata(browser: Box) -> None:
    groups = await browser.get("/api/default/groups")
    mine = next(each for each in groups if each["name"] == "Project Kestrel")
    theirs = row_of(browser.engine, "group with description and admins, me among them", "groups")
    assert mine.keys() == theirs.keys() - (set() if browser.engine == "webjs" else theirs.keys() - mine.keys())
    assert mine["groupMetadata"].keys() <= theirs["groupMetadata"].keys()
    assert mine["groupMetadata"]["desc"] == "Launch room. Decisions get a ✅."
    [me] = [each for each in mine["groupMetadata"]["participants"] if each["id"]["user"] == "12025550100"]
    assert (me["isAdmin"], me["isSuperAdmin"]) == (True, False)
    bare = await browser.get("/api/default/groups", exclude="participants")
    assert all("participants" not in each["groupMetadata"] for each in bare)


async def test_a_group_by_its_id_is_an_object_of_another_kind_on_wpp_and_false_when_unknown(browser: Box) -> None:
    group = await browser.group("Project Kestrel")
    found = await browser.get(f"/api/default/groups/{group}")
    assert group_id(found) == group
    assert isinstance(found["id"], dict)
    unknown = await browser.get("/api/default/groups/120363999999999999@g.us")
    assert unknown is (False if browser.engine == "wpp" else None)


async def test_members_that_a_group_hides_go_by_their_numbers_on_webjs_alone(browser: Box) -> None:
    group = await browser.group("Sunday Hikers 🥾")
    members = await browser.get(f"/api/default/groups/{group}/participants/v2")
    hidden = [each for each in members if each["id"].endswith("@lid")]
    numbers = [each for each in members if each["pn"]]
    assert (bool(hidden), bool(numbers)) == ((False, True) if browser.engine == "webjs" else (True, False))
    metadata = (await browser.get(f"/api/default/groups/{group}"))["groupMetadata"]
    assert metadata["owner"]["server"] == "lid"
    [first, *_] = await browser.get(f"/api/default/groups/{group}/participants/join-requests")
    assert "requesterPn" not in first


async def test_a_group_that_was_left_stays_in_the_list_without_members(browser: Box) -> None:
    group = await browser.group("Family ❤️")
    await browser.do("POST", f"/api/default/groups/{group}/leave")
    left = next(each for each in await browser.get("/api/default/groups") if group_id(each) == group)
    assert left["isReadOnly"] is True
    assert left["groupMetadata"]["participants"] == []
    assert left["groupMetadata"]["terminated"] is True
    assert left["groupMetadata"]["subject"] == "Family ❤️"


async def test_making_a_group_tells_its_id_and_who_was_added(browser: Box) -> None:
    made = await browser.do("POST", "/api/default/groups", {"name": "Rowers", "participants": [{"id": MAYA}]})
    assert made["gid"]["_serialized"].endswith("@g.us")
    assert MAYA in made["participants"]
    assert await browser.group("Rowers") == group_id(made)
    await browser.do("DELETE", f"/api/default/groups/{group_id(made)}")
    assert "Rowers" not in str(await browser.get("/api/default/chats", limit=100))


@pytest.mark.parametrize(
    ("chat", "case"),
    [(MAYA, "one-to-one chat with unread messages"), (COURIER, "chat with somebody not saved")],
)
async def test_a_chat_has_the_keys_of_the_engines_own(chat: str, case: str, browser: Box) -> None:
    rows = await browser.get("/api/default/chats", limit=100)
    mine = next(each for each in rows if group_id(each) == chat)
    theirs = row_of(browser.engine, case, "chats")
    assert mine.keys() <= theirs.keys()
    named = {"webjs": "+1 (202) 555-0182", "wpp": None}[browser.engine] if chat == COURIER else "Maya Lindqvist"
    assert mine.get("name") == named
    assert (await browser.chat(chat))["name"] == named
    if browser.engine == "webjs":
        assert mine["lastMessage"].keys() - {"location"} <= theirs["lastMessage"].keys()
        assert isinstance(mine["lastMessage"]["id"], dict)


async def test_two_chats_of_one_person_stay_two(browser: Box) -> None:
    chats = [group_id(each) for each in await browser.get("/api/default/chats", merge="true", limit=100)]
    lid = (await browser.get(f"/api/default/lids/pn/{MAYA}"))["lid"]
    assert {MAYA, lid} <= set(chats)
    texts = [each["body"] for each in await browser.messages(MAYA, limit=100, merge="true")]
    assert "It does!" not in texts


async def test_a_contact_has_the_keys_of_the_engines_own(browser: Box) -> None:
    contacts = await browser.get("/api/contacts/all", session="default")
    mine = {each["id"]: each for each in contacts}
    for any_id, case in {MAYA: "saved contact", COURIER: "not saved, only a name of their own"}.items():
        theirs = row_of(browser.engine, case, "contacts")
        assert mine[any_id].keys() == theirs.keys()
        assert shape(mine[any_id]) | {"profilePicThumbObj": 0} == shape(theirs) | {"profilePicThumbObj": 0}
    group = await browser.group("Project Kestrel")
    assert mine[group].keys() <= row_of(browser.engine, "group among the contacts", "contacts").keys()
    nobody = await browser.get("/api/contacts", session="default", contactId="12025550199@c.us")
    assert nobody is None if browser.engine == "wpp" else nobody["isWAContact"] is False


async def test_all_messages_at_once_and_bare_ids_are_not_for_browsers(browser: Box) -> None:
    answer = await browser.ask("GET", "/api/default/chats/all/messages")
    assert answer.status_code == 501
    assert f"Can not get messages from 'all' in {browser.engine.upper()}" in answer.json()["message"]
    message_id = (await browser.messages(MAYA, limit=1))[0]["id"]
    path = "/api/default/chats/{}/messages/{}"
    assert (await browser.get(path.format(MAYA, message_id)))["id"] == message_id
    bare = await browser.get(path.format(MAYA, message_id.split("_")[2]))
    assert bare is None if browser.engine == "wpp" else bare["id"] == message_id


async def test_a_note_of_the_chat_is_left_out_of_pages_by_webjs(browser: Box) -> None:
    group = await browser.group("Family ❤️")
    raw = {"type": "gp2", "subtype": "subject"}
    note = await browser.control("POST", "messages", chatId=group, text="", raw=raw, **{"from": MAYA})
    newest = (await browser.messages(group, limit=1))[:1]
    assert (newest[0]["id"] == note["id"] if newest else False) is (browser.engine == "wpp")
    assert (await browser.get(f"/api/default/chats/{group}/messages/{note['id']}"))["_data"]["type"] == "gp2"
    assert (await browser.chat(group))["lastMessage"]["id"] == note["id"]


async def test_wpp_filters_only_what_it_fetched(browser: Box) -> None:
    newest = await browser.messages(MAYA, limit=5)
    older = await browser.messages(MAYA, limit=5, **{"filter.timestamp.lte": newest[-1]["timestamp"]})
    assert len(older) == (1 if browser.engine == "wpp" else 5)


async def test_a_send_answers_with_the_librarys_message_on_webjs_and_wahas_on_wpp(browser: Box) -> None:
    body = {"session": "default", "chatId": SAM, "text": "hello"}
    sent = await browser.do("POST", "/api/sendText", body)
    theirs = (
        row_of("webjs", "one-to-one chat with unread messages", "chats")["lastMessage"]
        if browser.engine == "webjs"
        else row_of("wpp", "text from me, read")
    )
    assert sent.keys() == theirs.keys()
    assert shape(sent["id"]) == shape(theirs["id"])
    path = f"/api/default/chats/{SAM}/messages/true_{SAM}_{bare_id(sent)}"
    assert (await browser.get(path))["body"] == "hello"
    edited = await browser.do("PUT", path, {"text": "hello there"})
    assert edited["body"] == "hello there"
    assert (await browser.get(path))["_data"]["latestEditSenderTimestampMs"] > 10**12
    assert await browser.do("DELETE", path) is (None if browser.engine == "webjs" else True)
    assert (await browser.get(path))["_data"]["type"] == "revoked"
    forward = {"session": "default", "chatId": MAYA, "messageId": (await browser.messages(SAM, limit=9))[-1]["id"]}
    assert await browser.do("POST", "/api/forwardMessage", forward) == {"sent": True}


async def test_a_file_is_named_after_the_whole_id_of_its_message(browser: Box) -> None:
    rows = await browser.messages(ANNA, limit=10, downloadMedia="true")
    media = of_type(rows, "document")["media"]
    assert media.keys() == row_of(browser.engine, "document")["media"].keys()
    name = media["url"].rpartition("/")[2]
    assert name.startswith(("false_", "true_"))
    got = await browser.ask("GET", f"/api/files/default/{name}")
    assert got.status_code == 200
    assert (await browser.ask("GET", "/api/files/default/no_such.pdf")).status_code == 404


async def test_reading_a_chat_reads_all_of_it_and_names_nothing(browser: Box) -> None:
    for _ in range(40):
        await browser.control("POST", "messages", chatId=MAYA, text="again")
    assert await browser.do("POST", f"/api/default/chats/{MAYA}/messages/read") == {"ids": None}
    assert (await browser.chat(MAYA))["_chat"]["unreadCount"] == 0


async def test_presence_of_all_and_when_somebody_was_last_there(browser: Box) -> None:
    answer = await browser.ask("GET", "/api/default/presence")
    assert answer.status_code == (501 if browser.engine == "webjs" else 200)
    lid = (await browser.get(f"/api/default/lids/pn/{MAYA}"))["lid"]
    found = await browser.get(f"/api/default/presence/{lid}")
    assert found["id"] == (MAYA if browser.engine == "webjs" else lid)
    [one] = (await browser.get(f"/api/default/presence/{MAYA}"))["presences"]
    assert (one["lastSeen"] is None) is (browser.engine == "wpp")


async def test_a_status_cannot_name_who_sees_it(browser: Box) -> None:
    body = {"text": "Up the hill", "backgroundColor": "#38b42f", "font": 1}
    answer = await browser.ask("POST", "/api/default/status/text", body | {"contacts": [MAYA]})
    assert answer.status_code == 422
    assert f"{browser.engine.upper()} doesn't accept 'contacts'" in answer.json()["message"]
    assert (await browser.ask("POST", "/api/default/status/text", body)).status_code == 201


async def test_wpp_knows_little_of_a_channel_and_none_by_its_code(browser: Box) -> None:
    listed = {each["name"]: each for each in await browser.get("/api/default/channels")}
    news = listed["City Library News"]
    wanted = {"text": "library", "limit": 1, "categories": [], "startCursor": ""}
    [found] = (await browser.do("POST", "/api/default/channels/search/by-text", wanted))["channels"]
    by_code = await browser.ask("GET", f"/api/default/channels/{found['invite'].rpartition('/')[2]}")
    if browser.engine == "wpp":
        assert (news["invite"], news["description"], news["subscribersCount"]) == ("", None, 0)
        assert by_code.status_code == 501
        missing = await browser.ask("GET", "/api/default/channels/120363999999999999@newsletter")
        assert missing.status_code == 404
    else:
        assert news["subscribersCount"] is None
        assert by_code.json()["subscribersCount"] == 18_400
