"""Descriptions of messages that are not text: calls, payments, system messages, content that only the phone shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from waha_mcp.waha.parsing import chat_id_of, count_of, first_of, mapping_of, number_of, text_of


class Note(NamedTuple):
    """A remark, and the people it is about (chat ids): it leaves out their names, which others chose."""

    text: str
    people: tuple[str, ...] = ()


UNKNOWN = Note("of a kind that is not read here")
PHONE_ONLY = Note("only the phone shows this message")

#: Kinds of Baileys' and whatsmeow's messages, and of WhatsApp Web's, that one remark describes.
_PLAIN = {
    **dict.fromkeys(("groupInviteMessage", "groups_v4_invite"), "an invitation to a group"),
    **dict.fromkeys(("newsletterAdminInviteMessage", "newsletter_admin_invite"), "an invitation to run a channel"),
    **dict.fromkeys(
        ("newsletterFollowerInviteMessage", "newsletterFollowerInviteMessageV2", "newsletter_follower_invite"),
        "an invitation to follow a channel",
    ),
    **dict.fromkeys(("pollResultSnapshotMessage", "pollResultSnapshotMessageV3", "poll_result_snapshot"),
                    "the result of a poll"),
    **dict.fromkeys(("stickerPackMessage", "sticker-pack"), "a pack of stickers"),
    **dict.fromkeys(("placeholderMessage", "futureproof", "unknown"), PHONE_ONLY.text),
    **dict.fromkeys(("requestPhoneNumberMessage", "request_phone_number"), "asks for the phone number"),
    **dict.fromkeys(
        ("messageHistoryBundle", "messageHistoryNotice", "message_history_notice", "message_history_bundle"),
        "earlier messages were shared with a new member",
    ),
    "conditionalRevealMessage": PHONE_ONLY.text,
    "eventInviteMessage": "an invitation to an event",
    "pollAddOptionMessage": "added an option to a poll",
    "encEventResponseMessage": "answered an event",
    "encCommentMessage": "commented on a message",
    "secretEncryptedMessage": "changed an earlier message, which may still stand here as it was",
    "scheduledCallCreationMessage": "a call that is planned",
    "scheduledCallEditMessage": "called off a planned call",
    **dict.fromkeys(("bcallMessage", "call"), "a call"),
    "encReactionMessage": "a reaction that is not read here",
    "sendPaymentMessage": "a payment",
    "paymentInviteMessage": "an invitation to use payments",
    "declinePaymentRequestMessage": "declined to pay",
    "cancelPaymentRequestMessage": "took back a request to pay",
    "invoiceMessage": "an invoice",
    "splitPaymentMessage": "shares out a payment",
    "paymentReminderMessage": "reminds of a payment",
    "statusNotificationMessage": "reshared a status",
    "statusStickerInteractionMessage": "put a sticker on a status",
    "quarantined": "held back by WhatsApp",
    "pollUpdateMessage": "voted in a poll",
    "senderKeyDistributionMessage": "a system message of WhatsApp",
}  # fmt: skip
_IN_STATUS, _IN_GROUP_STATUS = "mentioned the recipient in a status", "mentioned this group in a status"
#: By number or name.
_PROTOCOL = {
    **dict.fromkeys(("11", "SHARE_PHONE_NUMBER"), "shared the phone number"),
    **dict.fromkeys(("25", "STATUS_MENTION_MESSAGE"), _IN_STATUS),
    **dict.fromkeys(("27", "LIMIT_SHARING"), "changed whether this chat's messages may be shared on"),
    **dict.fromkeys(("30", "GROUP_MEMBER_LABEL_CHANGE"), "changed the label of a member"),
}
#: Names of native flows that are forms.
_FORMS = ("flow", "galaxy_message")
_CALLS = {
    "0": "", "connected": "", "completed": "",
    "1": "missed ", "missed": "missed ",
    "2": "failed ", "failed": "failed ",
    "3": "declined ", "rejected": "declined ",
    "4": "answered elsewhere: ", "acceptedelsewhere": "answered elsewhere: ",
    "5": "ongoing ", "ongoing": "ongoing ",
    "6": "missed (do not disturb) ",
    "7": "missed (silenced) ",
    "cancelled": "cancelled ",
}  # fmt: skip

#: System messages: by WhatsApp Web's subtype and by the number (or Baileys' name) of a stub.
_SYSTEM = {
    "create": "created the group", "community_create": "created the community", "20": "the group was created",
    "subject": "changed the subject", "21": "the group's subject was changed",
    "description": "changed the description", "24": "the group's description was changed",
    "picture": "changed the picture", "22": "the group's picture was changed",
    "add": "added people", "27": "added people", "71": "joined on request",
    "remove": "removed people", "28": "removed people",
    "leave": "left", "32": "left",
    "invite": "joined by a link", "31": "joined by a link",
    "linked_group_join": "joined through the community",
    "membership_approval_request": "asks to join", "172": "asks to join",
    "created_membership_requests": "asks that people may join",
    "revoked_membership_requests": "no longer asks to join",
    "promote": "made people admins", "29": "made people admins",
    "demote": "took admin rights from people", "30": "took admin rights from people",
    "revoke_invite": "renewed the invite link", "23": "renewed the invite link",
    "modify": "changed the phone number", "change_number": "changed the phone number",
    "33": "changed the phone number",
    "encrypt": "messages are end-to-end encrypted", "39": "messages are end-to-end encrypted",
    "identity": "the security code changed", "38": "the security code changed",
    "device": "the linked devices changed",
    "block_contact": "the contact was blocked or unblocked",
    "40": "missed voice call", "41": "missed video call", "45": "missed group voice call",
    "46": "missed group video call",
    "2": "could not be decrypted (yet)", "CIPHERTEXT": "could not be decrypted (yet)",
    "payment_action_request_declined": "declined to pay",
    "payment_transaction_request_cancelled": "took back a request to pay",
    "event_edit_decrypted": "changed an event",
    "limit_sharing_system_message": "changed whether this chat's messages may be shared on",
    "share_phone_number": "shared the phone number",
    "status_mention_message": _IN_STATUS, "status_group_mention_message": _IN_GROUP_STATUS,
}  # fmt: skip
#: Settings of a group: the remarks for on, for off, and for an unknown value.
_SETTINGS = {
    **dict.fromkeys(("announce", "26"), ("only admins may write", "everybody may write", "changed who may write")),
    **dict.fromkeys(
        ("restrict", "25"),
        (
            "only admins may change the group's info",
            "everybody may change the group's info",
            "changed who may change the group's info",
        ),
    ),
    "membership_approval_mode": (
        "admins let new members in", "anybody may join without asking", "changed whether admins let new members in",
    ),
    "member_add_mode": (
        "everybody may add members", "only admins may add members", "changed who may add members",
    ),
}  # fmt: skip
_ON, _OFF = frozenset({"on", "true", "1", "all_member_add"}), frozenset({"off", "false", "0", "admin_add"})
_DISAPPEARING = ("ephemeral", "ephemeral_setting", "disappearing_mode", "72")
_CIPHERTEXT = {
    "view_once_unavailable_fanout": PHONE_ONLY.text,
    "bot_unavailable_fanout": PHONE_ONLY.text,
}


def note_of(name: str, body: Mapping[str, Any], wrappers: Sequence[str] = ()) -> Note | None:
    """The remark on a message of this kind; None if its words suffice. `name`: Baileys' field or WhatsApp Web's type.

    `body`: the field's value, or WhatsApp Web's whole message. `wrappers`: the fields that it was wrapped in.
    """
    if "groupStatusMentionMessage" in wrappers:
        return Note(_IN_GROUP_STATUS)
    match name:
        case "albumMessage" | "album":
            return Note(_album(body))
        case "pinInChatMessage" | "pinned_message":
            undone = body.get("type" if name == "pinInChatMessage" else "pinMessageType") in (2, "UNPIN_FOR_ALL")
            return Note("unpinned a message" if undone else "pinned a message")
        case "keepInChatMessage":
            undone = body.get("keepType") in (2, "UNDO_KEEP_FOR_ALL")
            return Note("no longer keeps a message" if undone else "keeps a message that would disappear")
        case "orderMessage" | "order":
            return Note(_priced("an order" + _items(body), body, "totalAmount1000", "totalCurrencyCode"))
        case "productMessage" | "product":
            product = mapping_of(body.get("product")) or body
            if "catalog" in body:
                return Note("a catalogue")
            amount = "salePriceAmount1000" if product.get("salePriceAmount1000") else "priceAmount1000"
            return Note(_priced("a product", product, amount, "currencyCode"))
        case "requestPaymentMessage":
            return Note(_priced("asks for a payment", body, "amount1000", "currencyCodeIso4217"))
        case "payment":
            what = "asks for a payment" if body.get("subtype") == "request" else "a payment"
            return Note(_priced(what, body, "paymentAmount1000", "paymentCurrency"))
        case "callLogMesssage" | "call_log":
            return Note(_call(body))
        case "reactionMessage" if not body.get("text"):
            return Note("took back a reaction")
        case "interactiveResponseMessage" | "interactive_response" if _is_form(body):
            return Note("filled in a form")
        case "protocolMessage" if body.get("type") in (3, "3", "EPHEMERAL_SETTING"):
            return Note(_disappearing("", body.get("ephemeralExpiration")))
        case "protocolMessage":
            return Note(_PROTOCOL.get(str(body.get("type")), "a system message of WhatsApp"))
        case "ciphertext":
            return Note(_CIPHERTEXT.get(str(body.get("subtype")), _SYSTEM["2"]))
    return Note(_PLAIN[name]) if name in _PLAIN else None


def system_note(subtype: Any, data: Mapping[str, Any]) -> Note:
    """Remark on a system message. `subtype`: WhatsApp Web's, or a stub's number or name; `data`: the whole message."""
    kind = str(subtype)
    about = data.get("recipients") or data.get("messageStubParameters") or data.get("templateParams")
    about = about if isinstance(about, list) else []
    people = tuple(dict.fromkeys(each for each in map(_person, about) if each))
    value = text_of(data.get("body")) or next((each for each in about if isinstance(each, str)), "")
    if kind in _DISAPPEARING:
        return Note(_disappearing(value, data.get("ephemeralDuration")))
    if kind == "event_edit_decrypted" and data.get("isEventCanceled") is True:
        return Note("cancelled an event")
    if kind in _SETTINGS:
        on, off, unknown = _SETTINGS[kind]
        value = value.lower()
        return Note(on if value in _ON else off if value in _OFF else unknown)
    return Note(_SYSTEM.get(kind, "a system message of WhatsApp"), people)


def _person(value: Any) -> str | None:
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = mapping_of(json.loads(value))
        except (ValueError, RecursionError):
            return None
        value = first_of(value, "phoneNumber", "id", "lid")
    return chat_id_of(value) if isinstance(value, dict) or (isinstance(value, str) and "@" in value) else None


def _is_form(body: Mapping[str, Any]) -> bool:
    """Whether an answer to an interactive message is a completed form."""
    inner = mapping_of(first_of(body, "InteractiveResponseMessage", "interactivePayload")) or body
    flow = mapping_of(first_of(inner, "nativeFlowResponseMessage", "NativeFlowResponseMessage")) or inner
    return (body.get("nativeFlowName") or flow.get("name")) in _FORMS


def _disappearing(value: str, duration: Any) -> str:
    """`value`: the seconds as text; `duration`: the seconds in any form, used without such a text."""
    seconds = number_of(value if value.isdecimal() else duration)
    if seconds is None:
        return "changed how long messages stay"
    if not seconds:
        return "messages no longer disappear"
    days, hours = divmod(seconds // 3600, 24)
    time = f"{days} day{'s' * (days != 1)}" if days else f"{hours} hour{'s' * (hours != 1)}"
    return f"messages disappear after {time}"


def _album(body: Mapping[str, Any]) -> str:
    pictures, videos = (count_of(body.get(f"expected{what}Count")) or 0 for what in ("Image", "Video"))
    counts = [(pictures, "picture"), (videos, "video")]
    parts = [f"{count} {what}{'s' * (count != 1)}" for count, what in counts if count]
    return (
        f"an album: {' and '.join(parts)} follow{'s' * (pictures + videos == 1)}"
        if parts
        else "an album: pictures follow"
    )


def _items(body: Mapping[str, Any]) -> str:
    count = count_of(body.get("itemCount"))
    return f" of {count} item{'s' * (count != 1)}" if count else ""


def _priced(what: str, body: Mapping[str, Any], amount: str, currency: str) -> str:
    value, unit = number_of(body.get(amount)), text_of(body.get(currency))
    if value is None or unit is None or not unit.isalpha() or len(unit) > 4:
        return what
    return f"{what}, {value / 1000:,.2f} {unit}"


def _call(body: Mapping[str, Any]) -> str:
    subtype = text_of(body.get("subtype")) or ""
    found = first_of(body, "callOutcome")
    outcome = str(found).lower() if found is not None else "missed" if "miss" in subtype else ""
    if subtype == "silence":
        outcome = "7"
    video = any(body.get(name) is True for name in ("isVideo", "isVideoCall")) or "video" in subtype
    people = first_of(body, "participants", "callParticipants")
    group = (isinstance(people, list) and len(people) > 1) or "group" in subtype
    text = f"{_CALLS.get(outcome, '')}{'group ' * group}{'video' if video else 'voice'} call"
    seconds = number_of(first_of(body, "durationSecs", "callDuration"))
    return f"{text}, {seconds // 60}:{seconds % 60:02} min" if seconds else text
