"""The data in the sandbox on which every tool is tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.harness import Admin, with_buttons
from tests.sandbox.box import group_id
from waha_mcp.sandbox import ANSWERING_CHAT

#: Secrets in the sandbox's initial session, and those that `furnish` puts into apps.
PLANTED = ("proxy-user", "proxy-secret", "hmac-secret", "header-secret", "chatwoot-secret")


@dataclass
class World:
    """Ids of things in one sandbox. `own_*` and `spare_*` are there to be changed and deleted."""

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
    """Add what the tools need to a fresh sandbox, as the admin."""
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
    """Whether a message is of this kind, by the protocol's field or by the browser engines' type."""
    data = message["_data"]
    names = data.get("message") or data.get("Message") or ()
    return data.get("type") == kind or any(name.startswith(field) for name in names)
