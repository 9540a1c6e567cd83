"""A message's content in the form of WhatsApp Web's message model: flat fields, named by its type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from waha_mcp.sandbox.account import Message
from waha_mcp.sandbox.engines.engine_content import derived_id, noise

#: Rows of a chat that are not messages; the model calls them notifications.
NOTIFICATIONS = frozenset(
    {
        "gp2", "notification", "notification_template", "e2e_notification", "broadcast_notification",
        "pinned_message", "message_history_bundle", "message_history_notice",
    }
)  # fmt: skip

#: The sandbox's kind -> the model's type, where the two differ.
TYPES = {
    "text": "chat",
    "link": "chat",
    "buttons": "chat",
    "voice": "ptt",
    "poll": "poll_creation",
    "event": "event_creation",
    "button_reply": "buttons_response",
}

#: The fields of every model, whatever its content.
DEFAULTS: dict[str, Any] = {
    "viewed": False,
    "invis": False,
    "isNewMsg": True,
    "star": False,
    "kicNotified": False,
    "isFromTemplate": False,
    "isAdsMedia": False,
    "pollInvalidated": False,
    "isSentCagPollCreation": False,
    "latestEditMsgKey": None,
    "latestEditSenderTimestampMs": None,
    "mentionedJidList": [],
    "groupMentions": [],
    "isEventCanceled": False,
    "eventInvalidated": False,
    "isVcardOverMmsDocument": False,
    "isForwarded": False,
    "isQuestion": False,
    "questionReplyQuotedMessage": None,
    "forwardsCount": 0,
    "labels": [],
    "hasReaction": False,
    "viewMode": "VISIBLE",
    "productHeaderImageRejected": False,
    "lastPlaybackProgress": 0,
    "isDynamicReplyButtonsMsg": False,
    "isCarouselCard": False,
    "parentMsgId": None,
    "callSilenceReason": None,
    "isVideoCall": False,
    "callDuration": None,
    "callCreator": None,
    "callParticipants": None,
    "isCallLink": None,
    "isMdHistoryMsg": False,
    "stickerSentTs": 0,
    "isAvatar": False,
    "lastUpdateFromServerTs": 0,
    "invokedBotWid": None,
    "botMessageDisclaimerText": None,
    "reportingTokenInfo": None,
    "requiresDirectConnection": False,
    "nonJidMentions": None,
    "links": [],
}


def wid(any_id: str) -> dict[str, str]:
    """An id as the browser's objects hold it."""
    user, _, server = any_id.partition("@")
    return {"server": server, "user": user, "_serialized": any_id}


def edit_id(message: Message) -> str:
    """The bare id of a message's last edit."""
    return derived_id(message.id, message.text or "")


def thumbnail(message: Message) -> str:
    """A small preview in base64; a sticker's is the sticker's format."""
    head = "UklGRiQAAABXRUJQ" if message.kind == "sticker" else "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBD"
    return head + noise("thumb", message.id, size=300)


def content(message: Message) -> dict[str, Any]:
    """The fields of a message's content, including `type` and `body` if the model has them."""
    if message.deleted:
        return {
            "type": "revoked",
            "subtype": "sender",
            "protocolMessageKey": {
                "fromMe": message.from_me,
                "remote": wid(message.chat),
                "id": message.id,
                "_serialized": f"{str(message.from_me).lower()}_{message.chat}_{message.id}",
            },
            "revokeTimestamp": message.time + 60,
        }
    fields = _BY_KIND.get(message.kind, _text)(message)
    return {"type": TYPES.get(message.kind, message.kind), **fields}


def quoted_content(message: Message) -> dict[str, Any]:
    """`quotedMsg` of a reply."""
    found = content(message)
    return {**found, "kind": found["type"]}


def _text(message: Message) -> dict[str, Any]:
    return {"body": message.text or ""}


def _media(message: Message) -> dict[str, Any]:
    media = message.media
    assert media is not None, f"{message.kind} message {message.id} has no file"
    path = f"/o1/v/t62.7118-24/f1/m237/{message.id}?ccb=9-4&oh=01_Q5Aa&oe=6A0F"
    fields: dict[str, Any] = {
        "body": "" if message.kind in ("voice", "audio") else thumbnail(message),
        "deprecatedMms3Url": f"https://mmg.whatsapp.net{path}&mms3=true",
        "directPath": path,
        "mimetype": media.mimetype,
        "filehash": noise("sha", message.id),
        "encFilehash": noise("enc", message.id),
        "size": len(media.data),
        "mediaKey": noise("key", message.id),
        "mediaKeyTimestamp": message.time,
        "streamable": False,
    }
    if message.text:
        fields["caption"] = message.text
    if media.filename is not None:
        fields["filename"] = media.filename
    if media.seconds is not None:
        fields["duration"] = str(media.seconds)
    if message.kind in ("voice", "audio"):
        fields["waveform"] = {"0": 0, "1": 12, "2": 80}
    if message.kind in ("image", "video", "sticker"):
        fields |= {"width": 960, "height": 1280}
    return fields


def _location(message: Message) -> dict[str, Any]:
    extra = message.extra or {}
    words = [extra[part] for part in ("name", "address") if extra.get(part)]
    return {
        "body": thumbnail(message),
        "loc": "\n".join(words),
        "lat": extra["latitude"],
        "lng": extra["longitude"],
    }


def _contacts(message: Message) -> dict[str, Any]:
    cards = (message.extra or {})["cards"]
    if len(cards) == 1:
        ((name, card),) = cards
        return {"type": "vcard", "body": card, "vcardFormattedName": name}
    listed = [{"displayName": name, "vcard": card, "isMultiVcard": False} for name, card in cards]
    return {"type": "multi_vcard", "vcardFormattedName": f"{len(cards)} contacts", "vcardList": listed}


def _poll(message: Message) -> dict[str, Any]:
    extra = message.extra or {}
    return {
        "body": "",
        "pollName": extra["name"],
        "pollOptions": [{"name": option, "localId": number} for number, option in enumerate(extra["options"])],
        "pollSelectableOptionsCount": 0 if extra.get("multiple") else 1,
        "pollContentType": "text",
        "pollType": "poll",
    }


def _event(message: Message) -> dict[str, Any]:
    extra = message.extra or {}
    fields = {
        "body": "",
        "eventName": extra.get("name"),
        "eventDescription": extra.get("description"),
        "eventStartTime": extra.get("startTime"),
        "eventEndTime": extra.get("endTime"),
        "eventLocation": extra.get("location"),
        "eventIsScheduledCall": False,
        "eventExtraGuestsAllowed": bool(extra.get("extraGuestsAllowed")),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _list(message: Message) -> dict[str, Any]:
    extra = message.extra or {}
    listed = {
        "title": extra.get("title"),
        "description": extra.get("description"),
        "buttonText": extra.get("button"),
        "listType": 1,
        "footerText": extra.get("footer"),
        "sections": extra.get("sections") or [],
    }
    return {"list": listed, "footer": extra.get("footer")}


def _buttons(message: Message) -> dict[str, Any]:
    extra = message.extra or {}
    buttons = [
        {"buttonId": str(each.get("id") or number), "buttonText": {"displayText": each.get("text")}, "type": 1}
        for number, each in enumerate(extra.get("buttons") or (), 1)
    ]
    return {
        "body": message.text or "",
        "caption": message.text,
        "isDynamicReplyButtonsMsg": True,
        "title": extra.get("header"),
        "footer": extra.get("footer"),
        "dynamicReplyButtons": buttons,
    }


def _button_reply(message: Message) -> dict[str, Any]:
    return {"body": message.text or "", "selectedButtonId": (message.extra or {}).get("selectedId")}


def _link(message: Message) -> dict[str, Any]:
    extra = message.extra or {}
    url = extra.get("url")
    return {
        "subtype": "url",
        "body": message.text or "",
        "canonicalUrl": url,
        "matchedText": url,
        "title": extra.get("title"),
        "description": extra.get("description"),
        "thumbnail": thumbnail(message),
        "links": [{"link": url, "isSuspicious": False}],
    }


_BY_KIND: dict[str, Callable[[Message], dict[str, Any]]] = {
    **dict.fromkeys(("image", "video", "sticker", "voice", "audio", "document"), _media),
    "location": _location,
    "contacts": _contacts,
    "poll": _poll,
    "event": _event,
    "list": _list,
    "buttons": _buttons,
    "button_reply": _button_reply,
    "link": _link,
}
