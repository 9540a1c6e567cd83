"""Parsing of a message's content from the engine's raw data (`_data`) into one form, `Content`.

NOWEB has Baileys' structures (`message`, Long objects, `messageStubType`), GOWS whatsmeow's with Go's spelling
(`Info`, `Message`, `PTT`, `mentionedJID`), and the browser engines (WEBJS, WPP) a flat object with a `type`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from waha_mcp.waha.parsing import chat_id_of, epoch, first_of, mapping_of, text_of

MessageKind = Literal[
    "text",
    "image",
    "video",
    "voice",
    "audio",
    "document",
    "sticker",
    "location",
    "contact",
    "poll",
    "event",
    "list",
    "buttons",
    "invite",
    "reaction",
    "call",
    "system",
    "other",
]

#: Wrapper messages: each holds the actual one in its field `message`.
_WRAPPERS = (
    "ephemeralMessage",
    "viewOnceMessage",
    "viewOnceMessageV2",
    "viewOnceMessageV2Extension",
    "documentWithCaptionMessage",
    "editedMessage",
    "deviceSentMessage",
    "botInvokeMessage",
    "groupMentionedMessage",
)
_KINDS: dict[str, MessageKind] = {
    "conversation": "text",
    "extendedTextMessage": "text",
    "imageMessage": "image",
    "videoMessage": "video",
    "ptvMessage": "video",
    "audioMessage": "audio",
    "documentMessage": "document",
    "stickerMessage": "sticker",
    "locationMessage": "location",
    "liveLocationMessage": "location",
    "contactMessage": "contact",
    "contactsArrayMessage": "contact",
    "pollCreationMessage": "poll",
    "pollCreationMessageV2": "poll",
    "pollCreationMessageV3": "poll",
    "pollCreationMessageV5": "poll",
    "eventMessage": "event",
    "listMessage": "list",
    "buttonsMessage": "buttons",
    "interactiveMessage": "buttons",
    "templateMessage": "buttons",
    "listResponseMessage": "text",
    "buttonsResponseMessage": "text",
    "templateButtonReplyMessage": "text",
    "interactiveResponseMessage": "text",
    "groupInviteMessage": "invite",
    "reactionMessage": "reaction",
    "encReactionMessage": "reaction",
    "callLogMesssage": "call",
    "call": "call",
    "pollUpdateMessage": "system",
    "protocolMessage": "system",
    "senderKeyDistributionMessage": "system",
}
_BROWSER_KINDS: dict[str, MessageKind] = {
    "chat": "text",
    "image": "image",
    "video": "video",
    "ptv": "video",
    "ptt": "voice",
    "audio": "audio",
    "document": "document",
    "sticker": "sticker",
    "location": "location",
    "vcard": "contact",
    "multi_vcard": "contact",
    "poll_creation": "poll",
    "event_creation": "event",
    "list": "list",
    "list_response": "text",
    "buttons_response": "text",
    "groups_v4_invite": "invite",
    "call_log": "call",
    "e2e_notification": "system",
    "notification": "system",
    "notification_template": "system",
    "gp2": "system",
    "protocol": "system",
}
MEDIA_KINDS = frozenset({"image", "video", "voice", "audio", "document", "sticker"})
#: Descriptions of system messages by stub type (WhatsApp's number or Baileys' name).
_STUBS = {
    "2": "could not be decrypted (yet)",
    "CIPHERTEXT": "could not be decrypted (yet)",
    "20": "the group was created",
    "21": "the group's subject was changed",
    "22": "the group's picture was changed",
    "24": "the group's description was changed",
    "27": "members were added",
    "28": "members were removed",
    "29": "a member became an admin",
    "30": "a member is no longer an admin",
    "32": "a member left",
    "40": "missed voice call",
    "41": "missed video call",
    "45": "missed group voice call",
    "46": "missed group video call",
    "71": "members were added",
}


class Content(NamedTuple):
    """The parsed content of one message.

    `kind` is None if deleted or without content; `body` is the raw object of that kind, `context` its context info
    (quote, mentions, forwarding); `note` describes the message where it has no text.
    """

    kind: MessageKind | None
    body: Mapping[str, Any]
    context: Mapping[str, Any]
    text: str | None = None
    note: str | None = None
    deleted: bool = False
    edited: bool = False
    view_once: bool = False


def content_of(raw: Mapping[str, Any]) -> Content:
    """Parse the content of one WAMessage."""
    data = mapping_of(raw.get("_data"))
    info = mapping_of(data.get("Info"))
    message = mapping_of(data.get("message") or data.get("Message"))
    view_once = is_view_once(raw)
    edited = data.get("IsEdit") is True or info.get("Edit") == "1" or bool(data.get("latestEditMsgKey"))
    while wrapper := next((each for each in _WRAPPERS if isinstance(message.get(each), Mapping)), None):
        edited = edited or wrapper == "editedMessage"
        message = mapping_of(message[wrapper].get("message"))
    protocol = mapping_of(message.get("protocolMessage"))
    if isinstance(protocol.get("editedMessage"), Mapping):
        edited, message = True, protocol["editedMessage"]
        protocol = {}
    stub = data.get("messageStubType")
    browser = text_of(data.get("type"))
    # Protocol message type 0 (REVOKE) deletes the message that its key names.
    revokes = bool(protocol) and protocol.get("type") in (0, "0", "REVOKE", None)
    target = first_of(mapping_of(protocol.get("key")), "id", "ID")
    own_id = first_of(info, "ID") or mapping_of(data.get("key")).get("id")
    if stub in (1, "1", "REVOKE") or info.get("Edit") in ("7", "8") or browser == "revoked":
        return Content(None, {}, {}, deleted=True, note="deleted by its sender")
    if revokes and target is not None:
        if target == own_id:
            return Content(None, {}, {}, deleted=True, note="deleted by its sender")
        return Content("system", {}, {}, note="a message was deleted")
    if browser == "ciphertext":
        return Content("other", {}, {}, note=_STUBS["2"], view_once=view_once)
    kind, body = _kind_and_body(message, browser, data)
    if kind is None and stub is not None:
        note = _STUBS.get(str(stub), "a system message of WhatsApp")
        return Content("system", {}, {}, note=note, view_once=view_once)
    context = mapping_of(body.get("contextInfo")) or _browser_context(data, browser)
    return Content(kind, body, context, _text(kind, body), _note(kind, body), False, edited, view_once)


#: Parts of a message that are about another one.
_OTHERS = frozenset({"contextInfo", "ContextInfo", "quotedMessage", "quotedMsg", "replyTo", "reactions", "pollUpdates"})


def is_view_once(raw: Mapping[str, Any], depth: int = 10) -> bool:
    """Whether a WAMessage is to be seen once: a wrapper, flag or type anywhere in it that says so.

    Engines and their versions differ in the name (`viewOnceMessageV2Extension`, `viewOnce`, `IsViewOnceV2`,
    `key.isViewOnce`) and the place, so that names are compared loosely. Quoted messages are left out.
    """
    for name, value in raw.items():
        if _says_view_once(name):
            if value not in (None, False, "", "false"):
                return True
        elif isinstance(value, str):
            if "view_once" in value and name.lower().endswith("type"):
                return True
        # Bytes may be an object with an entry per byte.
        elif (
            isinstance(value, dict)
            and depth
            and name not in _OTHERS
            and "0" not in value
            and is_view_once(value, depth - 1)
        ):
            return True
    return False


@lru_cache(maxsize=4096)
def _says_view_once(name: str) -> bool:
    return "viewonce" in name.lower().replace("_", "")


def _kind_and_body(
    message: Mapping[str, Any], browser: str | None, data: Mapping[str, Any]
) -> tuple[MessageKind | None, Mapping[str, Any]]:
    for name, kind in _KINDS.items():
        found = message.get(name)
        if isinstance(found, str):
            return kind, {"text": found}
        if isinstance(found, Mapping):
            voice = kind == "audio" and bool(found.get("ptt") or found.get("PTT"))
            return "voice" if voice else kind, found
    if message:
        return "other", {}
    if browser is not None:
        return _BROWSER_KINDS.get(browser, "other"), data
    return None, {}


def _browser_context(data: Mapping[str, Any], browser: str | None) -> Mapping[str, Any]:
    if browser is None:
        return {}
    return {
        "mentionedJid": data.get("mentionedJidList"),
        "isForwarded": data.get("isForwarded"),
        "participant": data.get("quotedParticipant"),
        "quotedMessage": data.get("quotedMsg"),
    }


def _text(kind: MessageKind | None, body: Mapping[str, Any]) -> str | None:
    """The text of a message from its raw content, for when `WAMessage.body` lacks it."""
    found = first_of(body, "text", "caption", "selectedDisplayText", "contentText", "title", "description")
    for nested in ("body", "hydratedTemplate", "hydratedFourRowTemplate"):
        found = found or first_of(mapping_of(body.get(nested)), "text", "hydratedContentText")
    if kind == "invite":
        found = first_of(body, "groupName", "caption")
    if kind in ("poll", "event"):
        found = first_of(body, "name", "pollName", "eventName")
    return None if kind in MEDIA_KINDS and "caption" not in body else text_of(found)


def _note(kind: MessageKind | None, body: Mapping[str, Any]) -> str | None:
    match kind:
        case "system":
            return "a system message of WhatsApp"
        case "invite":
            return "an invitation to a group"
        case "call":
            return "a call"
        case "other":
            return "of a kind that is not read here"
    return None


# Parts


def mentioned(content: Content) -> Iterator[tuple[str, str]]:
    """The mentions in the text, as (digits after the @, chat id)."""
    found = first_of(content.context, "mentionedJid", "mentionedJID")
    for each in found if isinstance(found, list) else ():
        chat_id = chat_id_of(each)
        if chat_id:
            yield chat_id.partition("@")[0], chat_id


def forwarded(content: Content) -> bool:
    return content.context.get("isForwarded") is True


def quoted_of(raw: Mapping[str, Any], content: Content) -> tuple[str | None, str | None, str | None] | None:
    """The message that this one replies to, as (bare id, author's chat id, text); None if it is no reply."""
    reply = mapping_of(raw.get("replyTo"))
    inner = mapping_of(content.context.get("quotedMessage"))
    bare = text_of(reply.get("id")) or text_of(first_of(content.context, "stanzaId", "stanzaID"))
    if not reply and not inner and bare is None:
        return None
    author = chat_id_of(reply.get("participant")) or chat_id_of(content.context.get("participant"))
    text = text_of(reply.get("body"))
    if text is None:
        kind, body = _kind_and_body(inner, text_of(inner.get("type")), inner)
        text = _text(kind, body) or text_of(inner.get("body")) or (f"[{kind}]" if kind not in (None, "text") else None)
    return bare, author, text


def reactions_of(raw: Mapping[str, Any]) -> dict[str, list[str]]:
    """Chat ids of those who reacted, by emoji; "me" is the session's owner, "unknown" is somebody without an id."""
    found: dict[str, list[str]] = {}
    for each in _objects(mapping_of(raw.get("_data")).get("reactions")):
        emoji = text_of(each.get("text"))
        if emoji:
            found.setdefault(emoji, []).append(_actor(mapping_of(each.get("key"))))
    return found


def votes_of(raw: Mapping[str, Any], options: list[str]) -> dict[str, list[str]]:
    """Voters by poll option, named as in `reactions_of`. Each voter's latest vote counts."""
    last: dict[str, tuple[float, list[str]]] = {}
    for each in _objects(mapping_of(raw.get("_data")).get("pollUpdates")):
        voter = _actor(mapping_of(first_of(each, "pollUpdateMessageKey", "key")))
        when = epoch(each.get("senderTimestampMs")) or 0.0
        chosen = mapping_of(each.get("vote")).get("selectedOptions")
        chosen = chosen if isinstance(chosen, list) else []
        names = [name for name in options if any(_is_option(one, name) for one in chosen)]
        if voter not in last or last[voter][0] <= when:
            last[voter] = (when, names)
    return {name: [voter for voter, (_, names) in last.items() if name in names] for name in options}


def options_of(body: Mapping[str, Any]) -> list[str]:
    """The options of a poll."""
    found = first_of(body, "options", "pollOptions")
    names = [first_of(each, "optionName", "name") for each in _objects(found)]
    return [name for name in names if isinstance(name, str)]


def _is_option(chosen: Any, name: str) -> bool:
    """Whether a vote is for this option: `chosen` is its text or its SHA-256 (list of bytes, hex or base64)."""
    digest = hashlib.sha256(name.encode("utf-8", "replace")).digest()
    if isinstance(chosen, Mapping):
        chosen = first_of(chosen, "data", "name")
    if isinstance(chosen, list):
        return chosen == list(digest)
    if not isinstance(chosen, str):
        return False
    if chosen == name or chosen.lower() == digest.hex():
        return True
    try:
        return base64.b64decode(chosen, validate=True) == digest
    except (binascii.Error, ValueError):
        return False


def _actor(key: Mapping[str, Any]) -> str:
    if first_of(key, "fromMe", "FromMe") is True:
        return "me"
    return chat_id_of(first_of(key, "participant", "remoteJid", "remoteJID")) or "unknown"


def sender_ids(raw: Mapping[str, Any]) -> list[str]:
    """The chat ids of a message's sender: both the phone number's and the hidden one where the message has both."""
    data = mapping_of(raw.get("_data"))
    key, info = mapping_of(data.get("key")), mapping_of(data.get("Info"))
    group = bool(raw.get("participant"))
    named = [raw.get("participant") or raw.get("author"), None if group else raw.get("from")]
    other = [info.get("SenderAlt"), *(key.get(name) for name in ("participantAlt", "participantPn", "senderPn"))]
    if not group:
        other.append(key.get("remoteJidAlt"))
    return [chat_id for value in [*named, *other] if (chat_id := chat_id_of(value))]


def push_name_of(raw: Mapping[str, Any]) -> str | None:
    """The sender's self-chosen name, from the message itself."""
    data = mapping_of(raw.get("_data"))
    info = mapping_of(data.get("Info"))
    return text_of(first_of(data, "pushName", "notifyName", "PushName") or info.get("PushName"))


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
