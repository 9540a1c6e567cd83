"""The effects of tools show in later results."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.engines.corpus import cases
from tests.harness import Admin, app_for
from waha_mcp.app.actions import Action
from waha_mcp.bridge import Bridge
from waha_mcp.sandbox import ANSWERING_CHAT, SandboxInfo
from waha_mcp.sandbox.contract import contract
from waha_mcp.tools.catalog import ArgumentError
from waha_mcp.tools.groups import SETTINGS
from waha_mcp.waha.errors import NotFound, SessionNotReady, UnknownOperation, WahaError

pytestmark = pytest.mark.anyio

Call = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
async def bridge(sandbox: SandboxInfo, admin: Admin, tmp_path: Path) -> AsyncIterator[Bridge]:
    # Each engine lacks a few operations; here it has them all.
    await admin.request("POST", "/sandbox/engine", {"has": [operation.id for operation in contract().operations]})
    app = app_for(
        sandbox,
        sandbox.keys["full"],
        session="default",
        actions=frozenset(Action),
        toolsets=frozenset({"all"}),
        outbound_hosts=frozenset({"hooks.example.org"}),
        outbox=tmp_path,
    )
    async with Bridge(app) as bound:
        yield bound


@pytest.fixture
def call(bridge: Bridge) -> Call:
    async def run(name: str, /, **arguments: Any) -> dict[str, Any]:
        return (await bridge.call(name, arguments)).model_dump(mode="json", exclude_none=True)

    return run


@pytest.fixture
async def group(call: Call) -> str:
    """A group of the account with one member."""
    created: str = (await call("create_group", subject="Walkers", participants=[ANSWERING_CHAT]))["id"]
    return created


async def roles(call: Call, group: str) -> dict[str, str]:
    listed = await call("list_participants", group=group)
    return {person.get("phone", person["id"]): person["role"] for person in listed["participants"]}


async def test_labels_on_a_chat_are_listed_from_both_sides_and_replaced_by_the_next(call: Call) -> None:
    label = (await call("save_label", name="Suppliers", color=7))["id"]
    await call("set_chat_labels", chat=ANSWERING_CHAT, label_ids=[label, "1"])
    assert {each["name"] for each in (await call("list_labels", chat=ANSWERING_CHAT))["labels"]} == {
        "Suppliers",
        "New client",
    }
    assert [chat["id"] for chat in (await call("list_labeled_chats", label_id=label))["chats"]] == [ANSWERING_CHAT]
    await call("set_chat_labels", chat=ANSWERING_CHAT, label_ids=["1"])
    assert (await call("list_labeled_chats", label_id=label))["chats"] == []
    await call("save_label", label_id=label, name="Vendors", color=3)
    assert {"id": label, "name": "Vendors", "color": 3}.items() <= (await call("list_labels"))["labels"][-1].items()
    await call("delete_label", label_id=label)
    assert label not in {each["id"] for each in (await call("list_labels"))["labels"]}


async def test_members_come_rise_and_go(call: Call, group: str) -> None:
    assert (await roles(call, group))["+12025550123"] == "member"
    assert "owner" in (await roles(call, group)).values()
    await call("set_group_admins", group=group, people=["+12025550123"])
    assert (await roles(call, group))["+12025550123"] == "admin"
    await call("set_group_admins", group=group, people=["+12025550123"], admin=False)
    assert (await roles(call, group))["+12025550123"] == "member"
    removed = await call("remove_participants", group=group, people=["+12025550123"])
    assert [each["ok"] for each in removed["people"]] == [True]
    assert "+12025550123" not in await roles(call, group)
    await call("add_participants", group=group, people=["+12025550123"])
    assert (await roles(call, group))["+12025550123"] == "member"


async def test_participants_come_in_pages_that_say_how_many_follow(call: Call, admin: Admin) -> None:
    groups = await admin.request("GET", "/api/default/groups")
    hikers = next(each["JID"] for each in groups if "Hikers" in each["Name"])
    seen, cursor, left = [], None, []
    while True:
        page = await call("list_participants", group=hikers, limit=3, **({"cursor": cursor} if cursor else {}))
        seen += [person["id"] for person in page["participants"]]
        left.append(page.get("left_out"))
        if (cursor := page.get("cursor")) is None:
            break
    assert len(seen) == len(set(seen)) == 7
    assert left == [4, 1, None]


async def test_what_a_group_says_and_allows_is_changed(call: Call, group: str) -> None:
    await call("update_group", group=group, subject="Hikers", description=None)
    await call("update_group", group=group, description="Boots on")
    shown = await call("get_group", group=group)
    assert (shown["subject"], shown["description"]) == ("Hikers", "Boots on")
    for setting in ("only_admins_edit_info", "only_admins_send", "members_can_add", "approval_required"):
        before = (await call("get_group_settings", group=group))[setting]
        await call("set_group_setting", group=group, setting=setting, on=not before)
        assert (await call("get_group_settings", group=group))[setting] is not before


async def test_group_settings_that_an_engine_lacks_are_named_and_all_of_them_is_an_error(
    call: Call, group: str, admin: Admin
) -> None:
    lacks = ["GroupsController_getMembershipApprovalMode"]
    await admin.request("POST", "/sandbox/engine", {"lacks": lacks})
    assert (await call("get_group_settings", group=group))["not_told"] == ["approval_required"]
    lacks = [f"GroupsController_get{each}" for each in ("InfoAdminOnly", "MessagesAdminOnly", "MemberAddMode")]
    await admin.request("POST", "/sandbox/engine", {"lacks": [*lacks, "GroupsController_getMemberShareHistoryMode"]})
    with pytest.raises(WahaError, match="GOWS engine"):
        await call("get_group_settings", group=group)


async def test_an_invite_link_leads_to_its_group_until_it_is_revoked(call: Call, group: str) -> None:
    old = (await call("get_invite_link", group=group))["link"]
    assert (await call("get_invite_info", invite=old))["id"] == group
    new = (await call("revoke_invite_link", group=group))["link"]
    assert new != old
    with pytest.raises(WahaError):
        await call("join_group", invite=old)
    await call("leave_group", group=group)
    assert (await call("join_group", invite=new))["group"] == group


async def test_join_requests_are_decided_on(call: Call, admin: Admin) -> None:
    groups = await admin.request("GET", "/api/default/groups")
    hikers = next(each["JID"] for each in groups if "Hikers" in each["Name"])
    first, second = (each["phone"] for each in (await call("list_join_requests", group=hikers))["requests"])
    await call("decide_join_requests", group=hikers, people=[first], approved=True)
    await call("decide_join_requests", group=hikers, people=[second], approved=False)
    assert (await call("list_join_requests", group=hikers))["requests"] == []
    assert first in await roles(call, hikers)
    assert second not in await roles(call, hikers)


async def test_a_deleted_group_is_gone(call: Call, group: str) -> None:
    await call("delete_group", group=group)
    with pytest.raises(NotFound):
        await call("get_group", group=group)


async def test_channels_are_found_followed_and_left(call: Call) -> None:
    page = await call("search_channels", limit=2)
    names = [each["name"] for each in page["channels"]]
    while "cursor" in page:
        page = await call("search_channels", limit=2, cursor=page["cursor"])
        names += [each["name"] for each in page["channels"]]
    assert len(names) == len(set(names)) > 2
    found = (await call("search_channels", text="Harbor"))["channels"][0]
    assert (await call("get_channel", channel=found["invite"]))["id"] == found["id"]
    await call("follow_channel", channel=found["id"])
    assert found["id"] in {each["id"] for each in (await call("list_channels", role="subscriber"))["channels"]}
    await call("follow_channel", channel=found["id"], followed=False)
    assert found["id"] not in {each["id"] for each in (await call("list_channels"))["channels"]}


async def test_a_person_is_blocked_and_saved_under_a_name(call: Call) -> None:
    await call("block_contact", contact=ANSWERING_CHAT)
    assert (await call("get_contact", contact=ANSWERING_CHAT))["blocked"] is True
    await call("block_contact", contact=ANSWERING_CHAT, blocked=False)
    await call("save_contact", contact=ANSWERING_CHAT, first_name="Samuel", last_name="O.")
    shown = await call("get_contact", contact=ANSWERING_CHAT)
    assert (shown["name"], shown.get("blocked")) == ("Samuel O.", None)


async def test_a_hidden_id_and_its_number_lead_to_each_other(call: Call) -> None:
    pair = (await call("list_hidden_ids", limit=1))["people"][0]
    assert await call("match_hidden_id", contact=pair["lid"]) == pair
    assert await call("match_hidden_id", contact=pair["phone"]) == pair


async def test_what_whatsapp_does_not_tell_of_its_limits_is_said_to_be_missing(call: Call, admin: Admin) -> None:
    await admin.fault("/api/sessions/default/capping", body="null")
    limits = await call("get_limits")
    assert limits["not_told"] == ["capping"]
    assert "new_chats_left" not in limits


async def test_an_event_has_a_time_that_is_the_same_at_every_call(call: Call) -> None:
    with pytest.raises(ArgumentError, match="start"):
        await call("send_event", chat=ANSWERING_CHAT, name="Supper", start="30m")


async def test_the_own_profile_is_changed(call: Call) -> None:
    await call("update_profile", name="Alexandra")
    assert (await call("get_profile"))["name"] == "Alexandra"
    await call("set_profile_picture", data="iVBORw0KGgo=")
    assert "picture" in await call("get_profile")
    await call("delete_profile_picture")
    assert "picture" not in await call("get_profile")


async def test_the_session_stops_starts_and_is_logged_out(call: Call, admin: Admin) -> None:
    assert (await call("control_session", do="stop"))["state"] == "STOPPED"
    assert (await call("get_session"))["state"] == "STOPPED"
    await call("control_session", do="start")
    await admin.request("POST", "/sandbox/settle")
    assert (await call("get_session"))["state"] == "WORKING"
    await call("logout_session")
    await admin.request("POST", "/sandbox/settle")
    assert "account" not in await call("get_session")
    assert len((await call("request_pairing_code", phone="+12025550100"))["code"]) == 9


async def test_a_qr_code_is_the_same_in_its_image_and_in_its_text(bridge: Bridge, admin: Admin) -> None:
    await admin.request("POST", "/sandbox/session", {"status": "SCAN_QR_CODE"})
    await admin.clear()
    result = await bridge.call("get_qr_code", {})
    assert len([each for each in await admin.requests() if each["operation"] == "AuthController_getQR"]) == 1
    [image] = result.attachments
    assert (image.kind, image.mimetype) == ("image", "image/png")
    lines = result.model_dump()["text"].splitlines()
    light = {"█": (1, 1), "▀": (1, 0), "▄": (0, 1), " ": (0, 0)}
    drawn = [[light[each][half] for each in line] for line in lines for half in (0, 1)]
    # segno leaves a border of four modules in its images; the text has two.
    pixels = [row[12:-12:6] for row in _bits(image.data)[12:-12:6]]
    assert drawn[: len(pixels)] == pixels


def _bits(png: bytes) -> list[list[int]]:
    """The pixels of a PNG with a bit depth of one, 1 is light."""
    width, height = struct.unpack(">II", png[16:24])
    assert (png[24], png[25]) in ((1, 0), (1, 3))
    at, packed = 8, b""
    while at < len(png):
        [length] = struct.unpack(">I", png[at : at + 4])
        packed += png[at + 8 : at + 8 + length] if png[at + 4 : at + 8] == b"IDAT" else b""
        at += length + 12
    raw, stride = zlib.decompress(packed), (width + 7) // 8 + 1
    rows = [raw[stride * y + 1 : stride * (y + 1)] for y in range(height)]
    return [[row[x // 8] >> (7 - x % 8) & 1 for x in range(width)] for row in rows]


async def test_a_pairing_that_stops_at_a_passkey_is_finished(call: Call, admin: Admin) -> None:
    await admin.request("POST", "/sandbox/session", {"status": "PASSKEY_REQUIRED"})
    asked = await call("get_passkey_request")
    assert asked["relying_party"] == "web.whatsapp.com"
    signed = {"id": asked["credentials"][0]["id"], "client_data": "e30", "authenticator_data": "AA", "signature": "AA"}
    await call("answer_passkey_request", assertion=signed)
    assert len((await call("get_passkey_request"))["code"]) == 4
    with pytest.raises(ArgumentError):
        await call("answer_passkey_request")
    await call("answer_passkey_request", code_matches=True)
    assert (await call("get_session"))["state"] == "WORKING"


async def test_a_deleted_session_is_gone(call: Call) -> None:
    await call("delete_session")
    with pytest.raises(SessionNotReady):
        await call("get_session")


async def test_a_converted_file_lies_in_the_outbox_and_is_not_written_over(call: Call, tmp_path: Path) -> None:
    made = await call("convert_media", kind="voice", save_as="note", data="T2dnUw==")
    content = (tmp_path / made["path"]).read_bytes()
    assert (made["mimetype"], made["size"]) == ("audio/ogg; codecs=opus", len(content))
    with pytest.raises(ArgumentError, match="already"):
        await call("convert_media", kind="voice", save_as="note", data="T2dnUw==")
    await call("send_media", chat=ANSWERING_CHAT, kind="voice", path=made["path"])


async def test_a_story_is_taken_back_and_nothing_else_passes_for_one(call: Call, admin: Admin) -> None:
    posted = (await call("post_text_status", text="Up the hill"))["message_id"]
    await call("delete_status", message_id=posted)
    sent = (await call("send_text", chat=ANSWERING_CHAT, text="Down the hill"))["message_id"]
    with pytest.raises(ArgumentError, match="status story"):
        await call("delete_status", message_id=sent)


def _row(engine: str, case: str) -> Any:
    return next(each.row for each in cases("groups", engine) if each.case == case)


WITH_DESCRIPTION = "group with description and admins, me among them"


@pytest.mark.parametrize("engine", ["webjs", "wpp"])
async def test_a_group_of_a_browser_engine_is_shown_with_description_size_and_birthday(
    call: Call, group: str, admin: Admin, engine: str
) -> None:
    row = _row(engine, WITH_DESCRIPTION)
    await admin.fault(f"/api/default/groups/{group}", body=json.dumps(row), content_type="application/json")
    shown = await call("get_group", group=group)
    assert (shown["subject"], shown["description"]) == ("Boat house", "Who mends what\nand when")
    assert shown["participants"] == len(row["groupMetadata"]["participants"])
    assert datetime.fromisoformat(shown["created"]).timestamp() == row["groupMetadata"]["creation"]


@pytest.mark.parametrize("engine", ["webjs", "wpp"])
async def test_the_groups_of_a_browser_engine_are_listed_with_subject_and_description(
    call: Call, admin: Admin, engine: str
) -> None:
    rows = [case.row for case in cases("groups", engine) if case.row]
    await admin.fault("/api/default/groups", body=json.dumps(rows), content_type="application/json")
    found = {each["id"]: each for each in (await call("list_groups", limit=50))["groups"]}
    assert found["120363000000000001@g.us"]["description"] == "Who mends what\nand when"
    # Only its metadata has a name.
    assert found["120363000000000002@g.us"]["subject"] == "Rowing club"


async def test_a_group_that_an_engine_answers_false_for_is_said_not_to_be_there(
    call: Call, group: str, admin: Admin
) -> None:
    await admin.fault(f"/api/default/groups/{group}", body="false", content_type="application/json")
    with pytest.raises(NotFound, match="no group"):
        await call("get_group", group=group)


async def test_the_account_itself_is_marked_among_the_participants_by_number_and_by_hidden_id(
    call: Call, group: str, admin: Admin
) -> None:
    page = await call("list_participants", group=group)
    assert [each["phone"] for each in page["participants"] if each.get("me")] == ["+12025550100"]
    lid = next(each["me"]["lid"] for each in await admin.request("GET", "/api/sessions"))
    rows = [{"id": {"_serialized": lid}, "pn": None, "role": "admin"}, {"id": "990003@lid", "role": "participant"}]
    await admin.fault(f"/api/default/groups/{group}/participants/v2", body=json.dumps(rows))
    page = await call("list_participants", group=group)
    assert [each.get("me") for each in page["participants"]] == [True, None]


UNKNOWN = '{"statusCode": 404, "message": "Cannot GET /x", "error": "Not Found"}'
PATHS = {name: path for name, (path, _) in SETTINGS.items()}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, UNKNOWN),
        (500, '{"statusCode": 500, "message": "Internal server error"}'),
        (422, '{"statusCode": 422, "message": "The method is not implemented by the engine."}'),
        (200, "[]"),
        (200, "{}"),
    ],
)
async def test_a_group_setting_that_waha_does_not_tell_is_named_and_the_others_are_shown(
    call: Call, group: str, admin: Admin, status: int, body: str
) -> None:
    missing = ("members_can_add", "members_can_share_history", "approval_required")
    for name in missing:
        path = f"/api/default/groups/{group}/settings/security/{PATHS[name]}"
        await admin.fault(path, status=status, body=body, content_type="application/json")
    shown = await call("get_group_settings", group=group)
    assert shown["not_told"] == list(missing)
    assert set(shown) == {"group", "not_told", "only_admins_edit_info", "only_admins_send"}


async def test_settings_of_a_group_that_is_not_there_are_an_error(call: Call, group: str, admin: Admin) -> None:
    body = '{"statusCode": 404, "message": "Group not found"}'
    await admin.fault(f"/api/default/groups/{group}/settings/*", status=404, body=body)
    with pytest.raises(NotFound):
        await call("get_group_settings", group=group)


async def test_a_contact_is_shown_where_the_engine_does_not_tell_what_they_say_about_themselves(
    call: Call, admin: Admin
) -> None:
    whole = await call("get_contact", contact=ANSWERING_CHAT)
    await admin.request("POST", "/sandbox/engine", {"lacks": ["ContactsController_getAbout"]})
    shown = await call("get_contact", contact=ANSWERING_CHAT)
    assert shown == {name: value for name, value in whole.items() if name != "about"} | {"not_told": ["about"]}


async def test_what_somebody_says_about_themselves_is_shown_by_a_waha_without_details_of_contacts(
    call: Call, admin: Admin
) -> None:
    await admin.fault("/api/default/contacts/*", status=404, body=UNKNOWN)
    shown = await call("get_contact", contact=ANSWERING_CHAT)
    assert shown["about"] == "Always on"
    assert shown["not_told"] == ["name", "saved", "blocked"]


async def test_channel_filters_that_waha_does_not_tell_are_named(call: Call, admin: Admin) -> None:
    await admin.fault("/api/default/channels/search/countries", status=404, body=UNKNOWN)
    shown = await call("list_channel_filters")
    assert shown["not_told"] == ["countries"]
    assert shown["views"]
    assert "countries" not in shown


async def test_a_status_without_wahas_version_says_so_and_shows_the_rest(call: Call, admin: Admin) -> None:
    await admin.fault("/api/server/version", status=404, body=UNKNOWN)
    shown = await call("get_status")
    assert (shown["state"], shown["not_told"]) == ("WORKING", ["waha", "engine"])
    assert "next_step" not in shown


async def test_limits_of_an_older_waha_are_an_error_that_names_the_version_to_have(call: Call, admin: Admin) -> None:
    await admin.fault("/api/sessions/default/*", status=404, body=UNKNOWN, count=2)
    await admin.fault("/api/server/version", body='{"version": "2026.2.1"}', count=2)
    with pytest.raises(UnknownOperation, match=r"2026\.2\.1.*2026\.8\.1"):
        await call("get_limits")
