"""GOWS: whatsmeow's structures, with its Go spelling."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from waha_mcp.sandbox.account import Account, Chat, Filter, Group, Message, Person
from waha_mcp.sandbox.engines.engine_content import content, jid, noise, pin, poll_updates, reactions
from waha_mcp.sandbox.engines.sockets import Sockets

#: Where whatsmeow spells a field of the protocol differently.
SPELLING = {
    "url": "URL",
    "fileSha256": "fileSHA256",
    "fileEncSha256": "fileEncSHA256",
    "jpegThumbnail": "JPEGThumbnail",
    "stanzaId": "stanzaID",
    "mentionedJid": "mentionedJID",
    "remoteJid": "remoteJID",
    "id": "ID",
    "ptt": "PTT",
}
ROLES = {"superadmin": (True, True), "admin": (True, False), "participant": (False, False)}


class Gows(Sockets):
    name = "GOWS"
    LACKS: ClassVar[frozenset[str]] = Sockets.SOCKETS_LACK | {
        "ChatsController_archiveChat",
        "ChatsController_unarchiveChat",
        "ChatsController_pinMessage",
        "ChatsController_unpinMessage",
        "ChattingController_forwardMessage",
        "ChattingController_setStar",
        "ChattingController_getMessages",
        "ChannelsController_delete",
    }

    def raw(self, account: Account, message: Message) -> dict[str, Any]:
        group = message.chat.endswith("@g.us")
        person = account.person(message.author)
        lid_form = message.author.endswith("@lid")
        body = respelled(content(account, message)) or {
            "protocolMessage": {"key": {"remoteJID": jid(message.chat), "ID": message.id}, "type": 0}
        }
        other = account.twin(message.author)
        return {
            "Info": {
                "Chat": jid(message.chat),
                "Sender": jid(message.author),
                "IsFromMe": message.from_me,
                "IsGroup": group,
                "AddressingMode": "lid" if lid_form else "pn",
                "SenderAlt": jid(other) if other else "",
                "RecipientAlt": "",
                "BroadcastListOwner": "",
                "BroadcastRecipients": None,
                "ID": message.id,
                "ServerID": message.server_id,
                "Type": "media" if message.media else "poll" if message.kind == "poll" else "text",
                "PushName": (person.push_name or "") if person else "",
                "Timestamp": iso(message.time),
                "Category": "",
                "Multicast": False,
                "MediaType": message.kind if message.media else "",
                "Edit": "1" if message.edited else "7" if message.deleted else "",
                "MsgBotInfo": {"EditType": "", "EditTargetID": "", "EditSenderTimestampMS": "0001-01-01T00:00:00Z"},
                "MsgMetaInfo": {"TargetID": "", "TargetSender": "", "TargetChat": "", "ThreadMessageID": ""},
                "VerifiedName": None,
                "DeviceSentMeta": None,
            },
            "Message": body,
            "IsEphemeral": message.timer > 0,
            "IsViewOnce": False,
            "IsDocumentWithCaption": False,
            "IsEdit": message.edited is not None,
            "IsStarred": message.starred,
            "SourceWebMsg": None,
            "UnavailableRequestID": "",
            "RetryCount": 0,
            "NewsletterMeta": None,
            "RawMessage": {"messageContextInfo": {"messageSecret": noise("raw", message.id)}},
            "Status": message.ack + 1,
            "reactions": reactions(account, message),
            "pollUpdates": poll_updates(message),
            "pinInChat": pin(message),
        }

    def sent(self, account: Account, message: Message) -> Any:
        return self.message(account, message)

    def check_filter(self, wanted: Filter, chat_id: str) -> None:
        if chat_id.endswith("@newsletter"):
            raise self.refuse("Messages of channels are not available.")

    def chat(self, account: Account, chat: Chat, *, overview: bool) -> dict[str, Any]:
        return {
            "id": chat.id,
            "name": account.name_of(chat.id),
            "conversationTimestamp": chat.time,
            "unreadCount": -1 if chat.marked_unread and not chat.unread else chat.unread,
            "archived": chat.archived,
            "pinned": 0,
            "muteEndTime": 0,
            "ephemeralExpiration": 0,
            "labels": sorted(chat.labels),
        }

    def contact(self, account: Account, person: Person, *, as_lid: bool = False) -> dict[str, Any]:
        any_id = person.lid if as_lid and person.lid else person.id
        found: dict[str, Any] = {"id": any_id, "name": person.name or "", "pushname": person.push_name or ""}
        return found | {"isBlocked": True} if person.blocked else found

    def group(self, account: Account, group: Group, *, participants: bool = True) -> dict[str, Any]:
        owner = account.person(group.owner)
        owner_lid = owner.lid if owner else None
        return {
            "JID": group.id,
            "OwnerJID": jid(owner_lid if group.lids and owner_lid else group.owner),
            "OwnerPN": jid(group.owner) if group.owner.endswith("@c.us") else "",
            "Name": group.subject,
            "NameSetAt": iso(group.created),
            "NameSetBy": jid(group.owner),
            "NameSetByPN": "",
            "Topic": group.description,
            "TopicID": noise(group.id, group.description, size=15) if group.description else "",
            "TopicSetAt": iso(group.created) if group.description else "0001-01-01T00:00:00Z",
            "TopicSetBy": jid(group.owner) if group.description else "",
            "TopicDeleted": False,
            "IsLocked": group.info_admin_only,
            "IsAnnounce": group.messages_admin_only,
            "AnnounceVersionID": str(group.created * 1_000_000),
            "IsEphemeral": False,
            "DisappearingTimer": 0,
            "IsIncognito": False,
            "IsParent": False,
            "DefaultMembershipApprovalMode": "",
            "LinkedParentJID": "",
            "IsDefaultSubGroup": False,
            "IsJoinApprovalRequired": group.approval,
            "AddressingMode": "lid" if group.lids else "pn",
            "GroupCreated": iso(group.created),
            "CreatorCountryCode": "",
            "ParticipantVersionID": str(group.created),
            "Participants": self.participants(account, group) if participants else None,
            "ParticipantCount": len(group.members),
            "MemberAddMode": "all_member_add" if group.members_can_add else "admin_add",
        }

    def groups(self, groups: list[dict[str, Any]]) -> Any:
        return groups

    def participants(self, account: Account, group: Group) -> list[dict[str, Any]]:
        listed = []
        for person_id, role in group.members.items():
            person = account.person(person_id)
            admin, superadmin = ROLES[role]
            listed.append(
                {
                    "JID": jid(self.member_id(account, group, person_id)),
                    "PhoneNumber": jid(person_id) if person_id.endswith("@c.us") else "",
                    "LID": (person.lid or "") if person else "",
                    "IsAdmin": admin,
                    "IsSuperAdmin": superadmin,
                    "DisplayName": "",
                    "Error": 0,
                    "AddRequest": None,
                }
            )
        return listed

    def participant_results(self, ids: list[str], change: str) -> Any:
        return [{"JID": jid(each), "Error": 0, "AddRequest": None} for each in ids]

    def me(self, account: Account) -> dict[str, Any]:
        me = account.me
        return {"id": me.id, "pushName": me.push_name, "lid": me.lid, "jid": jid(me.id).replace("@", ":12@")}


def respelled(value: Any) -> Any:
    if isinstance(value, dict):
        return {SPELLING.get(name, name): respelled(each) for name, each in value.items()}
    if isinstance(value, list):
        return [respelled(each) for each in value]
    return value


def iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
