"""The events of WEBJS and WPP: `from` is the author, and an edited or deleted message keeps its id."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from waha_mcp.sandbox import happenings
from waha_mcp.sandbox.account import Account, Group, Message
from waha_mcp.sandbox.engines.base import in_group
from waha_mcp.sandbox.engines.browser import Browser
from waha_mcp.sandbox.engines.browser_content import edit_id
from waha_mcp.sandbox.engines.engine_content import derived_id, jid
from waha_mcp.sandbox.engines.event_wording import Event, Wording, ack_fields
from waha_mcp.sandbox.engines.webjs import Webjs

if TYPE_CHECKING:
    from waha_mcp.sandbox.happenings import Happening
    from waha_mcp.sandbox.state import Session


class BrowserWording(Wording):
    in_milliseconds = False

    def reacted(self, account: Account, message: Message, reaction: Message, text: str) -> dict[str, Any]:
        return {
            "id": self.engine.message_id(account, reaction),
            "timestamp": reaction.time,
            "from": reaction.author,
            "fromMe": reaction.from_me,
            "source": reaction.source,
            "to": message.chat,
            "participant": reaction.author,
            "reaction": {"text": text, "messageId": self.engine.message_id(account, message)},
        }

    def voted(self, account: Account, poll: Message, by: str, chosen: list[str]) -> dict[str, Any]:
        row = self.engine.message(account, poll)
        created = {name: row[name] for name in ("id", "from", "to", "fromMe")}
        mine = account.is_me(by)
        vote = replace(poll, from_me=mine, author=by)
        told: dict[str, Any] = {
            # A vote has no id itself.
            "id": self.engine.message_id(account, vote),
            "from": by,
            "to": poll.chat if mine or in_group(poll) else account.me.id,
            "fromMe": mine,
            "selectedOptions": chosen,
            "timestamp": time.time_ns() // 1_000_000,
        }
        if in_group(poll):
            told["participant"], created["participant"] = by, poll.author
        return {"vote": told, "poll": created, "_data": {"sender": by, "selectedOptions": chosen}}

    def member_id(self, account: Account, group: Group, person: str) -> str:
        assert isinstance(self.engine, Browser)
        return self.engine.participant_id(account, group, person)

    def group_data(self, group: Group, by: str, action: str) -> dict[str, Any]:
        return {"id": {"remote": group.id}, "author": by, "type": action, "timestamp": int(time.time())}


class WebjsWording(BrowserWording):
    tells_who_writes = False
    sees_itself_leave = False
    after_typing = None
    group_fields = frozenset()
    tells_other_calls_end = False

    def edited(self, account: Account, message: Message, before: str | None) -> dict[str, Any]:
        assert isinstance(self.engine, Webjs)
        raw = {
            "message": self.engine.library_message(account, message),
            "newBody": message.text or "",
            "prevBody": before or "",
        }
        return self.engine.message(account, message) | {"editedMessageId": message.id, "_data": raw}

    def revoked(self, account: Account, message: Message, by: str) -> dict[str, Any]:
        # The library remembers only the last message that changed.
        before = None
        if account.chats[message.chat].messages[-1] is message:
            before = self.engine.message(account, replace(message, deleted=False))
        return {"after": self.engine.message(account, message), "before": before, "revokedMessageId": message.id}

    def reacted(self, account: Account, message: Message, reaction: Message, text: str) -> dict[str, Any]:
        told = super().reacted(account, message, reaction, text)
        return told | {"timestamp": reaction.time + 0.853}

    def acknowledged(self, session: Session, account: Account, message: Message, reader: str) -> dict[str, Any] | None:
        if not in_group(message):
            return self.engine.message(account, message)
        if message.ack in (0, 1) or not _has_tags(session):
            return None
        chat = message.chat
        # The real engine is inconsistent here too: the id says that the account wrote it, and `fromMe` says that it did
        # not.
        told = {
            "id": f"true_{chat}_{message.id}_{account.me.id}",
            "from": chat,
            "to": chat,
            "participant": reader,
            "fromMe": False,
        }
        return told | ack_fields(message.ack) | {"_data": {"tag": "receipt", "attrs": {"from": chat}}}

    def tells_presence(self, session: Session) -> bool:
        return _has_tags(session)

    def changed(self, account: Account, group: Group, fields: tuple[str, ...]) -> dict[str, Any]:
        # The group is read again, whatever has changed.
        return self.group_info(account, group)

    def call(self, call_id: str, caller: str) -> dict[str, Any]:
        return super().call(call_id, caller) | {"_data": {"id": call_id, "api": True}}

    def of_list(self, happening: Happening) -> Iterator[Event]:
        match happening:
            case happenings.ChatArchived(chat):
                yield "chat.archive", {"id": chat.id, "archived": chat.archived, "timestamp": chat.time}


class WppWording(BrowserWording):
    tells_who_writes = True
    is_a_member_too = False
    after_typing = "online"
    group_fields = frozenset({"subject", "description"})
    own_delay = 3.0
    tells_other_calls_end = False

    def me(self, account: Account) -> dict[str, Any]:
        return self.engine.me(account)

    def edited(self, account: Account, message: Message, before: str | None) -> dict[str, Any]:
        row = self.engine.message(account, message)
        edit = replace(message, id=edit_id(message))
        raw = {"chat": message.chat, "id": row["id"], "msg": row["_data"]}
        told = {"id": self.engine.message_id(account, edit), "editedMessageId": message.id, "_data": raw}
        return row | told | {"timestamp": message.edited or message.time}

    def revoked(self, account: Account, message: Message, by: str) -> dict[str, Any]:
        """Keys in place of messages, with ids as WhatsApp's servers write them."""
        revoke = replace(message, id=derived_id(message.id, "revoke"), from_me=account.is_me(by), author=by)
        raw = {
            "id": self.engine.message_id(account, revoke),
            "refId": self.engine.message_id(account, message),
            "from": by,
            "to": message.chat,
        }
        return {"after": _key(revoke), "before": _key(message), "revokedMessageId": message.id, "_data": raw}

    def reacted(self, account: Account, message: Message, reaction: Message, text: str) -> dict[str, Any]:
        told = super().reacted(account, message, reaction, text)
        raw = {"id": told["id"], "msgId": told["reaction"]["messageId"], "reactionText": text}
        return told | {"source": None, "_data": raw | {"timestamp": reaction.time}}

    def voted(self, account: Account, poll: Message, by: str, chosen: list[str]) -> dict[str, Any]:
        told = super().voted(account, poll, by, chosen)
        told["vote"]["id"] = told["poll"]["id"]
        return told

    def acknowledged(self, session: Session, account: Account, message: Message, reader: str) -> dict[str, Any] | None:
        row = self.engine.message(account, message)
        told = {"id": row["id"], "from": message.chat, "to": row["to"], "participant": row["participant"]}
        return told | {"fromMe": True} | ack_fields(message.ack) | {"_data": [row["_data"], message.ack]}

    def of_list(self, happening: Happening) -> Iterator[Event]:
        match happening:
            case happenings.ChatLabelled(chat, label, added):
                told = {"labelId": label["id"], "chatId": chat, "label": None}
                yield f"label.chat.{'added' if added else 'deleted'}", told


def _has_tags(session: Session) -> bool:
    """Whether the session is configured to receive WhatsApp's raw receipts and presences."""
    return bool((session.config.get("webjs") or {}).get("tagsEventsOn"))


def _key(message: Message) -> dict[str, Any]:
    key: dict[str, Any] = {"fromMe": message.from_me, "id": message.id, "remoteJid": jid(message.chat)}
    return key | ({"participant": jid(message.author)} if in_group(message) else {})
