"""Reading messages, sending them, and the effects on later reads."""

from __future__ import annotations

import base64
from typing import Any

import anyio
import pytest

from tests.sandbox.box import MAYA, SAM, Box, bare_id
from waha_mcp.sandbox.sample_files import ogg, png

pytestmark = pytest.mark.anyio

S = {"session": "default"}


def bodies(messages: list[dict[str, Any]]) -> list[Any]:
    return [each["body"] for each in messages]


async def test_messages_come_newest_first_in_pages_that_join_up(box: Box) -> None:
    everything = await box.messages(MAYA, limit=-1)
    times = [each["timestamp"] for each in everything]
    assert times == sorted(times, reverse=True)
    pages = [each for start in range(0, 40, 7) for each in await box.messages(MAYA, limit=7, offset=start)]
    assert [each["id"] for each in pages[: len(everything)]] == [each["id"] for each in everything[: len(pages)]]
    assert len(await box.messages(MAYA)) == 10
    oldest = await box.messages(MAYA, limit=2, sortOrder="asc")
    assert [each["id"] for each in oldest] == [each["id"] for each in everything[:-3:-1]]


async def test_a_window_of_time_and_an_author_narrow_a_read(box: Box) -> None:
    everything = await box.messages(MAYA, limit=-1)
    since, until = everything[8]["timestamp"], everything[3]["timestamp"]
    found = await box.messages(MAYA, limit=-1, **{"filter.timestamp.gte": since, "filter.timestamp.lte": until})
    assert [each["id"] for each in found] == [each["id"] for each in everything if since <= each["timestamp"] <= until]
    mine = await box.messages(MAYA, limit=3, offset=1, **{"filter.fromMe": "true"})
    assert [each["id"] for each in mine] == [each["id"] for each in everything if each["fromMe"]][1:4]


async def test_noweb_refuses_to_filter_by_acknowledgement(box: Box) -> None:
    answer = await box.ask("GET", f"/api/default/chats/{MAYA}/messages", params={"filter.ack": "DEVICE"})
    assert answer.status_code == (501 if box.engine == "noweb" else 200)
    if box.engine == "gows":
        assert {each["ackName"] for each in answer.json()} == {"DEVICE"}


async def test_all_reads_across_chats_and_a_bare_id_is_enough(box: Box) -> None:
    everything = await box.messages("all", limit=50)
    assert len({each["from"] for each in everything}) > 10
    wanted = everything[4]
    bare = bare_id(wanted)
    assert (await box.message(bare))["id"] == wanted["id"]
    one = await box.get(f"/api/default/chats/{wanted['from']}/messages/{wanted['id']}")
    assert one["id"] == wanted["id"]
    assert await box.get(f"/api/default/chats/{SAM if wanted['from'] != SAM else MAYA}/messages/{bare}") is None


async def test_the_two_ids_of_a_person_are_one_chat_unless_asked_apart(box: Box) -> None:
    lid = (await box.get("/api/default/lids/pn/447700900142"))["lid"]
    joined = await box.messages(MAYA, limit=-1)
    assert {each["from"] for each in joined} == {MAYA, lid}
    assert len(await box.messages(lid, limit=-1)) == len(joined)
    alone = await box.messages(lid, limit=-1, merge="false")
    assert bodies(alone) == ["It does!", "New phone, same me. Does this reach you?"]
    apart = [each["id"] for each in await box.get("/api/default/chats", limit=-1, merge="false")]
    together = [each["id"] for each in await box.get("/api/default/chats", limit=-1)]
    assert set(apart) - set(together) == {lid}


async def test_raw_data_is_of_the_size_and_the_ids_that_engines_have(box: Box) -> None:
    for message in await box.messages("all", limit=200):
        raw = str(message["_data"])
        assert 400 < len(raw) < 4000
        assert "@c.us" not in raw
        kind, chat, *_ = message["id"].split("_")
        assert kind == str(message["fromMe"]).lower()
        assert chat == message["from"]
        assert message["id"].count("_") == (3 if chat.endswith("@g.us") else 2)
        assert bool(message["participant"]) is chat.endswith("@g.us")


async def test_media_is_described_when_asked_and_its_url_names_another_host(box: Box) -> None:
    [shown] = [each for each in await box.messages(MAYA, limit=3, downloadMedia="true") if each["hasMedia"]]
    assert shown["media"]["url"].startswith("http://waha.example.com:3000/api/files/default/")
    assert shown["media"]["mimetype"] == "image/jpeg"
    [hidden] = [each for each in await box.messages(MAYA, limit=3) if each["id"] == shown["id"]]
    assert hidden["media"] is None
    assert hidden["hasMedia"] is (box.engine == "gows")


async def test_a_file_that_whatsapp_no_longer_has_is_an_error_without_a_url(box: Box) -> None:
    found = await box.messages("12025550101@c.us", limit=-1, downloadMedia="true")
    [gone] = [each["media"] for each in found if each["media"] and each["media"]["error"]]
    assert gone["url"] is None


async def test_a_deleted_message_is_left_out_by_noweb_and_empty_on_gows(box: Box) -> None:
    sent = await box.send(SAM, "a slip")
    await box.do("DELETE", f"/api/default/chats/{SAM}/messages/true_{SAM}_{sent}")
    page = await box.messages(SAM, limit=3)
    if box.engine == "noweb":
        assert len(page) < 3
        assert await box.message(sent) is None
    else:
        assert (await box.message(sent))["body"] is None


async def test_a_send_is_stored_and_acknowledged_and_answered(box: Box) -> None:
    sent = await box.send(SAM, "Are you there?")
    stored = await box.message(sent)
    assert (stored["body"], stored["fromMe"], stored["source"], stored["from"]) == ("Are you there?", True, "api", SAM)
    await box.control("POST", "settle")
    assert (await box.message(sent))["ackName"] == "READ"
    answer, question = await box.messages(SAM, limit=2)
    assert question["id"] == stored["id"]
    assert "Are you there?" in answer["body"]
    assert answer["replyTo"]["id"] == sent
    assert (await box.chat(SAM))["_chat"]["unreadCount"] == 1


async def test_the_answer_comes_by_itself_after_a_moment(gows: Box) -> None:
    await gows.send(SAM, "Hello")
    with anyio.fail_after(5):
        while (await gows.messages(SAM, limit=1))[0]["fromMe"]:
            pass


async def test_nobody_else_answers(gows: Box) -> None:
    sent = await gows.send(MAYA, "Hello")
    await gows.control("POST", "settle")
    [last] = await gows.messages(MAYA, limit=1)
    assert last["id"] == f"true_{MAYA}_{sent}"
    assert last["ackName"] == "DEVICE"


async def test_noweb_answers_a_send_with_its_raw_message_and_any_kind_of_timestamp(box: Box) -> None:
    text = await box.do("POST", "/api/sendText", S | {"chatId": SAM, "text": "x"})
    place = await box.do("POST", "/api/sendLocation", S | {"chatId": SAM, "latitude": 1, "longitude": 2, "title": "x"})
    image = {"mimetype": "image/png", "data": base64.b64encode(png()).decode()}
    picture = await box.do("POST", "/api/sendImage", S | {"chatId": SAM, "file": image})
    if box.engine == "gows":
        assert all(each["id"].startswith(f"true_{SAM}_") for each in (text, place, picture))
        return
    assert text["key"].keys() == {"remoteJid", "fromMe", "id"}
    assert text["key"]["remoteJid"] == "12025550123@s.whatsapp.net"
    stamps = [each["messageTimestamp"] for each in (text, place, picture)]
    assert [type(each) for each in stamps] == [str, int, dict]
    assert stamps[2].keys() == {"low", "high", "unsigned"}


async def test_an_id_made_in_advance_becomes_the_messages_id(box: Box) -> None:
    made = (await box.get("/api/default/new-message-id"))["id"]
    assert await box.send(SAM, "with an id", id=made) == made
    assert await box.send(SAM, "with the same id", id=made) != made


async def test_a_reply_a_mention_a_reaction_and_an_edit_show_in_later_reads(box: Box) -> None:
    first = await box.send(SAM, "first")
    second = await box.send(SAM, "second", reply_to=f"true_{SAM}_{first}", mentions=[MAYA])
    reaction = S | {"messageId": f"true_{SAM}_{first}", "reaction": "🎉"}
    await box.do("PUT", "/api/reaction", reaction)
    await box.do("PUT", f"/api/default/chats/{SAM}/messages/true_{SAM}_{second}", {"text": "second, better"})
    found = await box.message(second)
    assert found["body"] == "second, better"
    assert found["replyTo"]["body"] == "first"
    assert "447700900142@s.whatsapp.net" not in str((await box.message(first))["_data"])
    assert [each["text"] for each in (await box.message(first))["_data"]["reactions"]] == ["🎉"]
    await box.do("PUT", "/api/reaction", reaction | {"reaction": ""})
    assert (await box.message(first))["_data"]["reactions"] == []


async def test_only_ones_own_messages_are_edited_or_deleted(gows: Box) -> None:
    [theirs] = await gows.messages(MAYA, limit=1)
    path = f"/api/default/chats/{MAYA}/messages/{theirs['id']}"
    assert (await gows.ask("PUT", path, {"text": "forged"})).status_code == 500
    assert (await gows.ask("DELETE", path)).status_code == 500


@pytest.mark.parametrize(
    ("route", "kind", "file"),
    [
        ("sendImage", "image", {"mimetype": "image/png", "data": base64.b64encode(png()).decode()}),
        ("sendVoice", "voice", {"mimetype": "audio/ogg; codecs=opus", "data": base64.b64encode(ogg()).decode()}),
        ("sendVideo", "video", {"mimetype": "video/mp4", "url": "https://files.example.com/a.mp4"}),
        ("sendFile", "document", {"mimetype": "text/plain", "filename": "a.txt", "data": "aGVsbG8="}),
    ],
)
async def test_a_sent_file_can_be_fetched_again(gows: Box, route: str, kind: str, file: dict[str, str]) -> None:
    sent = await gows.do(
        "POST", f"/api/{route}", S | {"chatId": MAYA, "file": file, "caption": "see", "convert": False}
    )
    found = await gows.message(bare_id(sent), downloadMedia="true")
    assert found["_data"]["Info"]["MediaType"] == kind
    media = found["media"]
    assert (media["mimetype"], media["filename"]) == (file["mimetype"], file.get("filename"))
    answer = await gows.ask("GET", media["url"].removeprefix("http://waha.example.com:3000"))
    assert answer.status_code == 200
    if "data" in file:
        assert answer.content == base64.b64decode(file["data"])


@pytest.mark.parametrize(
    "file", [None, {}, {"mimetype": "image/png"}, {"mimetype": "image/png", "data": "not base64!"}]
)
async def test_a_file_that_is_none_is_a_500(gows: Box, file: Any) -> None:
    answer = await gows.ask("POST", "/api/sendImage", S | {"chatId": MAYA, "file": file})
    assert answer.status_code == 500


async def test_seen_takes_the_unread_away(box: Box) -> None:
    assert (await box.chat(MAYA))["_chat"]["unreadCount"] == 2
    newest, older = [each for each in await box.messages(MAYA) if each["ackName"] == "DEVICE"]
    await box.do("POST", "/api/sendSeen", S | {"chatId": MAYA, "messageIds": [older["id"]]})
    assert (await box.chat(MAYA))["_chat"]["unreadCount"] == 1
    answer = await box.ask("POST", "/api/sendSeen", S | {"chatId": MAYA})
    assert (answer.status_code, answer.content) == (201, b"")
    assert (await box.chat(MAYA))["_chat"]["unreadCount"] == 0
    assert (await box.message(bare_id(newest)))["ackName"] == "READ"


async def test_reading_a_chat_tells_which_messages_were_read(box: Box) -> None:
    unread = [each["id"] for each in await box.messages(MAYA) if each["ackName"] == "DEVICE"]
    assert (await box.do("POST", f"/api/default/chats/{MAYA}/messages/read"))["ids"] == unread
    assert (await box.do("POST", f"/api/default/chats/{MAYA}/messages/read"))["ids"] == []
    assert (await box.chat(MAYA))["_chat"]["unreadCount"] == 0


async def test_an_incoming_message_arrives_and_is_unread(box: Box) -> None:
    await box.control("POST", "messages", chatId="12025550111@c.us", text="Hi, it's me", pushName="Newcomer")
    chats = await box.get("/api/default/chats/overview", limit=1)
    assert (chats[0]["id"], chats[0]["name"], chats[0]["_chat"]["unreadCount"]) == ("12025550111@c.us", "Newcomer", 1)
    group = await box.group("Family ❤️")
    await box.control("POST", "messages", **{"chatId": group, "from": MAYA, "text": "Hello all"})
    [last] = await box.messages(group, limit=1)
    assert (last["participant"], last["body"]) == (MAYA, "Hello all")


async def test_votes_are_kept_as_hashes_of_the_options(gows: Box) -> None:
    poll = {"name": "When?", "options": ["Mon", "Tue"], "multipleAnswers": False}
    sent = bare_id(await gows.do("POST", "/api/sendPoll", S | {"chatId": SAM, "poll": poll}))
    vote = S | {"chatId": SAM, "pollMessageId": f"true_{SAM}_{sent}", "votes": ["Tue"]}
    await gows.do("POST", "/api/sendPollVote", vote)
    found = await gows.message(sent)
    options = {
        each["optionHash"]: each["optionName"] for each in found["_data"]["Message"]["pollCreationMessageV3"]["options"]
    }
    [update] = found["_data"]["pollUpdates"]
    assert [options[each] for each in update["vote"]["selectedOptions"]] == ["Tue"]
    assert (await gows.ask("POST", "/api/sendPollVote", vote | {"votes": ["Never"]})).status_code == 500


async def test_stars_pins_and_forwards_work_on_noweb(box: Box) -> None:
    if box.engine == "gows":
        return
    sent = await box.send(SAM, "keep this")
    star = await box.ask("PUT", "/api/star", S | {"chatId": SAM, "messageId": f"true_{SAM}_{sent}", "star": True})
    assert (star.status_code, star.content) == (200, b"")
    assert (await box.message(sent))["_data"]["starred"] is True
    pinned = await box.do("POST", f"/api/default/chats/{SAM}/messages/{sent}/pin", {"duration": 86400})
    assert pinned == {"success": True}
    assert (await box.message(sent))["_data"]["pinInChat"]["key"]["id"] == sent
    copy = await box.do("POST", "/api/forwardMessage", S | {"chatId": MAYA, "messageId": f"true_{SAM}_{sent}"})
    assert (copy["body"], copy["from"]) == ("keep this", MAYA)
    archived = await box.ask("POST", f"/api/default/chats/{MAYA}/archive")
    assert (archived.status_code, archived.content) == (201, b"")
    assert (await box.chat(MAYA))["_chat"]["archived"] is True


async def test_writing_where_one_may_not_fails(gows: Box) -> None:
    notices = await gows.group("14 Elm Street – notices")
    for chat in (notices, "120363099999999999@g.us"):
        answer = await gows.ask("POST", "/api/sendText", S | {"chatId": chat, "text": "hello"})
        assert answer.status_code == 500
    [library] = await gows.get("/api/default/channels", role="SUBSCRIBER")
    answer = await gows.ask("POST", "/api/sendText", S | {"chatId": library["id"], "text": "hello"})
    assert answer.status_code == 500
    [mine] = await gows.get("/api/default/channels", role="OWNER")
    assert (await gows.ask("POST", "/api/sendText", S | {"chatId": mine["id"], "text": "hello"})).status_code == 201


async def test_messages_of_a_channel_can_be_read_on_noweb_only(box: Box) -> None:
    [library] = await box.get("/api/default/channels", role="SUBSCRIBER")
    answer = await box.ask("GET", f"/api/default/chats/{library['id']}/messages")
    assert answer.status_code == (200 if box.engine == "noweb" else 501)
