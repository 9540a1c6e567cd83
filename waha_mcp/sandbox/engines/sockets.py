"""The common parts of GOWS and NOWEB: `WAMessage` around the messages of WhatsApp's protocol."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from waha_mcp.sandbox.account import ACKS, Account, Message
from waha_mcp.sandbox.engines.base import Engine, in_group
from waha_mcp.sandbox.engines.engine_content import vcards


class Sockets(Engine):
    #: Operations that both lack: only the browser engines have them.
    SOCKETS_LACK: ClassVar[frozenset[str]] = frozenset(
        {
            "ChatsController_deleteChat",
            "ChatsController_clearMessages",
            "ContactsController_getAbout",
            "ContactsController_block",
            "ContactsController_unblock",
            "GroupsController_deleteGroup",
            "ChattingController_sendButtonsReply",
            "ServerDebugController_browserTrace",
        }
    )

    def message(
        self, account: Account, message: Message, *, session: str = "default", download: bool = False
    ) -> dict[str, Any]:
        """`WAMessage`, with null for values that WAHA does not have."""
        media = self.media(account, message, session=session, download=download)
        group = in_group(message)
        ack = message.ack
        return {
            "id": self.message_id(account, message),
            "timestamp": message.time,
            "from": message.chat,
            "fromMe": message.from_me,
            "source": message.source,
            "body": self.body(message),
            "to": message.chat if group else None,
            "participant": message.author if group else None,
            "hasMedia": self.has_media(message, download),
            "media": media,
            "ack": ack,
            "ackName": ACKS[ack],
            "location": self.location(message),
            "vCards": vcards(message),
            "replyTo": self.reply_to(account, message),
            "_data": self.raw(account, message) | (message.raw or {}),
        }

    def body(self, message: Message) -> str | None:
        if message.deleted:
            return None
        if message.kind == "poll" and message.extra:
            return str(message.extra["name"])
        return message.text

    def has_media(self, message: Message, download: bool) -> bool:
        return message.media is not None and not message.deleted

    def location(self, message: Message) -> dict[str, Any] | None:
        if message.kind != "location" or message.deleted or not message.extra:
            return None
        extra = message.extra
        return {
            "latitude": str(extra["latitude"]),
            "longitude": str(extra["longitude"]),
            "live": False,
            "name": extra.get("name"),
            "address": extra.get("address"),
            "url": None,
            "description": None,
            "thumbnail": None,
        }

    def reply_to(self, account: Account, message: Message) -> dict[str, Any] | None:
        original = account.messages.get(message.quoted) if message.quoted else None
        if original is None:
            return None
        return {
            "id": original.id,
            "participant": original.author,
            "body": self.body(original),
            "hasMedia": original.media is not None,
            "media": None,
        }

    @abstractmethod
    def raw(self, account: Account, message: Message) -> dict[str, Any]:
        """The engine's own message (`_data`)."""
