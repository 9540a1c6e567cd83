"""Chats: lists, overview, and changes of a whole chat (archive, delete, mark read)."""

from __future__ import annotations

from typing import Any

from waha_mcp.sandbox.account import Chat, Filter
from waha_mcp.sandbox.handlers.lookups import as_chat_id, known_chat_id
from waha_mcp.sandbox.happenings import ChatArchived, ReadByMe
from waha_mcp.sandbox.registry import Call, handles, paged


@handles("ChatsController_getChats")
def every(call: Call) -> Any:
    account, query = call.account, call.query
    chats = account.ordered_chats(merged=query["merge"] and call.engine.merges)
    descending = query.get("sortOrder", "desc") == "desc"
    if query.get("sortBy") == "id":
        chats.sort(key=lambda chat: chat.id, reverse=descending)
    elif query.get("sortBy") == "name":
        # For names WAHA's "descending" starts with A.
        chats.sort(key=lambda chat: (account.name_of(chat.id) or "").casefold(), reverse=not descending)
    elif not descending:
        chats.reverse()
    return [call.engine.chat(account, chat, overview=False) for chat in paged(chats, query)]


@handles("ChatsController_getChatsOverview")
def overview(call: Call) -> Any:
    return _overview(call, call.query, call.query.get("ids"))


@handles("ChatsController_postChatsOverview")
def posted_overview(call: Call) -> Any:
    given = {name: value for name, value in call.body["pagination"].items() if value is not None}
    pagination = {"merge": True, "limit": 20} | given
    return _overview(call, pagination, (call.body.get("filter") or {}).get("ids"))


def _overview(call: Call, query: Any, ids: list[str] | None) -> list[dict[str, Any]]:
    account, merged = call.account, query["merge"] and call.engine.merges
    chats = account.ordered_chats(merged=merged)
    if ids:
        wanted = {as_chat_id(each) for each in ids}
        chats = [chat for chat in chats if chat.id in wanted or (merged and account.twin(chat.id) in wanted)]
    return [_summary(call, chat, merged=merged) for chat in paged(chats, query)]


def _summary(call: Call, chat: Chat, *, merged: bool) -> dict[str, Any]:
    account = call.account
    last = account.last_message(chat, merged=merged)
    return {
        "id": chat.id,
        "name": call.engine.chat_name(account, chat.id),
        "picture": call.engine.picture(account, chat.id),
        "lastMessage": call.engine.message(account, last, session=call.session.name) if last else None,
        "_chat": call.engine.chat(account, chat, overview=True),
    }


@handles("ChatsController_getChatPicture", "GroupsController_getChatPicture")
def picture(call: Call) -> Any:
    chat_id = as_chat_id(call.path.get("chatId") or call.path["id"])
    return {"url": call.engine.picture(call.account, chat_id)}


@handles("ChatsController_archiveChat", "ChatsController_unarchiveChat")
def archive(call: Call) -> Any:
    for chat in _chats(call):
        chat.archived = call.operation.id == "ChatsController_archiveChat"
        call.emit(ChatArchived(chat))


@handles("ChatsController_unreadChat")
def unread(call: Call) -> Any:
    for chat in _chats(call):
        chat.marked_unread = True
    return {"success": True}


@handles("ChatsController_deleteChat")
def delete(call: Call) -> Any:
    for chat in _chats(call):
        call.account.drop_chat(chat.id)


@handles("ChatsController_clearMessages")
def clear(call: Call) -> Any:
    for chat in _chats(call):
        call.account.empty_chat(chat)


def _chats(call: Call) -> list[Chat]:
    return call.account.joined(known_chat_id(call.account, call.path["chatId"]), merged=call.engine.merges)


@handles("ChatsController_readChatMessages")
def read(call: Call) -> Any:
    """Marks unread messages as read. A number of `messages` means 100, whatever it is, as in WAHA."""
    account, chat_id = call.account, known_chat_id(call.account, call.path["chatId"])
    chats = account.joined(chat_id, merged=call.engine.merges)
    limit: int | None = 100 if call.query.get("messages") or chat_id.endswith("@g.us") else 30
    since: int | None = int(call.sandbox.now() - call.query["days"] * 86_400)
    if call.engine.reads_whole_chats:
        limit = since = None
    found = account.page(chats, limit=limit, wanted=Filter(since=since, from_me=False, ack=2))
    for message in found:
        message.ack = 3
    call.emit(ReadByMe(tuple(found)))
    for chat in chats:
        chat.marked_unread = False
        chat.unread = sum(not message.from_me and message.ack < 3 for message in chat.messages)
    if call.engine.reads_whole_chats:
        return {"ids": None}
    return {"ids": [call.engine.message_id(account, message) for message in found]}
