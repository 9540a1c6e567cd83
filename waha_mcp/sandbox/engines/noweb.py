"""NOWEB: Baileys' structures, its long integers and its gaps."""

from __future__ import annotations

from typing import Any, ClassVar

from waha_mcp.sandbox.account import Account, Chat, Filter, Group, Message, Person
from waha_mcp.sandbox.engines.engine_content import content, jid, noise, pin, poll_updates, raw_key, reactions
from waha_mcp.sandbox.engines.sockets import Sockets


class Noweb(Sockets):
    name = "NOWEB"
    LACKS: ClassVar[frozenset[str]] = Sockets.SOCKETS_LACK | {
        "ChattingController_sendPollVote",
        "ChannelsController_follow",
        "ChannelsController_unfollow",
        "ChannelsController_mute",
        "ChannelsController_unmute",
        "EventsController_sendEvent",
        "AuthController_getPasskeyChallenge",
        "AuthController_submitPasskey",
        "AuthController_getPasskeyConfirmation",
        "AuthController_confirmPasskey",
    }

    def raw(self, account: Account, message: Message) -> dict[str, Any]:
        person = account.person(message.author)
        body = content(account, message)
        if body is not None and message.edited:
            body = {"editedMessage": {"message": body}}
        if body is not None and message.timer:
            body = {"ephemeralMessage": {"message": body}}
        return {
            "key": raw_key(message),
            "messageTimestamp": long(message.time) if message.media else message.time,
            "pushName": person.push_name if person else None,
            "broadcast": False,
            "status": message.ack + 1,
            "message": body,
            "participant": jid(message.author) if message.chat.endswith("@g.us") else None,
            "starred": message.starred,
            "messageStubType": 1 if message.deleted else None,
            "reactions": reactions(account, message),
            "pollUpdates": poll_updates(message),
            "pinInChat": pin(message),
            "userReceipt": self._receipts(message),
            "verifiedBizName": None,
            "reportingTokenInfo": {"reportingTag": noise("report", message.id, size=20)},
        }

    def _receipts(self, message: Message) -> list[dict[str, Any]]:
        if not message.from_me or message.ack < 2 or message.chat.endswith(("@g.us", "@newsletter")):
            return []
        receipt: dict[str, Any] = {"userJid": jid(message.chat), "receiptTimestamp": message.time + 1}
        if message.ack >= 3:
            receipt["readTimestamp"] = message.time + 40
        return [receipt]

    def message(
        self, account: Account, message: Message, *, session: str = "default", download: bool = False
    ) -> dict[str, Any]:
        found = super().message(account, message, session=session, download=download)
        if found["media"]:
            found["mediaUrl"] = found["media"]["url"]
        return found

    def has_media(self, message: Message, download: bool) -> bool:
        # NOWEB knows a file only once it was fetched.
        return download and super().has_media(message, download)

    def sent(self, account: Account, message: Message) -> Any:
        stamps = {"text": str(message.time), "location": message.time}
        return {
            "key": raw_key(message),
            "message": content(account, message),
            "messageTimestamp": stamps.get(message.kind, long(message.time)),
            "status": "PENDING",
        }

    def shows(self, account: Account, message: Message) -> bool:
        # Messages without content are skipped, so a page can be shorter than its limit.
        return not message.deleted

    def finds(self, account: Account, message: Message, message_id: str) -> bool:
        return not message.deleted

    def check_filter(self, wanted: Filter, chat_id: str) -> None:
        if wanted.ack is not None:
            raise self.refuse("'filter.ack' is not supported.")

    def chat(self, account: Account, chat: Chat, *, overview: bool) -> dict[str, Any]:
        found: dict[str, Any] = {
            "id": jid(chat.id) if overview else chat.id,
            "name": account.name_of(chat.id),
            "conversationTimestamp": long(chat.time),
            "readOnly": False,
            "ephemeralExpiration": 0,
            "ephemeralSettingTimestamp": 0,
            "notSpam": True,
            "disappearingMode": {"initiator": 0, "trigger": 1, "initiatedByMe": False},
            "unreadMentionCount": 0,
            "archived": chat.archived,
            "pinned": 0,
            "markedAsUnread": chat.marked_unread,
            "lidJid": account.twin(chat.id),
            "tcToken": noise("tc", chat.id, size=24),
            "tcTokenTimestamp": long(chat.time - 3600),
        }
        if overview:
            found["unreadCount"] = chat.unread
        return found

    def contact(self, account: Account, person: Person, *, as_lid: bool = False) -> dict[str, Any]:
        any_id = person.lid if as_lid and person.lid else person.id
        found: dict[str, Any] = {"id": any_id}
        if person.name:
            found["name"] = person.name
        if person.push_name:
            found["pushname"] = person.push_name
        if person.lid:
            found["lid"] = person.lid
        if person.picture:
            found["imgUrl"] = "changed"
        if person.blocked:
            found["isBlocked"] = True
        return found

    def group(self, account: Account, group: Group, *, participants: bool = True) -> dict[str, Any]:
        return {
            "id": group.id,
            "addressingMode": "lid" if group.lids else "pn",
            "subject": group.subject,
            "subjectOwner": jid(group.owner),
            "subjectTime": group.created,
            "size": len(group.members),
            "creation": group.created,
            "owner": jid(self.member_id(account, group, group.owner)),
            "ownerJid": jid(group.owner),
            "desc": group.description or None,
            "descId": noise(group.id, group.description, size=12) if group.description else None,
            "linkedParent": None,
            "restrict": group.info_admin_only,
            "announce": group.messages_admin_only,
            "isCommunity": False,
            "isCommunityAnnounce": False,
            "joinApprovalMode": group.approval,
            "memberAddMode": group.members_can_add,
            "participants": self.participants(account, group) if participants else [],
        }

    def groups(self, groups: list[dict[str, Any]]) -> Any:
        return {group["id"]: group for group in groups}

    def participants(self, account: Account, group: Group) -> list[dict[str, Any]]:
        return [
            {
                "id": jid(self.member_id(account, group, person_id)),
                "jid": jid(person_id),
                "admin": None if role == "participant" else role,
            }
            for person_id, role in group.members.items()
        ]

    def participant_results(self, ids: list[str], change: str) -> Any:
        return [{"status": "200", "jid": jid(each), "content": {"tag": "participant"}} for each in ids]

    def me(self, account: Account) -> dict[str, Any]:
        return {"id": account.me.id, "pushName": account.me.push_name, "lid": account.me.lid}


def long(value: int) -> dict[str, Any]:
    """A 64-bit number as protobuf.js writes it."""
    return {"low": value & 0xFFFFFFFF, "high": value >> 32, "unsigned": True}
