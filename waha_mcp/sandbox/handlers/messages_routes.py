"""Messages: reading, and changes of one message (edit, delete, react, pin, star)."""

from __future__ import annotations

from typing import Any

from waha_mcp.sandbox import doings
from waha_mcp.sandbox.account import ACKS, Account, Filter, Message
from waha_mcp.sandbox.answers import Crash, http_error
from waha_mcp.sandbox.handlers.lookups import as_chat_id, find_message, known_chat_id
from waha_mcp.sandbox.registry import Call, handles


@handles("ChatsController_getChatMessages", "ChattingController_getMessages")
def page(call: Call) -> Any:
    """A page, newest first. `limit=-1` returns all messages; an invalid limit is no error."""
    account, query = call.account, call.query
    chat_id = call.path.get("chatId") or call.query["chatId"]
    wanted = _filter(query)
    call.engine.check_filter(wanted, chat_id)
    chats = None
    if chat_id != "all":
        chats = account.joined(known_chat_id(account, chat_id), merged=query["merge"] and call.engine.merges)
        if not chats:
            return []
    limit = query.get("limit")
    messages = call.engine.page(
        account,
        chats,
        limit=None if limit is None or limit < 0 else int(limit),
        offset=max(int(query.get("offset") or 0), 0),
        wanted=wanted,
        ascending=query.get("sortOrder") == "asc",
    )
    download = bool(query.get("downloadMedia"))
    return [
        call.engine.message(account, each, session=call.session.name, download=download and _wanted_type(call, each))
        for each in messages
    ]


def _filter(query: Any) -> Filter:
    ack = query.get("filter.ack")
    return Filter(
        since=query.get("filter.timestamp.gte"),
        until=query.get("filter.timestamp.lte"),
        from_me=query.get("filter.fromMe"),
        ack=next((number for number, name in ACKS.items() if name == ack), None),
    )


def _wanted_type(call: Call, message: Message) -> bool:
    types = call.query.get("downloadMediaMimetypes")
    return not types or (message.media is not None and message.media.mimetype.startswith(tuple(types)))


@handles("ChatsController_getChatMessage")
def one(call: Call) -> Any:
    """One message; an unknown id is null, so an empty body."""
    message = find_message(call.account, call.path["messageId"], _chat_id(call))
    if message is None or not call.engine.finds(call.account, message, call.path["messageId"]):
        return None
    download = bool(call.query.get("downloadMedia")) and _wanted_type(call, message)
    return call.engine.message(call.account, message, session=call.session.name, download=download)


def _chat_id(call: Call) -> str:
    chat_id = call.path["chatId"]
    return chat_id if chat_id == "all" else as_chat_id(chat_id)


def _existing(call: Call) -> Message:
    message = find_message(call.account, call.path["messageId"], _chat_id(call))
    if message is None:
        raise http_error(422, f"Message with id '{call.path['messageId']}' not found")
    return message


@handles("ChatsController_deleteMessage")
def delete(call: Call) -> Any:
    """Deletes for everybody; only own messages, and in groups any message if an admin."""
    message = _existing(call)
    group = call.account.groups.get(message.chat)
    if not message.from_me and (group is None or group.members.get(call.account.me.id) == "participant"):
        raise Crash("forbidden")
    doings.revoke(call.sandbox, call.session, message, _me_in(call.account, message))
    return call.engine.deleted(call.account, message)


def _me_in(account: Account, message: Message) -> str:
    """How the account itself is named in a message's chat."""
    hidden = message.chat.endswith("@lid") or message.author.endswith("@lid")
    return account.me.lid if hidden and account.me.lid else account.me.id


@handles("ChatsController_editMessage")
def edit(call: Call) -> Any:
    message = _existing(call)
    if not message.from_me or message.deleted:
        raise Crash("only own messages can be edited")
    message.mentions = tuple(as_chat_id(each) for each in call.body.get("mentions") or ())
    doings.edit(call.sandbox, call.session, message, call.body["text"])
    return call.engine.edited(call.account, message)


@handles("ChatsController_pinMessage")
def pin(call: Call) -> Any:
    _existing(call).pinned = int(call.sandbox.now() + call.body["duration"])
    return {"success": True}


@handles("ChatsController_unpinMessage")
def unpin(call: Call) -> Any:
    _existing(call).pinned = None
    return {"success": True}


@handles("ChattingController_setReaction")
def react(call: Call) -> Any:
    """Sets the account's reaction; an empty text removes it."""
    account = call.account
    message = find_message(account, call.body["messageId"])
    if message is None:
        raise Crash("message not found")
    me = account.me.lid if message.chat.endswith("@lid") and account.me.lid else account.me.id
    reaction = doings.react(call.sandbox, call.session, account, message, me, call.body["reaction"], source="api")
    return call.engine.reacted(account, reaction)


@handles("ChattingController_setStar")
def star(call: Call) -> Any:
    message = find_message(call.account, call.body["messageId"])
    if message is not None:
        message.starred = bool(call.body["star"])


@handles("ChattingController_sendSeen")
def seen(call: Call) -> Any:
    """Marks messages as read: the named ones, or everything in the chat."""
    account = call.account
    ids = call.body.get("messageIds") or ([call.body["messageId"]] if call.body.get("messageId") else None)
    named = None if ids is None else {found.id for each in ids if (found := find_message(account, each))}
    chats = account.joined(known_chat_id(account, call.body["chatId"]), merged=call.engine.merges)
    doings.read(call.sandbox, call.session, chats, named)


@handles("ChattingController_getNewMessageId", "StatusController_getNewMessageId")
def new_message_id(call: Call) -> Any:
    return {"id": call.account.new_id()}
