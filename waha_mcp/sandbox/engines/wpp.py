"""WPP: WPPConnect around WhatsApp Web. Much of a message is only in `_data`."""

from __future__ import annotations

from typing import Any, ClassVar

from waha_mcp.sandbox.account import Account, Channel, Chat, Filter, Group, Message, Person
from waha_mcp.sandbox.answers import http_error
from waha_mcp.sandbox.engines.base import in_group
from waha_mcp.sandbox.engines.browser import Browser
from waha_mcp.sandbox.engines.browser_content import wid


class Wpp(Browser):
    name = "WPP"
    LACKS: ClassVar[frozenset[str]] = Browser.BROWSERS_LACK | {
        "ChattingController_sendButtonsReply",
        "ChattingController_sendPollVote",
        "ChatsController_pinMessage",
        "ChatsController_unpinMessage",
        "ChannelsController_searchByView",
        "ContactsSessionController_put",
        "StatusController_deleteStatus",
        "ServerDebugController_browserTrace",
    }
    tells_last_seen = False
    finds_channels_by_code = False

    # Messages

    def named(self, any_id: str) -> Any:
        return any_id

    def key(self, account: Account, message: Message) -> Any:
        return self.message_id(account, message)

    def finds(self, account: Account, message: Message, message_id: str) -> bool:
        return message_id == self.message_id(account, message)

    def body(self, model: dict[str, Any]) -> str | None:
        return model.get("caption" if self.has_media(model) else "body")

    def has_media(self, model: dict[str, Any]) -> bool:
        return model.get("type") != "revoked" and bool(model.get("mimetype"))

    def model(self, account: Account, message: Message) -> dict[str, Any]:
        model = super().model(account, message)
        original = account.messages.get(message.quoted) if message.quoted else None
        media = self.has_media(model)
        added: dict[str, Any] = {
            "chatId": wid(message.chat),
            "fromMe": message.from_me,
            "sender": self._sender(account, message),
            "timestamp": message.time,
            "isGroupMsg": message.chat.endswith("@g.us"),
            "isMMS": media,
            "isMedia": message.kind in ("image", "video") and media,
            "isNotification": self.is_notification(message),
            "isPSA": False,
            "mediaData": {"type": model["type"], "mediaStage": "INIT", "isViewOnce": False} if media else {},
        }
        del model["links"]
        if "body" in model and not media:
            added["content"] = model["body"]
        if original is not None:
            added["quotedMsgId"] = self.message_id(account, original)
        return model | added

    def _sender(self, account: Account, message: Message) -> dict[str, Any] | None:
        person = account.person(message.author)
        if person is None:
            return None
        found = self.contact(account, person, as_lid=message.author == person.lid)
        return found | {"id": wid(message.author)}

    def message(
        self, account: Account, message: Message, *, session: str = "default", download: bool = False
    ) -> dict[str, Any]:
        model = self.model(account, message)
        row = self.row(account, message, model)
        row |= {
            "participant": message.author if in_group(message) else None,
            "media": self.media(account, message, session=session, download=download),
            "mediaUrl": model.get("clientUrl"),
            "location": None,
            "vCards": None,
            "replyTo": self._reply_to(model),
        }
        return row | {"_data": model}

    def _reply_to(self, model: dict[str, Any]) -> dict[str, Any] | None:
        quoted = model.get("quotedMsg")
        if quoted is None:
            return None
        found = {
            "id": model["quotedMsgId"],
            "participant": model["quotedParticipant"],
            "hasMedia": self.has_media(quoted),
            "media": None,
            "_data": quoted,
        }
        body = self.body(quoted)
        return found if body is None else found | {"body": body}

    def page(
        self,
        account: Account,
        chats: list[Chat] | None,
        *,
        limit: int | None,
        offset: int,
        wanted: Filter,
        ascending: bool,
    ) -> list[Message]:
        # The newest ones are fetched first, and only then filtered and ordered: a page can be shorter than its limit.
        newest = account.page(chats, limit=None if limit is None else offset + (limit or 10))
        passed = [
            message
            for message in newest
            if wanted.passes(message)
            and (wanted.since is None or message.time >= wanted.since)
            and (wanted.until is None or message.time <= wanted.until)
        ]
        if ascending:
            passed.reverse()
        return passed[offset:] if limit is None else passed[offset : offset + (limit or 10)]

    # Answers to changes of messages

    def sent(self, account: Account, message: Message) -> Any:
        return self.message(account, message)

    def deleted(self, account: Account, message: Message) -> Any:
        return True

    def reacted(self, account: Account, reaction: Message) -> Any:
        return {"sendMsgResult": "OK"}

    # Chats and contacts

    def chat(self, account: Account, chat: Chat, *, overview: bool) -> dict[str, Any]:
        group, channel = self.known_group(account, chat.id), account.channels.get(chat.id)
        last = account.last_message(chat, merged=False)
        person = account.person(chat.id) or Person(chat.id, name=self.saved_name(account, chat.id))
        contact = self.contact(account, person, as_lid=chat.id == person.lid)
        found: dict[str, Any] = {
            "id": chat.id,
            "pendingMsgs": False,
            "lastReceivedKey": None if last is None else self._last_key(account, last),
            "t": chat.time or None,
            "unreadCount": self.unread(chat),
            "unreadDividerOffset": 0,
            "archive": chat.archived,
            "isReadOnly": self.is_read_only(account, chat),
            "muteExpiration": 0,
            "isAutoMuted": False,
            "notSpam": True,
            "pin": 0,
            "ephemeralDuration": 0,
            "hasChatBeenOpened": True,
            "msgs": None,
            "kind": "newsletter" if channel else "group" if self.is_group(chat) else "chat",
            "isBroadcast": False,
            "isGroup": self.is_group(chat),
            "isUser": not channel and not self.is_group(chat),
            "contact": contact | {"id": wid(chat.id)},
            "groupMetadata": None if group is None else self.metadata(account, group),
            "presence": None if channel else {"id": wid(chat.id), "chatstates": []},
        }
        name = self.chat_name(account, chat.id)
        return found if name is None else found | {"name": name}

    def _last_key(self, account: Account, message: Message) -> dict[str, Any]:
        key: dict[str, Any] = {"fromMe": message.from_me, "remote": wid(message.chat), "id": message.id}
        if in_group(message):
            key["participant"] = wid(message.author)
        return key | {"_serialized": self.message_id(account, message)}

    def contact(self, account: Account, person: Person, *, as_lid: bool = False) -> dict[str, Any]:
        any_id = person.lid if as_lid and person.lid else person.id
        me, user = account.is_me(any_id), any_id.endswith(("@c.us", "@lid"))
        saved = user and bool(person.name) and not me
        found: dict[str, Any] = {"id": any_id}
        if person.name:
            found |= {"name": person.name} | ({"shortName": person.name.split()[0]} if user else {})
        if person.push_name:
            found["pushname"] = person.push_name
        return found | {
            "type": "in",
            "isBusiness": False,
            "isEnterprise": False,
            "isSmb": False,
            "isContactSyncCompleted": 1 if saved else 0,
            "textStatusLastUpdateTime": -1,
            "syncToAddressbook": saved,
            "formattedName": "You" if me else person.name or self.formatted(any_id),
            "isMe": me,
            "isMyContact": saved,
            "isPSA": False,
            "isUser": user,
            "isWAContact": user,
            "profilePicThumbObj": self._picture(account, any_id),
            "msgs": None,
        }

    def _picture(self, account: Account, any_id: str) -> dict[str, Any]:
        url = self.picture(account, any_id)
        return {} if url is None else {"eurl": url, "id": wid(any_id), "img": url, "imgFull": url, "tag": "1767000000"}

    # Groups

    def participant_id(self, account: Account, group: Group, person_id: str) -> str:
        return self.member_id(account, group, person_id)

    def member_number(self, member: str) -> str | None:
        return None

    def one_group(self, account: Account, group: Group | None) -> Any:
        return False if group is None else self.group(account, group) | {"id": wid(group.id)}

    def new_group(self, account: Account, group: Group) -> Any:
        return {"gid": wid(group.id), "participants": self.participant_results([*group.members], "add")}

    def invited_group(self, account: Account, group: Group) -> Any:
        found = self.metadata(account, group, participants=False)
        return found | {"id": group.id, "owner": found["owner"]["_serialized"], "size": len(group.members)}

    def participant_results(self, ids: list[str], change: str) -> Any:
        if change != "add":
            return True
        return {each: {"wid": each, "code": 200, "message": "OK"} for each in ids}

    # Channels

    def own_channel(self, channel: Channel) -> dict[str, Any]:
        role = "OWNER" if channel.role in ("OWNER", "ADMIN") else "SUBSCRIBER"
        told = {"description": None, "invite": "", "preview": None, "verified": False, "subscribersCount": 0}
        return self.channel(channel) | told | {"role": role}

    def found_channel(self, channel: Channel) -> dict[str, Any]:
        # It searches only the account's own channels.
        if channel.role == "GUEST":
            raise self.unknown_channel(channel.id)
        return self.own_channel(channel)

    def unknown_channel(self, wanted: str) -> Exception:
        return http_error(404, f"Channel {wanted} not found")

    def channel_numbers(self, channel: Channel, message: Message) -> dict[str, Any]:
        return {"reactions": {}, "viewCount": 0}
