"""Sessions, apps, contacts, groups, channels, labels, presence: reads return what was changed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.box import MAYA, SAM, Box

pytestmark = pytest.mark.anyio

S = {"session": "default"}
PRIYA, YUKI = "447700900177@c.us", "61491570156@c.us"


async def test_a_key_lists_its_own_sessions_and_stopped_ones_on_demand(gows: Box) -> None:
    await gows.do("POST", "/api/sessions", {"name": "second", "start": False}, key="admin")
    assert [each["name"] for each in await gows.get("/api/sessions", key="admin", all="true")] == ["default", "second"]
    assert [each["name"] for each in await gows.get("/api/sessions", key="admin")] == ["default"]
    for key in ("none", "read", "full"):
        assert [each["name"] for each in await gows.get("/api/sessions", key=key, all="true")] == ["default"]
    await gows.do("POST", "/api/sessions/default/stop")
    assert await gows.get("/api/sessions", key="none") == []


async def test_the_life_of_a_session(gows: Box) -> None:
    async def status() -> str:
        await gows.control("POST", "settle")
        return str((await gows.get("/api/sessions/default"))["status"])

    assert (await gows.do("POST", "/api/sessions/default/stop"))["status"] == "STOPPED"
    assert (await gows.do("POST", "/api/sessions/default/start"))["status"] == "STARTING"
    assert await status() == "WORKING"
    assert (await gows.do("POST", "/api/sessions/default/start"))["status"] == "WORKING"
    assert (await gows.do("POST", "/api/sessions/default/restart"))["status"] == "STARTING"
    assert await status() == "WORKING"
    await gows.do("POST", "/api/sessions/default/logout")
    assert await status() == "SCAN_QR_CODE"
    assert (await gows.get("/api/sessions/default"))["me"] is None
    for _ in range(2):
        answer = await gows.ask("DELETE", "/api/sessions/default")
        assert (answer.status_code, answer.content) == (200, b"")
    assert (await gows.ask("GET", "/api/sessions/default")).status_code == 404


async def test_a_request_waits_for_a_session_that_is_coming_up(gows: Box) -> None:
    await gows.do("POST", "/api/sessions/default/restart")
    assert (await gows.ask("GET", "/api/default/chats")).status_code == 200


@pytest.mark.parametrize("path", ["stop", "logout"])
async def test_the_old_routes_delete_under_control(gows: Box, path: str) -> None:
    answer = await gows.ask("POST", f"/api/sessions/{path}", {"name": "default", "logout": True})
    assert answer.status_code == 201
    assert (await gows.ask("GET", "/api/sessions/default")).status_code == 404


async def test_the_qr_code_is_a_picture_unless_json_is_all_that_is_accepted(gows: Box) -> None:
    await gows.control("POST", "session", status="SCAN_QR_CODE")
    path = "/api/default/auth/qr"
    for accept in ("*/*", "application/json, text/plain", "image/png"):
        answer = await gows.ask("GET", path, headers={"Accept": accept})
        assert answer.headers["content-type"] == "image/png"
        assert answer.content.startswith(b"\x89PNG\r\n")
    answer = await gows.ask("GET", path, headers={"Accept": "application/json"})
    assert answer.json()["mimetype"] == "image/png"
    first = (await gows.get(path, format="raw"))["value"]
    assert first.startswith("2@")
    assert (await gows.get(path, format="raw"))["value"] != first
    code = (await gows.do("POST", "/api/default/auth/request-code", {"phoneNumber": "12025550100"}))["code"]
    assert len(code) == 9
    assert (await gows.ask("GET", "/api/screenshot?session=default")).headers["content-type"] == "image/png"


async def test_there_is_no_qr_code_nor_a_screenshot_of_a_working_session(gows: Box) -> None:
    assert (await gows.ask("GET", "/api/default/auth/qr")).status_code == 422
    assert (await gows.ask("GET", "/api/screenshot?session=default")).status_code == 422
    answer = await gows.ask("POST", "/api/default/auth/request-code", {"phoneNumber": "12025550100"})
    assert answer.status_code == 422


async def test_a_passkey_and_its_code_pair_a_session(gows: Box) -> None:
    path = "/api/default/auth/passkey"
    assert (await gows.ask("GET", f"{path}/challenge")).status_code == 422
    await gows.control("POST", "session", status="PASSKEY_REQUIRED")
    assert (await gows.get(f"{path}/challenge"))["rpId"] == "web.whatsapp.com"
    signed = {"clientDataJSON": "e30", "authenticatorData": "AA", "signature": "AA"}
    await gows.do("POST", path, {"id": "a", "rawId": "a", "type": "public-key", "response": signed})
    assert (await gows.get(f"{path}/confirmation"))["code"]
    await gows.do("POST", f"{path}/confirm")
    assert (await gows.get("/api/sessions/default"))["status"] == "WORKING"


async def test_an_mcp_app_comes_with_a_key_that_follows_it(gows: Box) -> None:
    wish: dict[str, Any] = {
        "id": "app_assistant", "session": "default", "app": "mcp", "enabled": True,
        "config": {"actions": {"read": True, "send": False}},
    }  # fmt: skip
    app = await gows.do("POST", "/api/apps", wish)
    key = app["config"]["key"]
    assert app["config"]["key_id"] in [each["id"] for each in await gows.do("GET", "/api/keys", key="admin")]
    assert (await gows.ask("GET", "/api/default/chats", key=key)).status_code == 200
    send = S | {"chatId": SAM, "text": "x"}
    assert (await gows.ask("POST", "/api/sendText", send, key=key)).status_code == 403
    path = "/api/apps/app_assistant"
    changed = await gows.do("PUT", path, wish | {"config": {"actions": {"send": True}}})
    assert changed["config"]["key"] == key
    assert (await gows.ask("POST", "/api/sendText", send, key=key)).status_code == 201
    assert (await gows.ask("GET", "/api/default/chats", key=key)).status_code == 403
    await gows.do("PUT", path, wish | {"enabled": False})
    assert (await gows.ask("GET", "/api/sessions", key=key)).status_code == 401
    await gows.do("PUT", path, wish)
    assert (await gows.ask("GET", "/api/default/chats", key=key)).status_code == 200
    [shown] = (await gows.get("/api/sessions/default", expand="apps"))["apps"]
    assert shown["config"]["key"] == key
    await gows.do("DELETE", path)
    assert (await gows.ask("GET", "/api/sessions", key=key)).status_code == 401
    assert (await gows.ask("GET", path)).status_code == 404


async def test_setting_writes_apps_too_and_a_sessions_secrets_are_shown(gows: Box) -> None:
    app = {"id": "app_x", "session": "default", "app": "mcp", "config": {"actions": {"delete": True}}}
    await gows.do("PUT", "/api/sessions/default", {"apps": [app], "config": {"debug": True}})
    assert [each["id"] for each in await gows.get("/api/apps", session="default")] == ["app_x"]
    await gows.do("PUT", "/api/sessions/default", {"apps": [], "config": {}})
    assert await gows.get("/api/apps", session="default") == []


async def test_a_fresh_sessions_config_carries_secrets_as_real_ones_do(gows: Box) -> None:
    told = str(await gows.get("/api/sessions/default"))
    assert all(secret in told for secret in ("proxy-secret", "hmac-secret", "header-secret"))
    environment = await gows.get("/api/server/environment", key="admin")
    assert environment["WAHA_API_KEY"] == gows.info.admin_key
    assert "PATH" not in environment
    assert "PATH" in await gows.get("/api/server/environment", key="admin", all="true")


async def test_the_version_names_the_engine(box: Box) -> None:
    for path in ("/api/server/version", "/api/version"):
        assert (await box.get(path, key="none"))["engine"] == box.engine.upper()


async def test_contacts_are_found_by_either_id_and_renamed(box: Box) -> None:
    lid = (await box.get("/api/default/lids/pn/447700900142%40c.us"))["lid"]
    assert await box.get(f"/api/default/lids/{lid}") == {"lid": lid, "pn": MAYA}
    for any_id in (MAYA, "447700900142", lid):
        assert (await box.get("/api/contacts", session="default", contactId=any_id))["name"] == "Maya Lindqvist"
    await box.do("PUT", f"/api/default/contacts/{MAYA}", {"firstName": "Maya", "lastName": "Berg"})
    assert (await box.get(f"/api/default/contacts/{MAYA}"))["name"] == "Maya Berg"
    assert (await box.chat(MAYA))["name"] == "Maya Berg"


async def test_an_unknown_number_has_no_lid_and_an_unknown_lid_no_number(box: Box) -> None:
    assert await box.get("/api/default/lids/999@lid") == {"lid": "999@lid", "pn": None}
    assert await box.get("/api/default/lids/pn/12025550199") == {"lid": None, "pn": "12025550199@c.us"}
    count = (await box.get("/api/default/lids/count"))["count"]
    assert len(await box.get("/api/default/lids", limit=1000)) == count


@pytest.mark.parametrize("written", ["447700900142", "+44 7700 900142", "44 (0) 7700 900142"])
async def test_check_exists_gives_the_chat_id_that_a_number_really_has(gows: Box, written: str) -> None:
    found = await gows.get("/api/contacts/check-exists", session="default", phone=written)
    assert (found["numberExists"], found["chatId"]) == (True, MAYA)
    nobody = await gows.get("/api/contacts/check-exists", session="default", phone="12025550198")
    assert nobody == {"numberExists": False}


async def test_groups_are_an_object_on_noweb_and_a_list_on_gows(box: Box) -> None:
    groups = await box.get("/api/default/groups")
    assert isinstance(groups, dict if box.engine == "noweb" else list)
    assert (await box.get("/api/default/groups/count"))["count"] == len(groups) == 5
    if isinstance(groups, dict):
        assert all(each["id"] == group_id for group_id, each in groups.items())
    few = await box.get("/api/default/groups", limit=2, offset=1, exclude="participants", sortBy="subject")
    listed = list(few.values()) if isinstance(few, dict) else few
    assert len(listed) == 2
    assert not any(each.get("participants") or each.get("Participants") for each in listed)


async def test_a_group_that_hides_numbers_names_members_by_lid(box: Box) -> None:
    hikers, family = await box.group("Sunday Hikers 🥾"), await box.group("Family ❤️")
    hidden = await box.get(f"/api/default/groups/{hikers}/participants/v2")
    assert all(each["id"].endswith("@lid") and each["pn"].endswith("@c.us") for each in hidden)
    assert {each["participant"][-4:] for each in await box.messages(hikers, limit=20)} == {"@lid"}
    assert all(each["id"].endswith("@c.us") for each in await box.get(f"/api/default/groups/{family}/participants/v2"))


async def test_members_and_admins_change(box: Box) -> None:
    path = f"/api/default/groups/{await box.group('Sunday Hikers 🥾')}"

    async def roles() -> dict[str, str]:
        return {each["pn"]: each["role"] for each in await box.get(f"{path}/participants/v2")}

    people = {"participants": [{"id": PRIYA}]}
    await box.do("POST", f"{path}/participants/add", people)
    assert (await roles())[PRIYA] == "participant"
    await box.do("POST", f"{path}/admin/promote", people)
    assert (await roles())[PRIYA] == "admin"
    await box.do("POST", f"{path}/admin/demote", people)
    assert (await roles())[PRIYA] == "participant"
    await box.do("POST", f"{path}/participants/remove", people)
    assert PRIYA not in await roles()


async def test_join_requests_are_approved_and_rejected(box: Box) -> None:
    path = f"/api/default/groups/{await box.group('Sunday Hikers 🥾')}/participants"
    asked = {each["requesterPn"] for each in await box.get(f"{path}/join-requests")}
    assert asked == {PRIYA, YUKI}
    approved = await box.do("POST", f"{path}/join-requests/approve", {"participants": [{"id": PRIYA}]})
    await box.do("POST", f"{path}/join-requests/reject", {"participants": [{"id": YUKI}]})
    again = await box.do("POST", f"{path}/join-requests/reject", {"participants": [{"id": YUKI}]})
    assert ([each["success"] for each in approved], [each["success"] for each in again]) == ([True], [False])
    members = {each["pn"] for each in await box.get(f"{path}/v2")}
    assert (PRIYA in members, YUKI in members) == (True, False)
    assert await box.get(f"{path}/join-requests") == []


async def test_a_group_is_made_described_left_and_joined_again(box: Box) -> None:
    made = await box.do("POST", "/api/default/groups", {"name": "Trip", "participants": [{"id": MAYA}]})
    group = made.get("JID") or made["id"]
    path = f"/api/default/groups/{group}"
    await box.do("PUT", f"{path}/subject", {"subject": "Trip to the lake"})
    await box.do("PUT", f"{path}/description", {"description": "In June"})
    found = await box.get(path)
    assert (found.get("Name") or found["subject"], found.get("Topic") or found["desc"]) == (
        "Trip to the lake",
        "In June",
    )
    invite = await box.ask("GET", f"{path}/invite-code")
    assert invite.headers["content-type"].startswith("text/html")
    await box.do("POST", f"{path}/leave")
    assert await box.get(path) is None
    code = f"https://chat.whatsapp.com/{invite.text}"
    assert (await box.get("/api/default/groups/join-info", code=code)).get("JID", group) == group
    assert await box.do("POST", "/api/default/groups/join", {"code": code}) == {"id": group}
    assert (await box.get(path)) is not None


async def test_a_revoked_invite_leads_nowhere(gows: Box) -> None:
    path = f"/api/default/groups/{await gows.group('Sunday Hikers 🥾')}/invite-code"
    old = (await gows.ask("GET", path)).text
    new = (await gows.ask("POST", f"{path}/revoke")).text
    assert old != new
    assert (await gows.ask("GET", f"/api/default/groups/join-info?code={old}")).status_code == 500
    assert (await gows.ask("GET", f"/api/default/groups/join-info?code={new}")).status_code == 200


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("info-admin-only", "adminsOnly"),
        ("messages-admin-only", "adminsOnly"),
        ("member-add-mode", "membersCanAddNewMember"),
        ("member-share-history-mode", "membersCanShareHistory"),
        ("membership-approval", "newMembersApprovalRequired"),
    ],
)
async def test_a_groups_setting_is_what_it_was_set_to(gows: Box, setting: str, name: str) -> None:
    path = f"/api/default/groups/{await gows.group('Sunday Hikers 🥾')}/settings/security/{setting}"
    before = (await gows.get(path))[name]
    await gows.do("PUT", path, {name: not before})
    assert await gows.get(path) == {name: not before}


async def test_who_is_no_admin_changes_nothing(gows: Box) -> None:
    path = f"/api/default/groups/{await gows.group('14 Elm Street – notices')}"
    for method, part, body in (
        ("PUT", "subject", {"subject": "Mine"}),
        ("POST", "participants/remove", {"participants": [{"id": MAYA}]}),
        ("GET", "invite-code", None),
    ):
        assert (await gows.ask(method, f"{path}/{part}", body)).status_code == 500


async def test_labels_are_put_on_chats_and_taken_off(box: Box) -> None:
    label = await box.do("POST", "/api/default/labels", {"name": "Lease", "colorHex": "#f74848"})
    assert label["color"] == 13
    path = f"/api/default/labels/chats/{MAYA}"
    await box.do("PUT", path, {"labels": [{"id": label["id"]}]})
    assert [each["name"] for each in await box.get(path)] == ["Lease"]
    assert [each["id"] for each in await box.get(f"/api/default/labels/{label['id']}/chats")] == [MAYA]
    await box.do("PUT", f"/api/default/labels/{label['id']}", {"name": "Contract", "color": 2})
    assert (await box.get(path))[0]["colorHex"] == "#ffd429"
    await box.do("DELETE", f"/api/default/labels/{label['id']}")
    assert await box.get(path) == []
    assert (await box.ask("PUT", path, {"labels": [{"id": "99"}]})).status_code == 404


async def test_channels_are_searched_page_by_page_and_followed(gows: Box) -> None:
    wish: dict[str, Any] = {"view": "RECOMMENDED", "countries": [], "categories": [], "limit": 2, "startCursor": ""}
    found = []
    while True:
        result = await gows.do("POST", "/api/default/channels/search/by-view", wish)
        found += [each["name"] for each in result["channels"]]
        if not result["page"]["hasNextPage"]:
            break
        wish["startCursor"] = result["page"]["endCursor"]
    assert len(found) == len(set(found)) == 5
    wish = {"text": "storm", "categories": [], "limit": 5, "startCursor": ""}
    [storms] = (await gows.do("POST", "/api/default/channels/search/by-text", wish))["channels"]
    await gows.do("POST", f"/api/default/channels/{storms['id']}/follow")
    listed = {each["id"]: each["subscribersCount"] for each in await gows.get("/api/default/channels")}
    assert listed[storms["id"]] == storms["subscribersCount"] + 1
    by_invite = await gows.get(f"/api/default/channels/{storms['invite'].rpartition('/')[2]}")
    assert by_invite["id"] == storms["id"]
    await gows.do("POST", f"/api/default/channels/{storms['id']}/unfollow")
    assert storms["id"] not in [each["id"] for each in await gows.get("/api/default/channels")]


async def test_presence_names_who_is_online_and_typing_is_no_answer(gows: Box) -> None:
    [online] = (await gows.get(f"/api/default/presence/{SAM}"))["presences"]
    [offline] = (await gows.get(f"/api/default/presence/{MAYA}"))["presences"]
    assert (online["lastKnownPresence"], offline["lastKnownPresence"]) == ("online", "offline")
    assert [each["id"] for each in await gows.get("/api/default/presence")] == [SAM, MAYA]
    typing = await gows.ask("POST", "/api/startTyping", S | {"chatId": SAM})
    assert (typing.status_code, typing.content) == (201, b"")
    assert (await gows.ask("POST", "/api/default/presence", {"presence": "typing"})).status_code == 400
    await gows.do("POST", "/api/default/presence", {"presence": "online"})
    assert (await gows.get("/api/sessions/default"))["presence"] == "online"


async def test_the_profile_is_what_it_was_set_to(gows: Box) -> None:
    await gows.do("PUT", "/api/default/profile/name", {"name": "Alex"})
    await gows.do("DELETE", "/api/default/profile/picture")
    assert await gows.get("/api/default/profile") == {"id": "12025550100@c.us", "name": "Alex", "picture": None}
    assert (await gows.get("/api/sessions/default/me"))["pushName"] == "Alex"


async def test_a_call_is_rejected_once(gows: Box) -> None:
    call = (await gows.control("POST", "calls", **{"from": MAYA}))["id"]
    wish = {"from": MAYA, "id": call}
    assert (await gows.ask("POST", "/api/default/calls/reject", wish)).status_code == 201
    assert (await gows.ask("POST", "/api/default/calls/reject", wish)).status_code == 500


async def test_a_story_is_posted_and_taken_back_and_stays_out_of_the_chats(box: Box) -> None:
    story = {"text": "On top!", "backgroundColor": "#38b42f", "font": 1}
    sent = await box.do("POST", "/api/default/status/text", story)
    message_id = sent["key"]["id"] if box.engine == "noweb" else sent["id"].split("_")[2]
    [posted] = await box.messages("status@broadcast")
    assert posted["body"] == "On top!"
    assert "status@broadcast" not in [each["id"] for each in await box.get("/api/default/chats", limit=-1)]
    await box.do("POST", "/api/default/status/delete", {"id": message_id})
    assert [each for each in await box.messages("status@broadcast") if each["body"]] == []


async def test_converted_media_is_a_file_unless_json_is_all_that_is_accepted(gows: Box) -> None:
    path = "/api/default/media/convert/voice"
    answer = await gows.ask("POST", path, {"data": "aGVsbG8="})
    assert answer.content.startswith(b"OggS")
    answer = await gows.ask("POST", path, {"data": "aGVsbG8="}, headers={"Accept": "application/json"})
    assert answer.json()["mimetype"].startswith("audio/ogg")


async def test_a_number_cache_is_listed_and_purged(gows: Box) -> None:
    path = "/api/apps/phone-numbers/default/cache"
    assert len(await gows.get(f"{path}/db", limit=2, offset=1)) == 2
    assert (await gows.do("DELETE", f"{path}/purge"))["deleted"] == 5
    assert (await gows.get(f"{path}/stats"))["db"]["size"] == 0


async def test_what_the_engine_can_be_taught_shows_in_later_reads(gows: Box) -> None:
    await gows.has("ContactsController_getAbout", "ContactsController_block", "ContactsController_unblock")
    await gows.has("ChatsController_deleteChat", "ChatsController_clearMessages")
    for part, blocked in (("block", True), ("unblock", None)):
        await gows.do("POST", f"/api/contacts/{part}", S | {"contactId": MAYA})
        assert (await gows.get(f"/api/default/contacts/{MAYA}")).get("isBlocked") is blocked
    about = await gows.get("/api/contacts/about", session="default", contactId=MAYA)
    assert about["about"].startswith("Architect")
    await gows.do("DELETE", f"/api/default/chats/{SAM}/messages")
    assert await gows.messages(SAM) == []
    await gows.do("DELETE", f"/api/default/chats/{SAM}")
    assert SAM not in [each["id"] for each in await gows.get("/api/default/chats", limit=-1)]


async def test_a_reset_leaves_nothing_of_what_was_done_and_the_keys_that_were_there(gows: Box) -> None:
    before = [row["id"] for row in await gows.get("/api/default/chats/overview")]
    made = await gows.do("POST", "/api/keys", {"isAdmin": False, "session": "default", "isActive": True}, key="admin")
    await gows.control("POST", "messages", chatId="12025550199@c.us", text="Hello")
    await gows.control("POST", "faults", path="/api", status=500, count=9)
    await gows.control("POST", "reset")
    assert [row["id"] for row in await gows.get("/api/default/chats/overview")] == before
    assert (await gows.ask("GET", "/api/default/chats/overview", key=made["key"])).status_code == 401


async def test_a_message_arrives_with_the_file_and_of_the_kind_that_it_was_given(gows: Box) -> None:
    await gows.control("POST", "messages", chatId=MAYA, text="", mimetype="text/plain", data="SGk=", filename="a.txt")
    [message] = await gows.messages(MAYA, limit=1, downloadMedia="true")
    assert (message["media"]["filename"], message["hasMedia"]) == ("a.txt", True)
    await gows.control(
        "POST",
        "messages",
        chatId=MAYA,
        text="",
        content={"kind": "location", "latitude": 1, "longitude": 2, "name": "X"},
    )
    [message] = await gows.messages(MAYA, limit=1)
    assert message["location"]["name"] == "X"


async def test_somebody_elses_group_is_joined_by_the_link_to_it(gows: Box) -> None:
    made = await gows.control("POST", "groups", subject="Run", **{"from": MAYA}, invited=True)
    assert made["id"] not in [row["JID"] for row in await gows.get("/api/default/groups")]
    await gows.do("POST", "/api/default/groups/join", {"code": made["invite"]})
    assert made["id"] in [row["JID"] for row in await gows.get("/api/default/groups")]
