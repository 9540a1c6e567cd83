"""The common parts of WEBJS and WPP: both drive WhatsApp Web, and answer with its objects.

In these, ids are objects, one chat is one conversation whoever else it belongs to, and the data of a group is under
`groupMetadata`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from waha_mcp.sandbox.account import ACKS, Account, Chat, Filter, Group, Message, Person
from waha_mcp.sandbox.engines.base import Engine, in_group
from waha_mcp.sandbox.engines.browser_content import DEFAULTS, NOTIFICATIONS, content, edit_id, quoted_content, wid
from waha_mcp.sandbox.engines.engine_content import noise


class Browser(Engine):
    #: Operations that both lack: only the engines that speak the protocol themselves have them.
    BROWSERS_LACK: ClassVar[frozenset[str]] = frozenset(
        {
            "ChattingController_sendButtons",
            "ChattingController_sendList",
            "ChattingController_sendLinkCustomPreview",
            "ChattingController_sendLinkPreview_DEPRECATED",
            "ChattingController_getNewMessageId",
            "StatusController_getNewMessageId",
            "EventsController_sendEvent",
            "GroupsController_getMemberShareHistoryMode",
            "GroupsController_setMemberShareHistoryMode",
            "SessionsController_fetchMessageCapping",
            "SessionsController_fetchReachoutTimelock",
            "AuthController_getPasskeyChallenge",
            "AuthController_submitPasskey",
            "AuthController_getPasskeyConfirmation",
            "AuthController_confirmPasskey",
        }
    )
    merges = False
    reads_whole_chats = True
    shows_status_to_some = False

    # Messages

    @abstractmethod
    def named(self, any_id: str) -> Any:
        """Sender and recipient, in `_data` of a row."""

    @abstractmethod
    def key(self, account: Account, message: Message) -> Any:
        """The id of a message, in `_data` of a row."""

    @abstractmethod
    def body(self, model: dict[str, Any]) -> str | None:
        """The value that WAHA uses as the text; None leaves it out."""

    @abstractmethod
    def has_media(self, model: dict[str, Any]) -> bool: ...

    def model(self, account: Account, message: Message) -> dict[str, Any]:
        """WhatsApp Web's message model (`_data`)."""
        person = account.person(message.author)
        me, chat = account.me.id, message.chat
        model: dict[str, Any] = {
            **DEFAULTS,
            "id": self.key(account, message),
            "rowId": message.time % 1_000_000_000,
            "t": message.time,
            "from": self.named(me if message.from_me else chat),
            "to": self.named(chat if message.from_me else me),
            # Messages of others keep the `ack` "the server has it".
            "ack": message.ack if message.from_me else 1,
            "star": message.starred,
            "hasReaction": bool(message.reactions),
            "mentionedJidList": [wid(each) for each in message.mentions],
            **content(message),
        }
        if in_group(message):
            model["author"] = self.named(message.author)
        if person and person.push_name and not message.from_me:
            model["notifyName"] = person.push_name
        if message.forwarded:
            model |= {"isForwarded": True, "forwardingScore": 1}
        if message.timer:
            model["ephemeralDuration"] = message.timer
        if message.edited is not None and not message.deleted:
            edit = edit_id(message)
            model |= {
                "latestEditMsgKey": {
                    "fromMe": message.from_me,
                    "remote": wid(chat),
                    "id": edit,
                    "_serialized": f"{str(message.from_me).lower()}_{chat}_{edit}",
                },
                "latestEditSenderTimestampMs": message.edited * 1000,
            }
        if message.server_id:
            model["serverId"] = message.server_id
        original = account.messages.get(message.quoted) if message.quoted else None
        if original is not None:
            model |= {
                "quotedMsg": quoted_content(original),
                "quotedStanzaID": original.id,
                "quotedParticipant": self.named(original.author),
            }
        return model | (message.raw or {})

    def row(self, account: Account, message: Message, model: dict[str, Any]) -> dict[str, Any]:
        """The fields that both engines add around a model."""
        ack = model["ack"]
        row = {
            "id": self.message_id(account, message),
            "timestamp": message.time,
            "from": account.me.id if message.from_me else message.chat,
            "fromMe": message.from_me,
            "source": message.source,
            "to": message.chat if message.from_me else account.me.id,
            "hasMedia": self.has_media(model),
            "media": None,
            "ack": ack,
            "ackName": ACKS[ack],
        }
        body = self.body(model)
        return row if body is None else row | {"body": body}

    def media(self, account: Account, message: Message, *, session: str, download: bool) -> dict[str, Any] | None:
        media = message.media
        if media is None or message.deleted or not download:
            return None
        name = f"{self.message_id(account, message)}.{media.extension}"
        found = {
            "url": None if media.error else f"{self.public_url}/api/files/{session}/{name}",
            "filename": media.filename,
            "mimetype": media.mimetype,
        }
        return found | {"error": {"message": media.error, "details": None}} if media.error else found

    def check_filter(self, wanted: Filter, chat_id: str) -> None:
        if chat_id == "all":
            raise self.refuse(f"Can not get messages from 'all' in {self.name}")

    def forwarded(self, account: Account, copy: Message) -> Any:
        return {"sent": True}

    def is_notification(self, message: Message) -> bool:
        """Whether it is a notice by which WhatsApp Web records an event in the chat."""
        return (message.raw or {}).get("type") in NOTIFICATIONS

    # Chats and contacts

    def formatted(self, any_id: str) -> str:
        """A number as WhatsApp Web shows it for the chat of an unsaved person."""
        digits = any_id.partition("@")[0]
        if len(digits) == 11 and digits.startswith("1"):
            return f"+1 ({digits[1:4]}) {digits[4:7]}-{digits[7:]}"
        return f"+{digits}"

    def saved_name(self, account: Account, chat_id: str) -> str | None:
        """The name of a chat, without names that people chose for themselves."""
        person = account.person(chat_id)
        return person.name if person else account.name_of(chat_id) or self.left_subject(account, chat_id)

    def left_subject(self, account: Account, chat_id: str) -> str | None:
        group = self.known_group(account, chat_id)
        return group.subject if group else None

    def chat_name(self, account: Account, chat_id: str) -> str | None:
        return self.saved_name(account, chat_id)

    def listed_contacts(self, account: Account) -> list[tuple[Person, bool]]:
        groups = [(Person(each.id, name=each.subject), False) for each in account.groups.values()]
        return super().listed_contacts(account) + groups

    def number_exists(self, person: Person) -> dict[str, Any]:
        return {"numberExists": True, "chatId": person.id}

    def me(self, account: Account) -> dict[str, Any]:
        return {"id": account.me.id, "lid": account.me.lid, "pushName": account.me.push_name}

    # Groups

    @abstractmethod
    def participant_id(self, account: Account, group: Group, person_id: str) -> str:
        """How `groupMetadata` names a member."""

    def known_group(self, account: Account, chat_id: str) -> Group | None:
        """A group of the account, or one that it left: its chat stays."""
        if not chat_id.endswith("@g.us"):
            return None
        found = account.groups.get(chat_id)
        return found or next((each for each in account.invites.values() if each.id == chat_id), None)

    def listed_groups(self, account: Account) -> list[Group]:
        left = (self.known_group(account, each) for each in account.chats if each not in account.groups)
        return super().listed_groups(account) + [group for group in left if group is not None]

    def metadata(self, account: Account, group: Group, *, participants: bool = True) -> dict[str, Any]:
        """`groupMetadata` of a group's chat."""
        left = group.id not in account.groups
        found: dict[str, Any] = {
            "id": wid(group.id),
            "creation": group.created,
            "owner": wid(self.member_id(account, group, group.owner)),
            "subject": group.subject,
            "restrict": group.info_admin_only,
            "announce": group.messages_admin_only,
            "noFrequentlyForwarded": False,
            "ephemeralDuration": 0,
            "membershipApprovalMode": group.approval,
            "memberAddMode": "all_member_add" if group.members_can_add else "admin_add",
            "reportToAdminMode": False,
            "support": False,
            "suspended": False,
            "terminated": left,
            "uniqueShortNameMap": {},
            "isLidAddressingMode": group.lids,
            "isParentGroup": False,
            "isParentGroupClosed": False,
            "defaultSubgroup": False,
            "generalSubgroup": False,
            "groupSafetyCheck": False,
            "lastReportToAdminTimestamp": None,
        }
        if group.description:
            found |= {
                "desc": group.description,
                "descId": noise(group.id, group.description, size=12),
                "descTime": group.created,
                "descOwner": wid(self.member_id(account, group, group.owner)),
            }
        if participants:
            found |= {
                "participants": [] if left else self.participants(account, group),
                "pendingParticipants": [],
                "pastParticipants": [],
                "membershipApprovalRequests": [
                    {"id": wid(self.member_id(account, group, each)), "t": time}
                    for each, time in group.requests.items()
                ],
            }
        return found

    def group(self, account: Account, group: Group, *, participants: bool = True) -> dict[str, Any]:
        row = self.chat(account, account.chat(group.id, started=group.created), overview=False)
        row["groupMetadata"] = self.metadata(account, group, participants=participants)
        return row

    def groups(self, groups: list[dict[str, Any]]) -> Any:
        return groups

    def participants(self, account: Account, group: Group) -> list[dict[str, Any]]:
        return [
            {
                "id": wid(self.participant_id(account, group, person_id)),
                "isAdmin": role != "participant",
                "isSuperAdmin": role == "superadmin",
            }
            for person_id, role in group.members.items()
        ]

    def members(self, account: Account, group: Group) -> list[dict[str, Any]]:
        return [
            {"id": member, "pn": self.member_number(member), "role": role}
            for person_id, role in group.members.items()
            if (member := self.participant_id(account, group, person_id))
        ]

    def join_request(self, account: Account, group: Group, person_id: str, time: int) -> dict[str, Any]:
        found = super().join_request(account, group, person_id, time)
        del found["requesterPn"]
        return found

    def member_number(self, member: str) -> str | None:
        return member if member.endswith("@c.us") else None

    def is_group(self, chat: Chat) -> bool:
        return chat.id.endswith("@g.us")

    def is_read_only(self, account: Account, chat: Chat) -> bool:
        """Whether the account may not write: it left the group, or only others may write."""
        group = account.groups.get(chat.id)
        if group is None:
            return self.is_group(chat)
        return group.messages_admin_only and group.members.get(account.me.id) == "participant"

    def unread(self, chat: Chat) -> int:
        return -1 if chat.marked_unread and not chat.unread else chat.unread
