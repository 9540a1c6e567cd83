"""The world in which every tool is exercised: what the sandbox holds, and right arguments for each tool.

A tool without a row in `arguments` fails the tests, so a new tool comes with one.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from tests.harness import Admin, with_buttons
from tests.sandbox.box import group_id
from waha_mcp.sandbox import ANSWERING_CHAT
from waha_mcp.sandbox.sample_files import jpeg, mp4, ogg, webp
from waha_mcp.tools.catalog import CATALOG

#: The session's status that a tool needs, where it is not WORKING.
STATUS = {
    "get_qr_code": "SCAN_QR_CODE",
    "request_pairing_code": "SCAN_QR_CODE",
    "get_passkey_request": "PASSKEY_REQUIRED",
    "answer_passkey_request": "PASSKEY_REQUIRED",
}

#: Secrets that the sandbox's session is made with, and those that `furnish` plants in apps.
PLANTED = ("proxy-user", "proxy-secret", "hmac-secret", "header-secret", "chatwoot-secret")


@dataclass
class World:
    """Ids of things in one sandbox. `own_*` and `spare_*` are there to be changed and taken away."""

    group: str
    member: str
    waiting: list[str]
    family: str
    spare_group: str
    invite: str
    channel: str
    own_channel: str
    incoming: str
    asking: str
    voice: str
    poll: str
    own: list[str]
    story: str
    call_id: str
    mcp_app: str
    calls_app: str
    secrets: list[str]


async def furnish(admin: Admin) -> World:
    """Add to a fresh sandbox what the tools need, with the admin's own hand."""
    groups = await admin.request("GET", "/api/default/groups")
    rows = list(groups.values()) if isinstance(groups, dict) else groups
    by_subject = {row.get("subject") or row.get("Name") or row["name"]: group_id(row) for row in rows}
    hike = next(group for subject, group in by_subject.items() if "Hikers" in subject)
    requests = await admin.request("GET", f"/api/default/groups/{hike}/participants/join-requests")
    members = await admin.request("GET", f"/api/default/groups/{hike}/participants/v2")
    spare = await admin.request(
        "POST", "/api/default/groups", {"name": "Spare", "participants": [{"id": ANSWERING_CHAT}]}
    )
    invite = await admin.request("GET", f"/api/default/groups/{group_id(spare)}/invite-code")
    lids = {row["lid"]: row["pn"] for row in await admin.request("GET", "/api/default/lids")}
    participants = [row["pn"] or lids[row["id"]] for row in members if row["role"] == "participant"]
    channels = {row["name"]: row["id"] for row in await admin.request("GET", "/api/default/channels")}
    messages = await admin.request("GET", f"/api/default/chats/{hike}/messages?limit=100")
    answered = await admin.request("GET", f"/api/default/chats/{ANSWERING_CHAT}/messages?limit=100")
    own = [message["id"] for message in answered if message["fromMe"]]
    await admin.request(
        "POST", "/api/default/status/text", {"text": "Up the hill", "backgroundColor": "#38b42f", "font": 0}
    )
    stories = await admin.request("GET", "/api/default/chats/status@broadcast/messages?limit=10")
    ringing = await admin.request("POST", "/sandbox/calls", {"from": ANSWERING_CHAT})
    asking = {"chatId": ANSWERING_CHAT, "text": "Well?", "raw": with_buttons("Yes", "No")}
    made = {}
    for kind, config in {
        "mcp": {"actions": {"read": True}},
        "calls": {"dm": {"reject": True, "message": "Please write"}, "group": {"reject": False}},
        "chatwoot": {"url": "https://chat.example.com", "accountToken": "chatwoot-secret"},
    }.items():
        app = {"id": f"app_{kind}", "session": "default", "app": kind, "enabled": True, "config": config}
        made[kind] = await admin.request("POST", "/api/apps", app)
    return World(
        group=hike,
        member=next(each for each in participants if each != ANSWERING_CHAT),
        waiting=[row.get("requesterPn") or lids[row["requesterId"]] for row in requests],
        family=by_subject["Family ❤️"],
        spare_group=group_id(spare),
        invite=invite,
        channel=channels["City Library News"],
        own_channel=channels["Alex's Trail Notes"],
        incoming=next(message["id"] for message in answered if not message["fromMe"]),
        asking=(await admin.request("POST", "/sandbox/messages", asking))["id"],
        voice=next(message["id"] for message in answered if _holds(message, "audioMessage", "ptt")),
        poll=next(message["id"] for message in messages if _holds(message, "pollCreation", "poll_creation")),
        own=own,
        story=next(message["id"] for message in stories if message["fromMe"]),
        call_id=ringing["id"],
        mcp_app=made["mcp"]["id"],
        calls_app=made["calls"]["id"],
        secrets=[*PLANTED, made["mcp"]["config"]["key"]],
    )


def _holds(message: dict[str, Any], field: str, kind: str) -> bool:
    """Whether a message is of this kind: by the protocol's field, or by the browser engines' type."""
    data = message["_data"]
    names = data.get("message") or data.get("Message") or ()
    return data.get("type") == kind or any(name.startswith(field) for name in names)


def _data(content: bytes) -> str:
    return base64.b64encode(content).decode()


def arguments(world: World) -> dict[str, dict[str, Any]]:
    """Right arguments for each tool, by name."""
    chat, group = {"chat": ANSWERING_CHAT}, {"group": world.group}
    picture = {"data": _data(jpeg())}
    return {
        "get_status": {},
        "list_chats": {"limit": 5},
        "get_unread": {},
        "find_chats": {"query": "Sam"},
        "get_messages": chat | {"limit": 5},
        "get_message": {"message_id": world.incoming, "before": 2, "after": 2},
        "search_messages": {"query": "sounds good after:365d", "context": 1, "order": "relevance"},
        "wait_for_messages": chat | {"after": world.incoming, "timeout": 1, "settle": 0},
        "get_updates": {"after": world.incoming},
        "get_media": {"message_id": world.voice},
        "get_contacts": {"limit": 5},
        "check_number": {"phone": "+12025550123"},
        "list_groups": {"limit": 5},
        "send_text": chat | {"text": "Hello", "reply_to": world.incoming, "mentions": [ANSWERING_CHAT]},
        "send_media": chat | {"kind": "image", "caption": "Look", **picture},
        "react": {"message_id": world.incoming, "emoji": "👍"},
        "mark_read": chat,
        "send_sticker": chat | {"data": _data(webp())},
        "send_link_preview": chat
        | {"text": "See https://example.com/a", "link": "https://example.com/a", "title": "A", "description": "B"},
        "send_list": chat
        | {"title": "Lunch", "button": "Choose", "sections": [{"title": "Hot", "rows": [{"title": "Soup"}]}]},
        "reply_to_buttons": {"message_id": world.asking, "label": "Yes"},
        "send_poll": chat | {"question": "When?", "options": ["Now", "Later"]},
        "vote_in_poll": {"message_id": world.poll, "options": ["Great Falls"]},
        "send_location": chat | {"latitude": 52.5, "longitude": 13.4, "title": "Here"},
        "send_contact_cards": chat
        | {"contacts": [{"name": "Ada", "phone": "+1 202 555 0155", "organization": "Example"}]},
        "send_event": chat
        | {
            "name": "Walk",
            "start": "2030-05-01T09:00:00+02:00",
            "end": "2030-05-01T11:00:00+02:00",
            "location": "Gate",
        },
        "forward_message": {"message_id": world.incoming, "chat": world.group},
        "edit_message": {"message_id": world.own[0], "text": "Better"},
        "delete_message": {"message_id": world.own[1]},
        "pin_message": {"message_id": world.incoming, "duration": "24h"},
        "star_message": {"message_id": world.incoming},
        "set_typing": chat | {"state": "recording"},
        "archive_chat": chat,
        "mark_unread": chat,
        "delete_chat": chat | {"only_messages": True},
        "convert_media": {"kind": "voice", "save_as": "note", "data": _data(ogg())},
        "get_contact": {"contact": ANSWERING_CHAT},
        "get_profile_picture": chat,
        "match_hidden_id": {"contact": world.member},
        "list_hidden_ids": {"limit": 3},
        "block_contact": {"contact": world.member},
        "save_contact": {"contact": ANSWERING_CHAT, "first_name": "Sam", "last_name": "Okafor"},
        "get_group": group,
        "list_participants": group | {"limit": 3},
        "get_group_settings": group,
        "get_invite_link": group,
        "get_invite_info": {"invite": f"https://chat.whatsapp.com/{world.invite}"},
        "create_group": {"subject": "Fresh", "participants": [ANSWERING_CHAT]},
        "join_group": {"invite": world.invite},
        "leave_group": {"group": world.family},
        "list_join_requests": group,
        "add_participants": group | {"people": world.waiting[1:]},
        "remove_participants": group | {"people": [world.member]},
        "set_group_admins": group | {"people": [world.member]},
        "decide_join_requests": group | {"people": world.waiting[:1], "approved": True},
        "update_group": group | {"description": "Boots on"},
        "set_group_picture": group | picture,
        "delete_group_picture": group,
        "set_group_setting": group | {"setting": "only_admins_send", "on": True},
        "revoke_invite_link": group,
        "delete_group": {"group": world.spare_group},
        "refresh_groups": {},
        "list_channels": {"role": "owner"},
        "get_channel": {"channel": world.channel},
        "preview_channel": {"channel": world.channel, "limit": 3},
        "search_channels": {"text": "club news", "limit": 2},
        "list_channel_filters": {},
        "create_channel": {"name": "Fresh notes", "description": "New", **picture},
        "follow_channel": {"channel": world.channel, "followed": False},
        "mute_channel": {"channel": world.channel},
        "delete_channel": {"channel": world.own_channel},
        "list_labels": {},
        "list_labeled_chats": {"label_id": "1"},
        "set_chat_labels": chat | {"label_ids": ["1", "3"]},
        "save_label": {"name": "Suppliers", "color": 4},
        "delete_label": {"label_id": "2"},
        "post_text_status": {"text": "Good morning", "people": [ANSWERING_CHAT]},
        "post_media_status": {"kind": "video", "data": _data(mp4()), "caption": "Waves"},
        "delete_status": {"message_id": world.story},
        "get_presence": chat,
        "follow_presence": chat,
        "set_presence": {"online": True},
        "reject_call": {"caller": ANSWERING_CHAT, "call_id": world.call_id},
        "get_profile": {},
        "update_profile": {"name": "Alex"},
        "set_profile_picture": picture,
        "delete_profile_picture": {},
        "get_session": {},
        "get_limits": {},
        "control_session": {"do": "restart"},
        "logout_session": {},
        "delete_session": {},
        "get_qr_code": {},
        "request_pairing_code": {"phone": "+12025550100"},
        "get_passkey_request": {},
        "answer_passkey_request": {
            "assertion": {"id": "a2V5", "client_data": "e30", "authenticator_data": "AA", "signature": "AA"}
        },
        "get_session_settings": {},
        "update_session_settings": {
            "debug": True,
            "ignored": ["status"],
            "metadata": [{"name": "team", "value": "blue"}],
            "webhooks": [
                {"url": "https://hooks.example.com/waha", "events": ["message"]},
                {"url": "https://hooks.example.org/new", "events": ["session.status"]},
            ],
            "proxy": "hooks.example.org:3128",
        },
        "list_waha_apps": {},
        "create_waha_app": {"kind": "mcp", "actions": ["read", "send"]},
        "update_waha_app": {"app_id": world.calls_app, "enabled": False},
        "delete_waha_app": {"app_id": world.mcp_app},
        "purge_waha_app": {"app_id": world.calls_app},
    }


def in_order() -> list[str]:
    """Every tool, in an order in which none takes away what a later one needs."""
    names = list(CATALOG)
    return sorted(
        names,
        key=lambda name: (
            CATALOG[name].toolset == "session",
            name in ("logout_session", "delete_session"),
            CATALOG[name].hints.destructive,
            name in STATUS,
            names.index(name),
        ),
    )
