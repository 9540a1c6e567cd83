"""What the tests must be told about each tool: one row, with which it is tested on all four engines."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.contract.world import World
from tests.models import models_in
from waha_mcp.app.actions import Action
from waha_mcp.policy.reading import SEVERAL
from waha_mcp.sandbox import ANSWERING_CHAT
from waha_mcp.sandbox.sample_files import jpeg, mp4, ogg, webp
from waha_mcp.tools.catalog import CATALOG, Tool
from waha_mcp.whatsapp.untrusted import others_in, own_in

#: The only tool to test (`--tool`); None: all of them.
only: str | None = None


@dataclass(frozen=True)
class Row:
    """What the tests must be told about one tool.

    `given`: valid arguments, or a function that makes them from a world. A tool that reads has one of the next two
    fields. `others`: other arguments with which it returns what a stranger has written, and the chat that then counts
    as read (None: none); `tests/policy/test_reading_taint.py` says what GROUP, STRANGER, MESSAGE and the like stand
    for. `nobodys`: what it returns, if that is never what others have written. `status`: the session's status that it
    needs. `lacking`: the engines on which it says that they cannot do this.
    """

    given: Mapping[str, Any] | Callable[[World], Mapping[str, Any]] = field(default_factory=dict)
    others: tuple[dict[str, Any], str | None] | None = None
    nobodys: str | None = None
    status: str = "WORKING"
    lacking: tuple[str, ...] = ()

    def arguments(self, world: World) -> dict[str, Any]:
        """Valid arguments in a world."""
        return dict(self.given(world) if callable(self.given) else self.given)


def _data(content: bytes) -> str:
    return base64.b64encode(content).decode()


CHAT = {"chat": ANSWERING_CHAT}
PICTURE = {"data": _data(jpeg())}

#: In the order of tools/list.
ROWS: dict[str, Row] = {
    "get_status": Row(nobodys="the state of the account, and its own name"),
    "list_chats": Row({"limit": 5}, others=({}, SEVERAL)),
    "get_unread": Row(others=({}, SEVERAL)),
    "find_chats": Row({"query": "Sam"}, others=({"query": "Winners"}, "GROUP")),
    "get_messages": Row(CHAT | {"limit": 5}, others=({"chat": "STRANGER"}, "STRANGER")),
    "get_message": Row(
        lambda world: {"message_id": world.incoming, "before": 2, "after": 2},
        others=({"message_id": "MESSAGE", "before": 0, "after": 0}, "STRANGER"),
    ),
    "search_messages": Row(
        {"query": "sounds good after:365d", "context": 1, "order": "relevance"},
        others=({"query": "wire it"}, "STRANGER"),
    ),
    "wait_for_messages": Row(
        lambda world: CHAT | {"after": world.incoming, "timeout": 1, "settle": 0},
        others=({"chat": "STRANGER", "after": "MESSAGE"}, "STRANGER"),
    ),
    "get_updates": Row(lambda world: {"after": world.incoming}, others=({}, SEVERAL)),
    "get_catch_up": Row({"since": "7d"}, others=({}, SEVERAL)),
    "get_media": Row(lambda world: {"message_id": world.voice}, others=({}, ANSWERING_CHAT)),
    "get_contacts": Row({"limit": 5}, others=({"limit": 100}, SEVERAL)),
    "check_number": Row({"phone": "+12025550123"}, nobodys="whether a number is on WhatsApp"),
    "list_groups": Row({"limit": 5}, others=({}, SEVERAL)),
    "send_text": Row(lambda world: CHAT | {"text": "Hello", "reply_to": world.incoming, "mentions": [ANSWERING_CHAT]}),
    "send_media": Row(CHAT | {"kind": "image", "caption": "Look", **PICTURE}),
    "react": Row(lambda world: {"message_id": world.incoming, "emoji": "👍"}),
    "mark_read": Row(CHAT),
    "send_sticker": Row(CHAT | {"data": _data(webp())}),
    "send_link_preview": Row(
        CHAT | {"text": "See https://example.com/a", "link": "https://example.com/a", "title": "A", "description": "B"},
        lacking=("webjs", "wpp"),
    ),
    "send_list": Row(
        CHAT | {"title": "Lunch", "button": "Choose", "sections": [{"title": "Hot", "rows": [{"title": "Soup"}]}]},
        lacking=("webjs", "wpp"),
    ),
    "reply_to_buttons": Row(lambda world: {"message_id": world.asking, "label": "Yes"}, lacking=("wpp",)),
    "send_poll": Row(CHAT | {"question": "When?", "options": ["Now", "Later"]}),
    "vote_in_poll": Row(lambda world: {"message_id": world.poll, "options": ["Great Falls"]}, lacking=("wpp",)),
    "send_location": Row(CHAT | {"latitude": 52.5, "longitude": 13.4, "title": "Here"}),
    "send_contact_cards": Row(
        CHAT | {"contacts": [{"name": "Ada", "phone": "+1 202 555 0155", "organization": "Example"}]}
    ),
    "send_event": Row(
        CHAT
        | {
            "name": "Walk",
            "start": "2030-05-01T09:00:00+02:00",
            "end": "2030-05-01T11:00:00+02:00",
            "location": "Gate",
        },
        lacking=("webjs", "wpp"),
    ),
    "forward_message": Row(lambda world: {"message_id": world.incoming, "chat": world.group}),
    "edit_message": Row(lambda world: {"message_id": world.own[0], "text": "Better"}),
    "delete_message": Row(lambda world: {"message_id": world.own[1]}),
    "pin_message": Row(lambda world: {"message_id": world.incoming, "duration": "24h"}, lacking=("wpp",)),
    "star_message": Row(lambda world: {"message_id": world.incoming}),
    "set_typing": Row(CHAT | {"state": "recording"}),
    "archive_chat": Row(CHAT),
    "mark_unread": Row(CHAT),
    "delete_chat": Row(CHAT | {"only_messages": True}),
    "convert_media": Row({"kind": "voice", "save_as": "note", "data": _data(ogg())}, nobodys="a file of this machine"),
    "get_contact": Row({"contact": ANSWERING_CHAT}, others=({"contact": "STRANGER"}, "STRANGER")),
    "get_profile_picture": Row(CHAT, nobodys="the address of a picture"),
    "match_hidden_id": Row(lambda world: {"contact": world.member}, nobodys="ids"),
    "list_hidden_ids": Row({"limit": 3}, nobodys="ids"),
    "block_contact": Row(lambda world: {"contact": world.member}),
    "save_contact": Row({"contact": ANSWERING_CHAT, "first_name": "Sam", "last_name": "Okafor"}, lacking=("wpp",)),
    "get_group": Row(lambda world: {"group": world.group}, others=({"group": "GROUP"}, "GROUP")),
    "list_participants": Row(lambda world: {"group": world.group, "limit": 3}, others=({"group": "GROUP"}, "GROUP")),
    "get_group_settings": Row(lambda world: {"group": world.group}, nobodys="switches"),
    "get_invite_link": Row(
        lambda world: {"group": world.group}, nobodys="a link that WhatsApp makes, and whom the call has reached"
    ),
    "get_invite_info": Row(lambda world: {"invite": f"https://chat.whatsapp.com/{world.invite}"}, others=({}, "SPARE")),
    "create_group": Row({"subject": "Fresh", "participants": [ANSWERING_CHAT]}),
    "join_group": Row(lambda world: {"invite": world.invite}),
    "leave_group": Row(lambda world: {"group": world.family}),
    "list_join_requests": Row(lambda world: {"group": world.group}, others=({}, None)),
    "add_participants": Row(lambda world: {"group": world.group, "people": world.waiting[1:]}),
    "remove_participants": Row(lambda world: {"group": world.group, "people": [world.member]}),
    "set_group_admins": Row(lambda world: {"group": world.group, "people": [world.member]}),
    "decide_join_requests": Row(lambda world: {"group": world.group, "people": world.waiting[:1], "approved": True}),
    "update_group": Row(lambda world: {"group": world.group, "description": "Boots on"}),
    "set_group_picture": Row(lambda world: {"group": world.group, **PICTURE}),
    "delete_group_picture": Row(lambda world: {"group": world.group}),
    "set_group_setting": Row(lambda world: {"group": world.group, "setting": "only_admins_send", "on": True}),
    "revoke_invite_link": Row(lambda world: {"group": world.group}),
    "delete_group": Row(lambda world: {"group": world.spare_group}),
    "refresh_groups": Row(),
    "list_channels": Row({"role": "owner"}, others=({}, "OWN CHANNEL")),
    "get_channel": Row(lambda world: {"channel": world.channel}, others=({}, "CHANNEL")),
    "preview_channel": Row(lambda world: {"channel": world.channel, "limit": 3}, others=({}, "CHANNEL")),
    "search_channels": Row({"text": "club news", "limit": 2}, others=({"text": "news"}, SEVERAL)),
    "list_channel_filters": Row(nobodys="WhatsApp's own words"),
    "create_channel": Row({"name": "Fresh notes", "description": "New", **PICTURE}, lacking=("webjs",)),
    "follow_channel": Row(lambda world: {"channel": world.channel, "followed": False}, lacking=("webjs",)),
    "mute_channel": Row(lambda world: {"channel": world.channel}, lacking=("webjs",)),
    "delete_channel": Row(lambda world: {"channel": world.own_channel}, lacking=("webjs",)),
    "list_labels": Row(nobodys="labels that the account's owner has named"),
    "list_labeled_chats": Row({"label_id": "1"}, others=({"label_id": "2"}, "STRANGER")),
    "set_chat_labels": Row(CHAT | {"label_ids": ["1", "3"]}),
    "save_label": Row({"name": "Suppliers", "color": 4}),
    "delete_label": Row({"label_id": "2"}),
    "post_text_status": Row({"text": "Good morning", "people": [ANSWERING_CHAT]}),
    "post_media_status": Row({"kind": "video", "data": _data(mp4()), "caption": "Waves"}),
    "delete_status": Row(lambda world: {"message_id": world.story}, lacking=("wpp",)),
    "get_presence": Row(CHAT, others=({"chat": "GROUP"}, "GROUP")),
    "follow_presence": Row(CHAT),
    "set_presence": Row({"online": True}),
    "reject_call": Row(lambda world: {"caller": ANSWERING_CHAT, "call_id": world.call_id}),
    "get_profile": Row(nobodys="the account's own profile"),
    "update_profile": Row({"name": "Alex"}),
    "set_profile_picture": Row(PICTURE),
    "delete_profile_picture": Row(),
    "get_session": Row(nobodys="the account itself"),
    "get_limits": Row(nobodys="numbers", lacking=("webjs", "wpp")),
    "control_session": Row({"do": "restart"}),
    "logout_session": Row(),
    "delete_session": Row(),
    "get_qr_code": Row(nobodys="a code that WhatsApp makes", status="SCAN_QR_CODE"),
    "request_pairing_code": Row({"phone": "+12025550100"}, status="SCAN_QR_CODE"),
    "get_passkey_request": Row(nobodys="what WhatsApp asks for", status="PASSKEY_REQUIRED", lacking=("webjs", "wpp")),
    "answer_passkey_request": Row(
        {"assertion": {"id": "a2V5", "client_data": "e30", "authenticator_data": "AA", "signature": "AA"}},
        status="PASSKEY_REQUIRED",
        lacking=("webjs", "wpp"),
    ),
    "get_session_settings": Row(nobodys="settings of the account's owner"),
    "update_session_settings": Row(
        {
            "debug": True,
            "ignored": ["status"],
            "metadata": [{"name": "team", "value": "blue"}],
            "webhooks": [
                {"url": "https://hooks.example.com/waha", "events": ["message"]},
                {"url": "https://hooks.example.org/new", "events": ["session.status"]},
            ],
            "proxy": "hooks.example.org:3128",
        }
    ),
    "list_waha_apps": Row(nobodys="settings of the account's owner"),
    "create_waha_app": Row({"kind": "mcp", "actions": ["read", "send"]}),
    "update_waha_app": Row(lambda world: {"app_id": world.calls_app, "enabled": False}),
    "delete_waha_app": Row(lambda world: {"app_id": world.mcp_app}),
    "purge_waha_app": Row(lambda world: {"app_id": world.calls_app}),
}


def lacking() -> list[str]:
    """The rows that `ROWS` lacks, as they have to be written."""
    return [_wanted(tool) for name, tool in CATALOG.items() if name not in ROWS]


def missing() -> str:
    """What to do about the rows that `ROWS` lacks."""
    return "\n".join(["Write into ROWS in tests/contract/rows.py, with right arguments:", *lacking()])


def _wanted(tool: Tool) -> str:
    given = ", ".join(f'"{name}": ...' for name in tool.input_schema.get("required", ()))
    words = [f"{{{given}}}"] if given else []
    if reads(tool):
        words += ['others=({...}, "STRANGER")' if hands_out_others_words(tool) else 'nobodys="what it hands out"']
    return f'    "{tool.name}": Row({", ".join(words)}),'


def reads(tool: Tool) -> bool:
    """Whether its answers may contain others' words."""
    return not tool.effect or tool.action is Action.READ


def hands_out_others_words(tool: Tool) -> bool:
    """Whether a field of its result has a type for what others have written."""
    return any(others_in(model) - own_in(model) for model in models_in(tool.result))


def arguments(world: World) -> dict[str, dict[str, Any]]:
    """Valid arguments for each tool, by name."""
    assert not lacking(), missing()
    return {name: row.arguments(world) for name, row in ROWS.items()}


def chosen(names: Iterable[str]) -> list[str]:
    """Those of these tools that are tested: all, or the one that `--tool` names."""
    return [name for name in names if only in (None, name)]


def in_order() -> list[str]:
    """Every tool that is tested, in an order in which none removes what a later one needs."""
    assert not lacking(), missing()
    names = list(CATALOG)
    return sorted(
        chosen(names),
        key=lambda name: (
            CATALOG[name].toolset == "session",
            name in ("logout_session", "delete_session"),
            CATALOG[name].hints.destructive,
            ROWS[name].status != "WORKING",
            names.index(name),
        ),
    )
