"""What both engines share: ids, the `WAMessage` around the raw data, names and pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from waha_mcp.sandbox.account import ACKS, Account, Channel, Chat, Filter, Group, Message, Person
from waha_mcp.sandbox.answers import not_implemented
from waha_mcp.sandbox.engines.engine_content import jid, noise, vcards

MEDIA_KINDS = ("image", "video", "voice", "audio", "document", "sticker")


class Engine(ABC):
    """How one engine words its answers. `lacks` are the operations it answers with 501."""

    name: ClassVar[str]
    LACKS: ClassVar[frozenset[str]]
    #: Lacked by both: only the browser engines have them.
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

    def __init__(self, public_url: str) -> None:
        self.public_url = public_url
        self.lacks = set(self.LACKS)

    # Ids

    def message_id(self, account: Account, message: Message) -> str:
        """WAHA's serialised id: who, which chat, which message, and in groups which member."""
        base = f"{str(message.from_me).lower()}_{message.chat}_{message.id}"
        return f"{base}_{message.author}" if message.chat.endswith(("@g.us", "@broadcast")) else base

    def picture(self, account: Account, chat_id: str) -> str | None:
        if not account.has_picture(chat_id):
            return None
        return f"https://pps.whatsapp.net/v/t61.24694-24/{noise(chat_id, size=9)}_n.jpg?oh=01_Q5&oe=6A1B".replace(
            "+", "-"
        )

    # Messages

    def media(self, message: Message, *, session: str, download: bool) -> dict[str, Any] | None:
        """`WAMedia` of a message: None without a file, and when it is not to be downloaded."""
        media = message.media
        if media is None or message.deleted or not download:
            return None
        url = None if media.error else f"{self.public_url}/api/files/{session}/{message.id}.{media.extension}"
        error = {"message": media.error, "name": "DownloadError"} if media.error else None
        return {"url": url, "mimetype": media.mimetype, "filename": media.filename, "s3": None, "error": error}

    def message(
        self, account: Account, message: Message, *, session: str = "default", download: bool = False
    ) -> dict[str, Any]:
        """`WAMessage`: nulls where WAHA has nothing to say."""
        media = self.media(message, session=session, download=download)
        group = message.chat.endswith(("@g.us", "@broadcast"))
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

    @abstractmethod
    def sent(self, account: Account, message: Message) -> Any:
        """What a send answers."""

    def shown(self, messages: list[Message]) -> list[Message]:
        """The messages of a page that come back at all."""
        return messages

    @abstractmethod
    def check_filter(self, wanted: Filter, chat_id: str) -> None:
        """Refuse a read that this engine can not do."""

    # Chats, contacts, groups

    @abstractmethod
    def chat(self, account: Account, chat: Chat, *, overview: bool) -> dict[str, Any]:
        """The engine's own chat; `overview` is `_chat` of the overview."""

    @abstractmethod
    def contact(self, account: Account, person: Person, *, as_lid: bool = False) -> dict[str, Any]: ...

    @abstractmethod
    def group(self, account: Account, group: Group, *, participants: bool = True) -> dict[str, Any]: ...

    @abstractmethod
    def groups(self, groups: list[dict[str, Any]]) -> Any:
        """All groups, as the engine lists them."""

    @abstractmethod
    def participants(self, account: Account, group: Group) -> list[dict[str, Any]]: ...

    @abstractmethod
    def participant_results(self, ids: list[str]) -> Any:
        """What adding, removing, promoting or demoting answers."""

    @abstractmethod
    def me(self, account: Account) -> dict[str, Any]: ...

    def member_id(self, account: Account, group: Group, person_id: str) -> str:
        """How a group names a member: by `@lid` where the group hides numbers."""
        person = account.person(person_id)
        return person.lid if group.lids and person and person.lid else person_id

    def channel(self, channel: Channel) -> dict[str, Any]:
        """`Channel` of WAHA."""
        return {
            "id": channel.id,
            "name": channel.name,
            "description": channel.description,
            "invite": f"https://whatsapp.com/channel/{channel.invite}",
            "preview": f"https://mmg.whatsapp.net/m1/v/t24/{channel.invite}",
            "picture": None,
            "verified": channel.verified,
            "role": channel.role,
            "subscribersCount": channel.subscribers,
        }

    def refuse(self, detail: str) -> Exception:
        return not_implemented(self.name, detail)


def raw_key(message: Message) -> dict[str, Any]:
    """The key of a message in raw data."""
    key: dict[str, Any] = {"remoteJid": jid(message.chat), "fromMe": message.from_me, "id": message.id}
    if message.chat.endswith(("@g.us", "@broadcast")):
        key["participant"] = jid(message.author)
    if message.server_id:
        key["server_id"] = str(message.server_id)
    return key
