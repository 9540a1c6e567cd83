"""The events of GOWS and NOWEB: `from` is the chat, and an edit or a deletion is a message with its own id."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from waha_mcp.sandbox import happenings
from waha_mcp.sandbox.account import Account, Group, Message
from waha_mcp.sandbox.engines.base import in_group
from waha_mcp.sandbox.engines.engine_content import derived_id, jid, option_hash, raw_key
from waha_mcp.sandbox.engines.event_wording import Event, Wording, ack_event, ack_fields
from waha_mcp.sandbox.engines.gows import iso, respelled

if TYPE_CHECKING:
    from waha_mcp.sandbox.happenings import Happening
    from waha_mcp.sandbox.state import Session


class SocketsWording(Wording):
    in_milliseconds = True

    #: Where raw data holds the protocol's message.
    body_field: ClassVar[str]

    def protocol_message(self, message: Message, kind: int, name: str) -> dict[str, Any]:
        """The protocol message that refers to another message by its key."""
        return {"key": raw_key(message), "type": name}

    def wrapped(self, told: dict[str, Any]) -> dict[str, Any]:
        """An edit's protocol message in its wrapper."""
        return {"protocolMessage": told}

    def edited(self, account: Account, message: Message, before: str | None) -> dict[str, Any]:
        now = int(time.time()) if message.edited is None else message.edited
        edit = replace(
            message, id=derived_id(message.id, message.text or ""), time=now, kind="text", media=None, extra=None,
            quoted=None, reactions=None, pinned=None, raw=None, edited=None,
        )  # fmt: skip
        payload = self.engine.message(account, edit)
        data = payload["_data"]
        told = self.protocol_message(message, 14, "MESSAGE_EDIT") | {
            "editedMessage": data[self.body_field],
            "timestampMs": str(now * 1000),
        }
        data[self.body_field] = self.wrapped(told)
        return payload | {"editedMessageId": message.id}

    def revoked(self, account: Account, message: Message, by: str) -> dict[str, Any]:
        mine = account.is_me(by)
        revoke = Message(
            id=derived_id(message.id, "revoke"), chat=message.chat, from_me=mine, author=by, time=int(time.time()),
            ack=1 if mine else 2, deleted=True, source="api" if mine else "app",
        )  # fmt: skip
        after = self.engine.message(account, revoke)
        after["_data"][self.body_field] = {"protocolMessage": self.protocol_message(message, 0, "REVOKE")}
        return {"after": after, "before": None, "revokedMessageId": message.id, "_data": after["_data"]}

    def reacted(self, account: Account, message: Message, reaction: Message, text: str) -> dict[str, Any]:
        row = self.engine.message(account, reaction)
        told = {name: row[name] for name in ("id", "timestamp", "from", "fromMe", "source", "to", "participant")}
        return told | {"reaction": {"text": text, "messageId": self.target(account, message, reaction)}}

    def target(self, account: Account, message: Message, reaction: Message) -> str:
        """How a reaction names its message."""
        return self.engine.message_id(account, message)

    def voted(self, account: Account, poll: Message, by: str, chosen: list[str]) -> dict[str, Any]:
        mine = account.is_me(by)
        vote = Message(account.new_id(from_me=mine), poll.chat, mine, by, int(time.time()))
        now = time.time_ns() // 1_000_000
        told: dict[str, Any] = {
            "id": self.engine.message_id(account, vote),
            "from": poll.chat,
            "to": by if in_group(vote) else None,
            "fromMe": mine,
            "selectedOptions": chosen,
            "timestamp": now,
        }
        created = {
            "id": self.engine.message_id(account, poll),
            "from": "me" if poll.from_me else poll.chat,
            "to": poll.chat if poll.from_me else "me",
            "fromMe": poll.from_me,
        }
        if in_group(vote):
            told["participant"], created["participant"] = by, poll.author
        raw = {
            "key": raw_key(vote),
            "vote": {"selectedOptions": [option_hash(option) for option in chosen]},
            "senderTimestampMs": now,
        }
        return {"vote": told, "poll": created, "_data": raw}

    def of_list(self, happening: Happening) -> Iterator[Event]:
        match happening:
            case happenings.LabelChanged(label, deleted):
                yield ("label.deleted", label | {"name": ""}) if deleted else ("label.upsert", label)
            case happenings.ChatLabelled(chat, label, added):
                told = {"labelId": label["id"], "chatId": chat, "label": self.chat_label(label)}
                yield f"label.chat.{'added' if added else 'deleted'}", told

    def chat_label(self, label: dict[str, Any]) -> dict[str, Any] | None:
        return label


class GowsWording(SocketsWording):
    tells_who_writes = True
    sees_itself_leave = False
    after_typing = "paused"
    group_fields = frozenset(
        {"subject", "description", "invite", "membersCanSendMessages", "newMembersApprovalRequired"}
    )
    body_field = "Message"

    def written(self, session: Session, account: Account, message: Message) -> dict[str, Any]:
        return super().written(session, account, message) | ack_fields(1 if message.from_me else 2)

    def protocol_message(self, message: Message, kind: int, name: str) -> dict[str, Any]:
        told: dict[str, Any] = respelled({"key": raw_key(message)}) | {"type": kind}
        return told

    def target(self, account: Account, message: Message, reaction: Message) -> str:
        # The key stays as the reacting person's device wrote it: from their point of view.
        if reaction.from_me:
            return super().target(account, message, reaction)
        theirs = message.author == reaction.author
        chat = message.chat
        if not in_group(message):
            chat = account.me.lid if chat.endswith("@lid") and account.me.lid else account.me.id
        base = f"{str(theirs).lower()}_{chat}_{message.id}"
        return f"{base}_{message.author}" if in_group(message) and not theirs else base

    def acknowledged(self, session: Session, account: Account, message: Message, reader: str) -> dict[str, Any] | None:
        if message.ack in (0, 1):
            return None
        return self._receipt(self.engine.message_id(account, message), message, reader, message.ack)

    def read(self, account: Account, messages: tuple[Message, ...]) -> Iterator[Event]:
        for message in messages:
            # The account's own read receipt does not name the authors.
            yield ack_event(message), self._receipt(f"false_{message.chat}_{message.id}", message, None, 3)

    def _receipt(self, message_id: str, message: Message, reader: str | None, ack: int) -> dict[str, Any]:
        shown = reader if message.chat.endswith("@g.us") else None
        told = {
            "id": message_id,
            "from": message.chat,
            "to": shown,
            "participant": shown,
            "fromMe": message.from_me,
        }
        raw = {
            "Chat": jid(message.chat),
            "Sender": jid(reader) if reader else "",
            "IsFromMe": reader is None,
            "IsGroup": message.chat.endswith("@g.us"),
            "MessageIDs": [message.id],
            "Timestamp": iso(int(time.time())),
            "Type": {2: "", 3: "read", 4: "played", -1: "server-error"}[ack],
            "MessageSender": "",
        }
        return told | ack_fields(ack) | {"_data": raw}

    def group_data(self, group: Group, by: str, action: str) -> dict[str, Any]:
        return {"JID": group.id, "Notify": "", "Sender": jid(by), "Timestamp": iso(int(time.time()))}

    def chat_label(self, label: dict[str, Any]) -> dict[str, Any] | None:
        return None


class NowebWording(SocketsWording):
    tells_who_writes = False
    after_typing = "online"
    group_fields = GowsWording.group_fields | {"membersCanAddNewMember"}
    body_field = "message"

    def wrapped(self, told: dict[str, Any]) -> dict[str, Any]:
        return {"editedMessage": {"message": {"protocolMessage": told}}}

    def acknowledged(self, session: Session, account: Account, message: Message, reader: str) -> dict[str, Any] | None:
        me, ack = account.me.id, message.ack
        if not message.chat.endswith("@g.us"):
            message_id = self.engine.message_id(account, message)
            return {"id": message_id, "from": message.chat, "fromMe": True} | ack_fields(ack)
        if ack in (0, 1):
            return None
        told = {"id": f"true_{message.chat}_{message.id}_{me}", "from": message.chat, "participant": me, "fromMe": True}
        stamp = "receiptTimestamp" if ack == 2 else "readTimestamp"
        raw = {"key": raw_key(message), "receipt": {"userJid": jid(reader), stamp: int(time.time())}}
        # Delivery is reported as the server's receipt.
        return told | ack_fields(1 if ack == 2 else ack) | {"_data": raw}

    def role(self, change: str) -> str:
        return "admin" if change == "demote" else super().role(change)

    def group_data(self, group: Group, by: str, action: str) -> dict[str, Any]:
        return {"id": group.id, "author": jid(by), "action": action}
