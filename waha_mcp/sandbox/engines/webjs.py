"""WEBJS: whatsapp-web.js around WhatsApp Web. A send answers with its Message, not with WAHA's."""

from __future__ import annotations

from typing import Any, ClassVar

from waha_mcp.sandbox.account import Account, Channel, Chat, Group, Message, Person
from waha_mcp.sandbox.engines.base import in_group
from waha_mcp.sandbox.engines.browser import Browser
from waha_mcp.sandbox.engines.browser_content import wid
from waha_mcp.sandbox.engines.engine_content import vcards


class Webjs(Browser):
    name = "WEBJS"
    LACKS: ClassVar[frozenset[str]] = Browser.BROWSERS_LACK | {
        "ChannelsController_create",
        "ChannelsController_delete",
        "ChannelsController_follow",
        "ChannelsController_unfollow",
        "ChannelsController_mute",
        "ChannelsController_unmute",
        "PresenceController_getPresenceAll",
    }

    # Messages

    def named(self, any_id: str) -> Any:
        return wid(any_id)

    def key(self, account: Account, message: Message) -> dict[str, Any]:
        key: dict[str, Any] = {"fromMe": message.from_me, "remote": message.chat, "id": message.id}
        if in_group(message):
            key["participant"] = wid(message.author)
        return key | {"_serialized": self.message_id(account, message)}

    def finds(self, account: Account, message: Message, message_id: str) -> bool:
        # By its full id; in a chat of two people, a bare one is tried as the owner's and as the other person's.
        return message_id == self.message_id(account, message) or (
            "_" not in message_id and message.chat.endswith(("@c.us", "@lid"))
        )

    def body(self, model: dict[str, Any]) -> str:
        if "directPath" in model:
            return model.get("caption") or ""
        return model.get("body") or model.get("pollName") or model.get("eventName") or ""

    def has_media(self, model: dict[str, Any]) -> bool:
        return bool(model.get("directPath"))

    def shows(self, account: Account, message: Message) -> bool:
        return not self.is_notification(message)

    def message(
        self, account: Account, message: Message, *, session: str = "default", download: bool = False
    ) -> dict[str, Any]:
        model = self.model(account, message)
        row = self.row(account, message, model)
        row["media"] = self.media(account, message, session=session, download=download)
        if in_group(message):
            row["participant"] = message.author
        place = self._location(message, model)
        row["location"] = None if place is None else {"live": False, **place, "thumbnail": row["body"]}
        row["vCards"] = self._cards(message)
        quoted = model.get("quotedMsg")
        if quoted is not None:
            row["replyTo"] = {
                "id": model["quotedStanzaID"],
                "participant": model["quotedParticipant"],
                "body": quoted.get("caption") or quoted.get("body"),
                "hasMedia": "directPath" in quoted,
                "media": None,
                "_data": quoted,
            }
        return row | {"_data": model}

    def _location(self, message: Message, model: dict[str, Any]) -> dict[str, Any] | None:
        if message.kind != "location" or message.deleted:
            return None
        extra = message.extra or {}
        place = {"latitude": model["lat"], "longitude": model["lng"], "description": model["loc"]}
        return place | {part: extra[part] for part in ("name", "address") if extra.get(part)}

    def _cards(self, message: Message) -> list[str]:
        return [] if message.deleted else vcards(message) or []

    def library_message(self, account: Account, message: Message) -> dict[str, Any]:
        """The library's Message, as in the answer to a send and as a chat's last message."""
        model = self.model(account, message)
        row = self.row(account, message, model)
        found = {
            "_data": model,
            "id": model["id"],
            "ack": model["ack"],
            "hasMedia": row["hasMedia"],
            "body": row["body"],
            "type": model["type"],
            "timestamp": message.time,
            "from": row["from"],
            "to": row["to"],
            "deviceType": "web" if message.from_me else "android",
            "isForwarded": model["isForwarded"],
            "forwardingScore": model.get("forwardingScore", 0),
            "isStatus": message.chat == "status@broadcast",
            "isStarred": message.starred,
            "fromMe": message.from_me,
            "hasQuotedMsg": "quotedMsg" in model,
            "hasReaction": model["hasReaction"],
            "vCards": self._cards(message),
            "mentionedIds": [*message.mentions],
            "groupMentions": [],
            "isGif": False,
            "links": model["links"],
        }
        if in_group(message):
            found["author"] = message.author
        place = self._location(message, model)
        return found if place is None else found | {"location": place}

    # Answers to changes of messages

    def sent(self, account: Account, message: Message) -> Any:
        return self.library_message(account, message)

    def sent_poll(self, account: Account, message: Message) -> Any:
        return self.sent(account, message)

    def deleted(self, account: Account, message: Message) -> Any:
        return None

    def reacted(self, account: Account, reaction: Message) -> Any:
        return None

    def voted(self, account: Account, poll: Message) -> Any:
        return None

    # Chats and contacts

    def chat(self, account: Account, chat: Chat, *, overview: bool) -> dict[str, Any]:
        group = self.known_group(account, chat.id)
        last = account.last_message(chat, merged=False)
        found: dict[str, Any] = {} if group is None else {"groupMetadata": self.metadata(account, group)}
        found |= {
            "id": wid(chat.id),
            "name": self.chat_name(account, chat.id),
            "isGroup": self.is_group(chat),
            "isReadOnly": self.is_read_only(account, chat),
            "unreadCount": self.unread(chat),
            "timestamp": chat.time or None,
            "archived": chat.archived,
            "pinned": False,
            "isLocked": False,
            "isMuted": False,
            "muteExpiration": 0,
        }
        if last is not None:
            found["lastMessage"] = self.library_message(account, last)
        channel = account.channels.get(chat.id)
        if channel is not None:
            found["channelMetadata"] = {
                "id": wid(channel.id),
                "name": channel.name,
                "description": channel.description,
                "membershipType": channel.role.lower(),
                "inviteCode": channel.invite,
                "verified": channel.verified,
                "size": channel.subscribers,
            }
        return found

    def chat_name(self, account: Account, chat_id: str) -> str | None:
        name = self.saved_name(account, chat_id)
        return self.formatted(chat_id) if name is None and chat_id.endswith("@c.us") else name

    def contact(self, account: Account, person: Person, *, as_lid: bool = False) -> dict[str, Any]:
        any_id = person.lid if as_lid and person.lid else person.id
        group, known = any_id.endswith("@g.us"), account.person(any_id) is not None
        found: dict[str, Any] = {
            "id": any_id,
            "number": any_id.partition("@")[0],
            "isBusiness": False,
            "isEnterprise": False,
            "labels": [],
        }
        if person.name and not account.is_me(any_id):
            found |= {"name": person.name, "shortName": person.name.split()[0]}
        if person.push_name:
            found["pushname"] = person.push_name
        return found | {
            "statusMute": False,
            "type": "in",
            "isMe": account.is_me(any_id),
            "isUser": not group,
            "isGroup": group,
            "isWAContact": known,
            "isMyContact": known and bool(person.name) and not account.is_me(any_id),
            "isBlocked": person.blocked,
        }

    def unknown_contact(self, account: Account, any_id: str) -> Any:
        return self.contact(account, Person(any_id))

    def presence_id(self, account: Account, chat_id: str) -> str:
        person = account.by_lid.get(chat_id)
        return person.id if person else chat_id

    # Groups

    def participant_id(self, account: Account, group: Group, person_id: str) -> str:
        # The library names members by number if it knows it.
        return person_id

    def new_group(self, account: Account, group: Group) -> Any:
        added = {
            each: {"statusCode": 200, "message": "The participant was added successfully", "isInviteV4Sent": False}
            for each in group.members
            if not account.is_me(each)
        }
        return {"title": group.subject, "gid": wid(group.id), "participants": added}

    def invited_group(self, account: Account, group: Group) -> Any:
        return self.metadata(account, group, participants=False) | {"size": len(group.members)}

    def participant_results(self, ids: list[str], change: str) -> Any:
        if change != "add":
            return {"status": 200}
        told = {"code": 200, "message": "The participant was added successfully", "isInviteV4Sent": False}
        return dict.fromkeys(ids, told)

    # Channels

    def own_channel(self, channel: Channel) -> dict[str, Any]:
        return self.channel(channel) | {"preview": None, "subscribersCount": None}
