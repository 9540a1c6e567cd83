"""One valid request for every operation that a session key may use, ordered so that each finds what it needs."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tests.sandbox.box import MAYA, SAM, Box, bare_id, group_id
from waha_mcp.sandbox.contract import Operation, contract
from waha_mcp.sandbox.sample_files import jpeg, mp4, ogg, webp

S = {"session": "default"}
TO = S | {"chatId": SAM}


def file(mimetype: str, data: bytes, **more: Any) -> dict[str, Any]:
    return {"mimetype": mimetype, "data": base64.b64encode(data).decode()} | more


JPEG = file("image/jpeg", jpeg(), filename="a.jpg")
VOICE = file("audio/ogg; codecs=opus", ogg(), filename="a.ogg")
VIDEO = file("video/mp4", mp4(), filename="a.mp4")


@dataclass
class Known:
    """Ids that earlier requests returned."""

    text: str = ""
    poll: str = ""
    story: str = ""
    group: str = ""
    other_group: str = ""
    invite: str = ""
    channel: str = ""
    label: str = ""
    lid: str = ""
    call: str = ""


@dataclass
class Example:
    """A request; a function in place of a value is called with the known ids."""

    operation_id: str
    path: Any = field(default_factory=dict)
    query: Any = field(default_factory=dict)
    body: Any = None
    status: str | None = None
    learn: Callable[[Known, Any], None] | None = None

    @property
    def operation(self) -> Operation:
        return contract().by_id[self.operation_id]

    def url(self, known: Known) -> str:
        path = {"session": "default"} | _filled(self.path, known)
        url = self.operation.path
        for name, value in path.items():
            url = url.replace(f"{{{name}}}", quote(str(value), safe=""))
        return url

    def filled_body(self, known: Known) -> Any:
        return _filled(self.body, known)

    def filled_query(self, known: Known) -> Any:
        return _filled(self.query, known)


def _filled(value: Any, known: Known) -> Any:
    if callable(value):
        return value(known)
    if isinstance(value, dict):
        return {name: _filled(each, known) for name, each in value.items()}
    return value


def _learn(name: str, read: Callable[[Any], str]) -> Callable[[Known, Any], None]:
    return lambda known, answer: setattr(known, name, read(answer))


def _first_group(answer: Any) -> str:
    return str(next(iter(answer))) if isinstance(answer, dict) else group_id(answer[0])


GROUP = {"id": lambda known: known.group}
CHANNEL = {"id": lambda known: known.channel}
CHAT = {"chatId": SAM}
TEXT = CHAT | {"messageId": lambda known: f"true_{SAM}_{known.text}"}
LABEL = {"labelId": lambda known: known.label}
PEOPLE = {"participants": [{"id": MAYA}]}
ADMINS = {"adminsOnly": True}
APP = {"id": "app_example", "session": "default", "app": "mcp", "config": {"actions": {"read": True}}}

EXAMPLES = [
    Example("ServerController_get"),
    Example("VersionController_get"),
    Example("ServerController_status"),
    Example("PingController_ping"),
    Example("HealthController_check"),
    Example("ApiKeysController_media", body=S),
    Example("ApiKeysController_control", body=S),
    Example("SessionsController_list", query={"all": "true", "expand": "apps"}),
    Example("SessionsController_get"),
    Example("SessionsController_getMe"),
    Example("SessionsController_fetchMessageCapping"),
    Example("SessionsController_fetchReachoutTimelock"),
    Example("ProfileController_getMyProfile"),
    Example("ProfileController_setProfileName", body={"name": "Alex R."}),
    Example("ProfileController_setProfileStatus", body={"status": "Out hiking"}),
    Example("ProfileController_setProfilePicture", body={"file": JPEG}),
    Example("ProfileController_deleteProfilePicture"),
    Example("ChattingController_getNewMessageId"),
    Example("ChattingController_sendText", body=TO | {"text": "hello"}, learn=_learn("text", bare_id)),
    Example("ChattingController_sendTextGet", query=S | {"phone": "12025550123", "text": "hello"}),
    Example("ChattingController_sendImage", body=TO | {"file": JPEG, "caption": "look"}),
    Example("ChattingController_sendFile", body=TO | {"file": JPEG}),
    Example("ChattingController_sendVoice", body=TO | {"file": VOICE, "convert": False}),
    Example("ChattingController_sendVideo", body=TO | {"file": VIDEO, "convert": False}),
    Example("ChattingController_sendSticker", body=TO | {"file": file("image/webp", webp())}),
    Example(
        "ChattingController_sendLinkCustomPreview",
        body=TO | {"text": "see https://example.com", "preview": {"url": "https://example.com", "title": "A",
                                                                  "description": "B"}},
    ),
    Example(
        "ChattingController_sendButtons",
        body=TO | {"header": "H", "body": "B", "footer": "F", "buttons": [{"type": "reply", "text": "Yes"}]},
    ),
    Example(
        "ChattingController_sendList",
        body=TO | {"message": {"title": "Menu", "button": "Open", "sections": [
            {"title": "Drinks", "rows": [{"title": "Tea", "rowId": "tea"}]}]}},
    ),
    Example("ChattingController_forwardMessage", body=TO | {"messageId": lambda known: f"true_{SAM}_{known.text}"}),
    Example("ChattingController_sendSeen", body=TO),
    Example("ChattingController_startTyping", body=TO),
    Example("ChattingController_stopTyping", body=TO),
    Example("ChattingController_setReaction",
            body=S | {"messageId": lambda known: f"true_{SAM}_{known.text}", "reaction": "👍"}),
    Example("ChattingController_setStar", body=TO | {"messageId": lambda known: known.text, "star": True}),
    Example(
        "ChattingController_sendPoll",
        body=TO | {"poll": {"name": "When?", "options": ["Mon", "Tue"], "multipleAnswers": False}},
        learn=_learn("poll", bare_id),
    ),
    Example("ChattingController_sendPollVote", body=TO | {"pollMessageId": lambda known: known.poll, "votes": ["Mon"]}),
    Example("ChattingController_sendLocation", body=TO | {"latitude": 1.5, "longitude": 2.5, "title": "Here"}),
    Example("ChattingController_sendContactVcard",
            body=TO | {"contacts": [{"fullName": "Ada", "phoneNumber": "+1 202 555 0190", "vcard": None}]}),
    Example("ChattingController_sendButtonsReply",
            body=TO | {"replyTo": lambda known: known.text, "selectedDisplayText": "Yes", "selectedButtonID": "1"}),
    Example("ChattingController_getMessages", query=S | {"chatId": SAM, "limit": 5}),
    Example("ChattingController_DEPRECATED_checkNumberStatus", query=S | {"phone": "12025550123"}),
    Example("ChattingController_reply",
            body=TO | {"text": "indeed", "reply_to": lambda known: f"true_{SAM}_{known.text}"}),
    Example("ChattingController_sendLinkPreview_DEPRECATED", body=TO | {"url": "https://example.com", "title": "A"}),
    Example("EventsController_sendEvent", body={"chatId": SAM, "event": {"name": "Party", "startTime": 2063137000}}),
    Example("ChatsController_getChats"),
    Example("ChatsController_getChatsOverview", query={"limit": 3}),
    Example("ChatsController_postChatsOverview", body={"pagination": {"limit": 3}, "filter": {"ids": [SAM]}}),
    Example("ChatsController_getChatPicture", path=CHAT),
    Example("ChatsController_getChatMessages", path=CHAT, query={"limit": 5}),
    Example("ChatsController_readChatMessages", path=CHAT),
    Example("ChatsController_getChatMessage", path=TEXT),
    Example("ChatsController_editMessage", path=TEXT, body={"text": "hello!"}),
    Example("ChatsController_pinMessage", path=TEXT, body={"duration": 86400}),
    Example("ChatsController_unpinMessage", path=TEXT),
    Example("ChatsController_archiveChat", path=CHAT),
    Example("ChatsController_unarchiveChat", path=CHAT),
    Example("ChatsController_unreadChat", path=CHAT),
    Example("ChatsController_deleteMessage", path=TEXT),
    Example("CallsController_rejectCall", body=lambda known: {"from": MAYA, "id": known.call}),
    Example("ChannelsController_list", query={"role": "SUBSCRIBER"}),
    Example("ChannelsController_create", body={"name": "Mine"}, learn=_learn("channel", lambda answer: answer["id"])),
    Example("ChannelsController_get", path=CHANNEL),
    Example("ChannelsController_previewChannelMessages", path=CHANNEL, query={"downloadMedia": "false", "limit": 10}),
    Example("ChannelsController_follow", path=CHANNEL),
    Example("ChannelsController_unfollow", path=CHANNEL),
    Example("ChannelsController_mute", path=CHANNEL),
    Example("ChannelsController_unmute", path=CHANNEL),
    Example("ChannelsController_delete", path=CHANNEL),
    Example(
        "ChannelsController_searchByView",
        body={"view": "RECOMMENDED", "countries": ["US"], "categories": [], "limit": 50, "startCursor": ""},
    ),
    Example("ChannelsController_searchByText",
            body={"text": "storm", "categories": [], "limit": 50, "startCursor": ""}),
    Example("ChannelsController_getSearchViews"),
    Example("ChannelsController_getSearchCountries"),
    Example("ChannelsController_getSearchCategories"),
    Example("StatusController_getNewMessageId"),
    Example(
        "StatusController_sendTextStatus",
        body={"text": "On top!", "backgroundColor": "#38b42f", "font": 1},
        learn=_learn("story", bare_id),
    ),
    Example("StatusController_sendImageStatus", body={"file": JPEG}),
    Example("StatusController_sendVoiceStatus", body={"file": VOICE, "convert": False, "backgroundColor": "#38b42f"}),
    Example("StatusController_sendVideoStatus", body={"file": VIDEO, "convert": False}),
    Example("StatusController_deleteStatus", body={"id": lambda known: known.story}),
    Example("LabelsController_getAll"),
    Example("LabelsController_create", body={"name": "VIP", "color": 3},
            learn=_learn("label", lambda answer: answer["id"])),
    Example("LabelsController_update", path=LABEL, body={"name": "VIPs", "colorHex": "#f74848"}),
    Example("LabelsController_putChatLabels", path=CHAT, body={"labels": [{"id": "1"}]}),
    Example("LabelsController_getChatLabels", path=CHAT),
    Example("LabelsController_getChatsByLabel", path={"labelId": "1"}),
    Example("LabelsController_delete", path=LABEL),
    Example("ContactsController_getAll", query=S | {"limit": 5, "sortBy": "name", "sortOrder": "asc"}),
    Example("ContactsController_get", query=S | {"contactId": MAYA}),
    Example("ContactsController_checkExists", query=S | {"phone": "12025550123"}),
    Example("ContactsController_getAbout", query=S | {"contactId": MAYA}),
    Example("ContactsController_getProfilePicture", query=S | {"contactId": MAYA}),
    Example("ContactsController_block", body=S | {"contactId": MAYA}),
    Example("ContactsController_unblock", body=S | {"contactId": MAYA}),
    Example("ContactsSessionController_get", path={"id": MAYA}),
    Example("ContactsSessionController_put", path={"chatId": MAYA}, body={"firstName": "Maya", "lastName": "L."}),
    Example("LidsController_getAll", query={"limit": 3}, learn=_learn("lid", lambda answer: answer[0]["lid"])),
    Example("LidsController_getLidsCount"),
    Example("LidsController_findPNByLid", path={"lid": lambda known: known.lid}),
    Example("LidsController_findLIDByPhoneNumber", path={"phoneNumber": "12025550123"}),
    Example("GroupsController_createGroup", body={"name": "New"} | PEOPLE, learn=_learn("group", group_id)),
    Example("GroupsController_getGroups", query={"limit": 3, "exclude": "participants"},
            learn=_learn("other_group", _first_group)),
    Example("GroupsController_getGroupsCount"),
    Example("GroupsController_refreshGroups"),
    Example("GroupsController_getGroup", path=GROUP),
    Example("GroupsController_getChatPicture", path=GROUP),
    Example("GroupsController_setPicture", path=GROUP, body={"file": JPEG}),
    Example("GroupsController_deletePicture", path=GROUP),
    Example("GroupsController_setDescription", path=GROUP, body={"description": "About"}),
    Example("GroupsController_setSubject", path=GROUP, body={"subject": "Newer"}),
    Example("GroupsController_setInfoAdminOnly", path=GROUP, body=ADMINS),
    Example("GroupsController_getInfoAdminOnly", path=GROUP),
    Example("GroupsController_setMessagesAdminOnly", path=GROUP, body=ADMINS),
    Example("GroupsController_getMessagesAdminOnly", path=GROUP),
    Example("GroupsController_setMemberAddMode", path=GROUP, body={"membersCanAddNewMember": False}),
    Example("GroupsController_getMemberAddMode", path=GROUP),
    Example("GroupsController_setMemberShareHistoryMode", path=GROUP, body={"membersCanShareHistory": True}),
    Example("GroupsController_getMemberShareHistoryMode", path=GROUP),
    Example("GroupsController_setMembershipApprovalMode", path=GROUP, body={"newMembersApprovalRequired": True}),
    Example("GroupsController_getMembershipApprovalMode", path=GROUP),
    Example("GroupsController_getGroupJoinRequests", path=GROUP),
    Example("GroupsController_approveGroupJoinRequests", path=GROUP, body=PEOPLE),
    Example("GroupsController_rejectGroupJoinRequests", path=GROUP, body=PEOPLE),
    Example("GroupsController_getParticipants", path=GROUP),
    Example("GroupsController_getGroupParticipants", path=GROUP),
    Example("GroupsController_addParticipants", path=GROUP, body={"participants": [{"id": SAM}]}),
    Example("GroupsController_promoteToAdmin", path=GROUP, body=PEOPLE),
    Example("GroupsController_demoteToAdmin", path=GROUP, body=PEOPLE),
    Example("GroupsController_removeParticipants", path=GROUP, body=PEOPLE),
    Example("GroupsController_revokeInviteCode", path=GROUP),
    Example("GroupsController_getInviteCode", path=GROUP, learn=_learn("invite", str)),
    Example("GroupsController_joinInfoGroup", query={"code": lambda known: known.invite}),
    Example("GroupsController_joinGroup", body={"code": lambda known: f"https://chat.whatsapp.com/{known.invite}"}),
    Example("GroupsController_leaveGroup", path={"id": lambda known: known.other_group}),
    Example("GroupsController_deleteGroup", path={"id": lambda known: known.group}),
    Example("PresenceController_setPresence", body={"presence": "online"}),
    Example("PresenceController_subscribe", path=CHAT),
    Example("PresenceController_getPresence", path=CHAT),
    Example("PresenceController_getPresenceAll"),
    Example("MediaController_convertVoice", body={"data": VOICE["data"]}),
    Example("MediaController_convertVideo", body={"data": VIDEO["data"]}),
    Example("AppsController_create", body=APP),
    Example("AppsController_list", query=S),
    Example("AppsController_get", path={"id": "app_example"}),
    Example("AppsController_update", path={"id": "app_example"}, body=APP | {"enabled": False}),
    Example("AppsController_purge", path={"id": "app_example"}),
    Example("AppsController_delete", path={"id": "app_example"}),
    Example("AppsController_purgeUniqueApp", path={"app": "calls"}),
    *(
        Example(f"{app}Controller_{part}")
        for app in ("ArgentinePhoneNumbers", "BrazilianPhoneNumbers", "MexicanPhoneNumbers", "PhoneNumbers")
        for part in ("memory", "db", "stats", "purge")
    ),
    Example("ChatsController_clearMessages", path=CHAT),
    Example("ChatsController_deleteChat", path=CHAT),
    Example("AuthController_getQR", query={"format": "raw"}, status="SCAN_QR_CODE"),
    Example("AuthController_requestCode", body={"phoneNumber": "12025550100"}, status="SCAN_QR_CODE"),
    Example("ScreenshotController_screenshot", query=S, status="SCAN_QR_CODE"),
    Example("AuthController_getPasskeyChallenge", status="PASSKEY_REQUIRED"),
    Example(
        "AuthController_submitPasskey",
        body={"id": "a", "rawId": "a", "type": "public-key",
              "response": {"clientDataJSON": "e30", "authenticatorData": "AA", "signature": "AA"}},
        status="PASSKEY_REQUIRED",
    ),
    Example("AuthController_getPasskeyConfirmation", status="PASSKEY_CONFIRMATION_REQUIRED"),
    Example("AuthController_confirmPasskey", status="PASSKEY_CONFIRMATION_REQUIRED"),
    Example("SessionsController_update", body={"config": {"debug": True}}),
    Example("SessionsController_restart"),
    Example("SessionsController_stop"),
    Example("SessionsController_start"),
    Example("SessionsController_DEPRECATED_stop", body={"name": "default"}),
    Example("SessionsController_DEPRACATED_start", body={"name": "default"}),
    Example("SessionsController_logout"),
    Example("SessionsController_delete"),
    Example("SessionsController_DEPRECATED_logout", body={"name": "default"}),
]  # fmt: skip


async def lacked(box: Box) -> set[str]:
    """The operations that the engine lacks."""
    return set((await box.control("POST", "engine"))["lacks"])
