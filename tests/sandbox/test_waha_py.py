"""The sandbox used by an independent client: the calls and models of `waha-py`.

Its models are generated from the document that WAHA publishes, so they fail where WAHA departs from it: WAHA sends null
for missing texts. Those places are listed here; any other failure of a model is a bug.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import httpx
import pytest
from pydantic import BaseModel, ValidationError
from waha import AsyncWahaClient
from waha.generated import models

from tests.sandbox.box import MAYA, SAM, Box, bare_id
from waha_mcp.sandbox.sample_files import png

pytestmark = pytest.mark.anyio

Model = TypeVar("Model", bound=BaseModel)
S = "default"
#: Fields of a message that WAHA leaves null or out although its document requires them.
MESSAGE_GAPS = {"to", "participant", "body", "mediaUrl"}


@pytest.fixture
async def waha(box: Box) -> AsyncIterator[AsyncWahaClient]:
    client = AsyncWahaClient(box.info.url, api_key=box.info.keys["full"])
    yield client
    await client.close()


def read(model: type[Model], value: Any) -> Model:
    return model.model_validate(value)


def refused(model: type[BaseModel], value: Any) -> set[str]:
    """The top-level fields that a model refuses."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        return {str(each["loc"][0]) for each in error.errors()}
    return set()


async def test_the_server_and_its_sessions(waha: AsyncWahaClient, box: Box) -> None:
    assert (await waha.ping.a_ping())["message"] == "pong"
    assert read(models.WAHAEnvironment, await waha.server.a_get()).engine == box.engine.upper()
    assert read(models.ServerStatusResponse, await waha.server.a_status()).uptime >= 0
    [session] = await waha.sessions.a_list(params={"all": True})
    # `presence` and a webhook's events are text, which the document calls objects.
    assert refused(models.SessionInfo, session) == {"presence", "config"}
    found = read(models.SessionInfo, await waha.sessions.a_get(S) | {"presence": {}, "config": None})
    assert (found.name, found.status.value) == (S, "WORKING")
    assert found.me is not None
    assert read(models.MeInfo, await waha.sessions.a_get_me(S)) == found.me
    capping = await waha.sessions.a_fetch_message_capping(S)
    assert refused(models.MessageCappingData, capping) == {"mvStatus", "oteStatus"}
    assert refused(models.ReachoutTimelockData, await waha.sessions.a_fetch_reachout_timelock(S)) == {
        "timeEnforcementEnds"
    }
    restarted = await waha.sessions.a_restart(S) | {"config": None}
    assert read(models.SessionDTO, restarted).status.value == "STARTING"


async def test_chats_and_messages(waha: AsyncWahaClient, box: Box) -> None:
    chats = await waha.chats.a_get_chats(S, params={"limit": 5})
    assert len(chats) == 5
    for summary in await waha.chats.a_get_chats_overview(S, params={"limit": 50}):
        assert refused(models.ChatSummary, summary) <= {"name", "picture"}
    [maya] = await waha.chats.a_get_chats_overview(S, params={"ids": [MAYA]})
    assert read(models.ChatSummary, maya).name == "Maya Lindqvist"
    posted = await waha.chats.a_post_chats_overview(S, payload={"pagination": {"limit": 1}, "filter": {"ids": [MAYA]}})
    assert posted == [maya]
    messages = await waha.chats.a_get_chat_messages(S, MAYA, params={"limit": 20, "downloadMedia": True})
    for message in messages:
        assert refused(models.WAMessage, message) <= MESSAGE_GAPS
    filled = messages[0] | dict.fromkeys(MESSAGE_GAPS, "")
    assert read(models.WAMessage, filled).ackName == "DEVICE"
    one = await waha.chats.a_get_chat_message(S, MAYA, messages[0]["id"])
    assert one["id"] == messages[0]["id"]
    ids = read(models.ReadChatMessagesResponse, await waha.chats.a_read_chat_messages(S, MAYA)).ids
    assert ids
    assert read(models.ChatPictureResponse, await waha.chats.a_get_chat_picture(S, MAYA)).url.startswith("https://")
    assert (await waha.chats.a_unread_chat(S, MAYA))["success"] is True


async def test_sending(waha: AsyncWahaClient, box: Box) -> None:
    to = {"session": S, "chatId": SAM}
    made = read(models.NewMessageIDResponse, await waha.chatting.a_get_new_message_id(S)).id
    request = read(models.MessageTextRequest, to | {"text": "Hello", "id": made})
    assert bare_id(await waha.chatting.a_send_text(payload=request)) == made
    message_id = f"true_{SAM}_{made}"
    file = {"mimetype": "image/png", "data": base64.b64encode(png()).decode()}
    sent = [
        await waha.chatting.a_send_image(payload=to | {"file": file, "caption": "see"}),
        await waha.chatting.a_send_file(payload=to | {"file": file | {"filename": "a.png"}}),
        await waha.chatting.a_send_location(payload=to | {"latitude": 1.0, "longitude": 2.0, "title": "here"}),
        await waha.chatting.a_send_contact_vcard(
            payload=to | {"contacts": [{"vcard": "BEGIN:VCARD\nFN:A\nEND:VCARD"}]}
        ),
        await waha.chatting.a_send_poll(
            payload=to | {"poll": {"name": "?", "options": ["a", "b"], "multipleAnswers": False}}
        ),
        await waha.chatting.a_reply(payload=to | {"text": "re", "reply_to": message_id}),
    ]
    stored = await waha.chats.a_get_chat_messages(S, SAM, params={"limit": 20, "filter.fromMe": True})
    assert [bare_id(each) for each in sent] == [bare_id(each) for each in stored[: len(sent)]][::-1]
    reaction = {"session": S, "messageId": message_id, "reaction": "👍"}
    assert bare_id(await waha.chatting.a_set_reaction(payload=reaction))
    for call in (waha.chatting.a_start_typing, waha.chatting.a_stop_typing, waha.chatting.a_send_seen):
        assert await call(payload=to) == ""
    assert await waha.chats.a_edit_message(S, SAM, message_id, payload={"text": "Hello!"})
    assert await waha.chats.a_delete_message(S, SAM, message_id)


async def test_contacts_and_hidden_ids(waha: AsyncWahaClient) -> None:
    contacts = await waha.contacts.a_get_all(params={"session": S, "limit": 10, "sortBy": "name", "sortOrder": "asc"})
    assert len(contacts) == 10
    found = await waha.contacts.a_check_exists(params={"session": S, "phone": "447700900142"})
    assert read(models.WANumberExistResult, found).chatId == MAYA
    assert (await waha.contacts.a_get(params={"session": S, "contactId": MAYA}))["name"] == "Maya Lindqvist"
    pairs = [read(models.LidToPhoneNumber, each) for each in await waha.lids.a_get_all(S, params={"limit": 5})]
    assert read(models.CountResponse, await waha.lids.a_get_lids_count(S)).count > len(pairs) == 5
    assert pairs[1].lid is not None
    assert read(models.LidToPhoneNumber, await waha.lids.a_find_pn_by_lid(S, pairs[1].lid)) == pairs[1]
    changed = await waha.contacts_session.a_put(S, MAYA, payload={"firstName": "Maya", "lastName": "L."})
    assert read(models.Result, changed).success


async def test_groups(waha: AsyncWahaClient, box: Box) -> None:
    group = await box.group("Sunday Hikers 🥾")
    assert read(models.CountResponse, await waha.groups.a_get_groups_count(S)).count == 5
    assert await waha.groups.a_get_group(S, group)
    people = [read(models.GroupParticipant, each) for each in await waha.groups.a_get_group_participants(S, group)]
    assert "superadmin" in {each.role.value for each in people}
    for each in await waha.groups.a_get_group_join_requests(S, group):
        assert refused(models.GroupJoinRequest, each) <= {"addedById", "parentGroupId"}
    assert len(await waha.groups.a_get_invite_code(S, group)) == 22
    security = await waha.groups.a_get_info_admin_only(S, group)
    assert read(models.SettingsSecurityChangeInfo, security).adminsOnly is False
    assert await waha.groups.a_set_subject(S, group, payload={"subject": "Hikers"}) is True
    assert await waha.groups.a_promote_to_admin(S, group, payload={"participants": [{"id": MAYA}]})


async def test_channels_labels_presence_and_profile(waha: AsyncWahaClient) -> None:
    for channel in await waha.channels.a_list(S):
        assert read(models.Channel, channel).role.value in ("OWNER", "SUBSCRIBER")
    search = {"text": "news", "categories": [], "limit": 5, "startCursor": ""}
    found = await waha.channels.a_search_by_text(S, payload=search)
    assert refused(models.ChannelListResult, found) <= {"page"}
    assert [read(models.ChannelPublicInfo, each).verified for each in found["channels"]]
    for view in await waha.channels.a_get_search_views(S):
        read(models.ChannelView, view)
    label = read(models.Label, await waha.labels.a_create(S, payload={"name": "New", "color": 4}))
    await waha.labels.a_put_chat_labels(S, MAYA, payload={"labels": [{"id": label.id}]})
    assert [read(models.Label, each) for each in await waha.labels.a_get_chat_labels(S, MAYA)] == [label]
    presence = read(models.WAHAChatPresences, await waha.presence.a_get_presence(S, SAM))
    assert presence.presences[0].lastKnownPresence.value == "online"
    assert read(models.MyProfile, await waha.profile.a_get_my_profile(S)).name == "Alex Rivers"
    assert read(models.Result, await waha.profile.a_set_profile_status(S, payload={"status": "away"})).success


async def test_keys_and_apps(box: Box) -> None:
    admin = AsyncWahaClient(box.info.url, api_key=box.info.admin_key)
    wish = read(models.ApiKeyRequest, {"isAdmin": False, "session": S, "isActive": True, "actions": {"read": True}})
    made = read(models.ApiKeyDTO, await admin.api_keys.a_create(payload=wish))
    assert made.actions is not None
    assert (made.actions.read, made.actions.send) == (True, None)
    media = read(models.ApiKeyDTO, await admin.api_keys.a_media(payload={"session": S}))
    assert read(models.ApiKeyDTO, await admin.api_keys.a_media(payload={"session": S})) == media
    app = {"id": "app_1", "session": S, "app": "mcp", "enabled": True, "config": {"actions": {"read": True}}}
    created = read(models.App, await admin.apps.a_create(payload=app))
    config = read(models.McpAppConfig, created.config)
    reader = AsyncWahaClient(box.info.url, api_key=config.key)
    assert await reader.chats.a_get_chats(S)
    with pytest.raises(httpx.HTTPStatusError, match="403"):
        await reader.chatting.a_send_text(payload={"session": S, "chatId": SAM, "text": "x"})
    await admin.apps.a_delete("app_1")
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        await reader.chats.a_get_chats(S)
    await admin.api_keys.a_delete(made.id)
    for client in (reader, admin):
        await client.close()


async def test_pairing(waha: AsyncWahaClient, box: Box) -> None:
    await box.control("POST", "session", status="SCAN_QR_CODE")
    assert read(models.QRCodeValue, await waha.auth.a_get_qr(S, params={"format": "raw"})).value
    assert read(models.Base64File, await waha.auth.a_get_qr(S)).mimetype == "image/png"
    assert (await waha.auth.a_request_code(S, payload={"phoneNumber": "12025550100"}))["code"]
