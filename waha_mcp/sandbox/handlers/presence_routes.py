"""Presence, both ways, and calls."""

from __future__ import annotations

from typing import Any

from waha_mcp.sandbox.answers import Crash, bad_parameters
from waha_mcp.sandbox.handlers.lookups import as_chat_id
from waha_mcp.sandbox.happenings import CallEnded
from waha_mcp.sandbox.registry import Call, handles

IN_CHAT = ("typing", "recording", "paused")


@handles("PresenceController_setPresence")
def put(call: Call) -> Any:
    """`online` and `offline` are for everybody, the rest needs a chat."""
    presence, chat_id = call.body["presence"], call.body.get("chatId")
    if presence in IN_CHAT:
        if not chat_id:
            raise bad_parameters(["chatId should not be empty"])
    else:
        call.account.presence = presence


@handles("PresenceController_getPresenceAll")
def every(call: Call) -> Any:
    return [_presences(call, chat_id) for chat_id in sorted(call.account.subscribed)]


@handles("PresenceController_getPresence")
def one(call: Call) -> Any:
    """The presence in a chat; requesting it subscribes to it."""
    chat_id = as_chat_id(call.path["chatId"])
    call.account.subscribed.add(chat_id)
    return _presences(call, chat_id)


@handles("PresenceController_subscribe")
def subscribe(call: Call) -> Any:
    call.account.subscribed.add(as_chat_id(call.path["chatId"]))


def _presences(call: Call, chat_id: str) -> dict[str, Any]:
    account = call.account
    chat_id = call.engine.presence_id(account, chat_id)
    group = account.groups.get(chat_id)
    people = [each for each in group.members if not account.is_me(each)] if group else [chat_id]
    presences = []
    for each in people:
        person = account.person(each)
        if person is None:
            continue
        chat = account.chats.get(person.id)
        shown = account.presences.get(account.place(chat_id, each)) or ("online" if person.answers else "offline")
        seen = None if shown != "offline" or chat is None or not call.engine.tells_last_seen else chat.time + 60
        presences.append({"participant": each, "lastSeen": seen, "lastKnownPresence": shown})
    return {"id": chat_id, "presences": presences}


@handles("CallsController_rejectCall")
def reject(call: Call) -> Any:
    calls, caller = call.account.calls, as_chat_id(call.body["from"])
    if calls.get(call.body["id"]) != caller:
        raise Crash("call not found")
    del calls[call.body["id"]]
    call.emit(CallEnded(call.body["id"], caller, by_me=True))
