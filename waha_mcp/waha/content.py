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
from typing import Any, NamedTuple

from waha_mcp.waha.message_kinds import BROWSER_KINDS, KINDS, MEDIA_KINDS, MessageKind
from waha_mcp.waha.message_notes import UNKNOWN, Note, note_of, system_note
from waha_mcp.waha.message_text import is_picture, words_in
from waha_mcp.waha.parsing import (
    chat_id_of,
    epoch,
    first_of,
    listing_or_empty,
    mapping_of,
    number_of,
    text_of,
    texts_of,
)
from waha_mcp.waha.vcards import is_card

#: The order in which they decide.
_PLACES = {name: place for place, name in enumerate(KINDS)}
#: The maximum number of wrappers around one message.
_MOST_WRAPPERS = 12
#: Kinds made of several parts, whose words are collected from all fields.
_COMPOSED = frozenset({"list", "buttons", "invite", "order", "product", "payment", "call", "album", "sticker", "other"})
#: Kinds that can be view-once.
_SEEN_ONCE = frozenset({*MEDIA_KINDS, "other", None})
#: WhatsApp Web's types for notices about a chat.
_NOTICES = frozenset({"gp2", "notification", "notification_template", "e2e_notification", "protocol"})
#: Notices that contain a new value: a subject, a description, an event's name.
_WITH_VALUE = frozenset(
    {"create", "community_create", "subject", "description", "event_edit_decrypted", "20", "21", "24"}
)
#: WhatsApp Web's fields that hold words of a message besides its text.
_BROWSER_WORDS = (
    "title",
    "interactiveHeader",
    "orderTitle",
    "inviteGrpName",
    "caption",
    "comment",
    "message",
    "list",
    "listResponse",
    "newsletterAdminInviteInfo",
    "newsletterFollowerInviteInfo",
    "paymentNoteMsg",
    "richResponse",
    "quarantineExtractedText",
    "carouselCardsParsed",
    "interactivePayload",
    "footer",
)


class Content(NamedTuple):
    """The parsed content of one message.

    `kind` is None if deleted or without content; `body` is the raw object of that kind, `context` its context info
    (quote, mentions, forwarding); `words` are its texts besides `text`, in display order; `note` says what the message
    is where its text does not.
    """

    kind: MessageKind | None
    body: Mapping[str, Any]
    context: Mapping[str, Any]
    text: str | None = None
    note: Note | None = None
    deleted: bool = False
    edited: bool = False
    view_once: bool = False
    words: tuple[str, ...] = ()


def _deleted(by_admin: bool, admin: Any = None) -> Content:
    """A message that was deleted for everyone. `admin`: the chat id of the admin who deleted it, if known."""
    people = (each,) if by_admin and (each := chat_id_of(admin)) else ()
    note = Note("deleted by an admin" if by_admin else "deleted by its sender", people)
    return Content(None, {}, {}, deleted=True, note=note)


#: whatsmeow's marks of a changed message: edited, edited in a channel; deleted, and deleted by an admin.
_EDITS, _SENDER_REVOKE, _ADMIN_REVOKE = ("1", "3"), "7", "8"


def content_of(raw: Mapping[str, Any]) -> Content:
    """Parse the content of one WAMessage."""
    data = mapping_of(raw.get("_data"))
    info = mapping_of(data.get("Info"))
    message = mapping_of(data.get("message") or data.get("Message"))
    mark = info.get("Edit")
    edited = data.get("IsEdit") is True or mark in _EDITS or bool(data.get("latestEditMsgKey"))
    # Channel posts have Go's zero time there until they are edited.
    edited = edited or epoch(mapping_of(data.get("NewsletterMeta")).get("EditTS")) is not None
    message, wrappers = _unwrapped(message)
    edited = edited or "editedMessage" in wrappers
    protocol = mapping_of(message.get("protocolMessage"))
    if isinstance(protocol.get("editedMessage"), dict):
        edited, message = True, protocol["editedMessage"]
        protocol = {}
    stub = data.get("messageStubType")
    browser = text_of(data.get("type"))
    # Protocol message type 0 (REVOKE) deletes the message that its key names.
    revokes = bool(protocol) and protocol.get("type") in (0, "0", "REVOKE", None)
    target = first_of(mapping_of(protocol.get("key")), "id", "ID")
    own_id = first_of(info, "ID") or mapping_of(data.get("key")).get("id")
    if stub in (1, "1", "REVOKE") or mark in (_SENDER_REVOKE, _ADMIN_REVOKE) or browser == "revoked":
        by_admin = mark == _ADMIN_REVOKE or (browser == "revoked" and "admin" in str(data.get("subtype")))
        return _deleted(by_admin, data.get("revokeSender"))
    if revokes and target is not None:
        return _deleted(False) if target == own_id else Content("system", {}, {}, note=Note("a message was deleted"))
    name, kind, body = _kind_and_body(message, browser, data)
    if kind is None and stub is not None:
        value = next(iter(texts_of(data.get("messageStubParameters"))), None) if str(stub) in _WITH_VALUE else None
        return Content("system", {}, {}, value, system_note(stub, data), view_once=is_view_once(raw))
    if browser in _NOTICES and not message:
        subtype = text_of(data.get("subtype")) or browser
        value = text_of(data.get("body")) or text_of(data.get("eventName")) if subtype in _WITH_VALUE else None
        return Content("system", {}, {}, value, system_note(subtype, data))
    # Businesses wrap buttons and lists like view-once messages, and the phone shows them like any other.
    view_once = kind in _SEEN_ONCE and is_view_once(raw)
    context = mapping_of(first_of(body, "contextInfo", "ContextInfo")) or _browser_context(data, browser)
    note = note_of(name, body, wrappers)
    if note is None and kind == "other":
        note = UNKNOWN
    return Content(
        kind, body, context, _text(kind, body), note, False, edited, view_once, _words(kind, name, body, data)
    )


def _unwrapped(message: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The content inside a message's wrappers, and their names. A wrapper has the actual message in its field
    `message`.

    WhatsApp keeps adding wrappers, so each unknown field with such a message in it counts as one.
    """
    wrappers: list[str] = []
    while len(wrappers) < _MOST_WRAPPERS:
        inner = next(
            (
                (name, value["message"])
                for name, value in message.items()
                if name not in KINDS and isinstance(value, dict) and isinstance(value.get("message"), dict)
            ),
            None,
        )
        if inner is None:
            break
        wrappers.append(inner[0])
        message = inner[1]
    return message, tuple(wrappers)


#: Parts of a message that are about another message.
_OTHERS = frozenset({"contextInfo", "ContextInfo", "quotedMessage", "quotedMsg", "replyTo", "reactions", "pollUpdates"})


def is_view_once(raw: Mapping[str, Any], depth: int = 10) -> bool:
    """Whether a WAMessage is view-once, by any wrapper, flag or type in it.

    Engines and their versions differ in the name (`viewOnceMessageV2Extension`, `viewOnce`, `IsViewOnceV2`,
    `key.isViewOnce`) and the place, so names are compared loosely. Quoted messages are left out.
    """
    for name, value in raw.items():
        if _says_view_once(name):
            if value not in (None, False, "", "false"):
                return True
        elif isinstance(value, str):
            if "view_once" in value and name.lower().endswith("type"):
                return True
        # Bytes may come as an object with an entry per byte.
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


#: The shortest timer that a chat can have, in seconds.
_SHORTEST_TIMER = 24 * 60 * 60


def expires_of(raw: Mapping[str, Any], content: Content) -> int | None:
    """When a disappearing message expires (Unix seconds); None for one that stays, or if the engine does not say.

    The timer starts when the message was sent, as in WhatsApp Web, and not at `ephemeralStartTimestamp`. If the expiry
    is ambiguous, the earliest counts, so that nothing is kept longer than its sender meant: a timer that starts on
    reading counts as started at once, and an unknown timer as the shortest. A message that somebody keeps in the chat
    stays.
    """
    data = mapping_of(raw.get("_data"))
    # GOWS has values from the phone's history beside its own fields.
    history = mapping_of(data.get("SourceWebMsg"))
    sent = epoch(raw.get("timestamp"))
    # A notice that the timer was changed contains the new one.
    if sent is None or content.kind == "system" or _is_kept(data) or _is_kept(history):
        return None
    told = (
        content.context.get("expiration"),
        content.context.get("afterReadDuration"),
        *(each.get(name) for each in (data, history) for name in ("ephemeralDuration", "afterReadDuration")),
    )
    ends = [int(sent) + seconds for each in told if (seconds := number_of(each))]
    if (ended := epoch(data.get("expiredTimestamp"))) is not None:
        ends.append(int(ended))
    if not ends and _is_ephemeral(data):
        return int(sent) + _SHORTEST_TIMER
    return min(ends, default=None)


def _is_kept(data: Mapping[str, Any]) -> bool:
    """Whether somebody keeps a disappearing message in the chat. `data`: WhatsApp Web's or the protocol's."""
    return data.get("kicState") == "KEPT" or mapping_of(data.get("keepInChat")).get("keepType") in (1, "KEEP_FOR_ALL")


def _is_ephemeral(data: Mapping[str, Any]) -> bool:
    wrappers = _unwrapped(mapping_of(data.get("message") or data.get("Message")))[1]
    return "ephemeralMessage" in wrappers or True in (data.get("IsEphemeral"), data.get("isEphemeral"))


#: Fields of a message that are not content.
_ENVELOPE = frozenset({"messageContextInfo", "senderKeyDistributionMessage"})


def _kind_and_body(
    message: Mapping[str, Any], browser: str | None, data: Mapping[str, Any]
) -> tuple[str, MessageKind | None, Mapping[str, Any]]:
    """The name of a message's content (its field, or WhatsApp Web's type), its kind, and its raw object."""
    for name in sorted(message.keys() & KINDS.keys(), key=_PLACES.__getitem__):
        kind, found = KINDS[name], message[name]
        if isinstance(found, str):
            return name, kind, {"text": found}
        if isinstance(found, dict):
            voice = kind == "audio" and bool(found.get("ptt") or found.get("PTT"))
            return name, "voice" if voice else kind, found
    for name, found in message.items():
        if isinstance(found, dict) and name not in _ENVELOPE:
            return name, "other", found
    if message.keys() - _ENVELOPE:
        return "", "other", {}
    if browser is not None:
        return browser, BROWSER_KINDS.get(browser, "other"), data
    return "", None, {}


def _browser_context(data: Mapping[str, Any], browser: str | None) -> Mapping[str, Any]:
    if browser is None:
        return {}
    ad = mapping_of(data.get("ctwaContext"))
    return {
        "mentionedJid": data.get("mentionedJidList"),
        "groupMentions": data.get("groupMentions"),
        "isForwarded": data.get("isForwarded"),
        "participant": data.get("quotedParticipant"),
        "quotedMessage": data.get("quotedMsg"),
        "stanzaId": data.get("quotedStanzaID"),
        "remoteJid": data.get("quotedRemoteJid"),
        "forwardedNewsletterMessageInfo": data.get("forwardedNewsletterMessageInfo"),
        "questionReplyQuotedMessage": data.get("questionReplyQuotedMessage"),
        "externalAdReply": {"title": ad.get("title"), "body": ad.get("description")} if ad else None,
    }


def _text(kind: MessageKind | None, body: Mapping[str, Any]) -> str | None:
    """The text of a message from its raw content, for when `WAMessage.body` lacks it."""
    if kind in ("poll", "event"):
        return text_of(first_of(body, "name", "pollName", "eventName", "eventTitle"))
    if kind in MEDIA_KINDS:
        return text_of(body.get("caption"))
    if kind == "location":
        return text_of(first_of(body, "comment", "caption"))
    if kind == "reaction":
        return text_of(body.get("text"))
    if kind == "call" and (token := text_of(body.get("callLinkToken"))):
        return f"https://call.whatsapp.com/{'video' if body.get('isVideoCall') is True else 'voice'}/{token}"
    if kind == "text" and isinstance(body.get("type"), str):
        return text_of(body.get("body"))  # WhatsApp Web's
    if kind == "text":
        return text_of(first_of(body, "text", "selectedDisplayText")) or "\n".join(words_in(body)) or None
    return None


def _words(kind: MessageKind | None, name: str, body: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[str, ...]:
    """The words of a message made of several parts, or those that any message has besides its text."""
    if body is data and body:
        fields = {} if _is_preview(kind, body) else {each: body[each] for each in _BROWSER_WORDS if each in body}
        more = {"description": body.get("description")} if name in ("product", "sticker-pack") else {}
        if name == "product":
            more["url"] = body.get("url")
        named = {"title": body.get("filename")} if name == "sticker-pack" else {}
        return tuple(words_in(named | fields | more))
    if kind in _COMPOSED or name in ("richResponseMessage", "highlyStructuredMessage", "pollAddOptionMessage"):
        params = body.get("params")
        found = words_in(body)
        if name == "highlyStructuredMessage" and not found and isinstance(params, list):
            found = [each for each in params if isinstance(each, str)]
        return tuple(found)
    return ()


def _is_preview(kind: MessageKind | None, body: Mapping[str, Any]) -> bool:
    """Whether the title of WhatsApp Web's message belongs to its link."""
    return kind == "text" and bool(body.get("matchedText") or body.get("subtype") == "url")


# Parts


def mentioned(content: Content) -> Iterator[tuple[str, str]]:
    """The mentions in the text, as (digits after the @, chat id)."""
    found = first_of(content.context, "mentionedJid", "mentionedJID")
    for each in found if isinstance(found, list) else ():
        chat_id = chat_id_of(each)
        if chat_id:
            yield chat_id.partition("@")[0], chat_id


def group_mentions(content: Content) -> Iterator[tuple[str, str]]:
    """The mentions of groups in the text, as (the text after the @, the group's subject)."""
    for each in listing_or_empty(content.context.get("groupMentions")):
        group, subject = chat_id_of(first_of(each, "groupJid", "groupJID")), text_of(each.get("groupSubject"))
        if group and subject:
            yield group, subject


def preview_of(content: Content) -> str | None:
    """Title and description of a link's or advertisement's preview, as the sender's app made them; None without one."""
    body = content.body
    ad = mapping_of(content.context.get("externalAdReply"))
    if ad:
        return ": ".join(filter(None, (text_of(ad.get("title")), text_of(ad.get("body"))))) or None
    if content.kind != "text" or not first_of(body, "matchedText", "canonicalUrl", "matched_text"):
        return None
    return ": ".join(filter(None, (text_of(body.get("title")), text_of(body.get("description"))))) or None


def origin_of(content: Content) -> tuple[str | None, str | None]:
    """Where a forwarded message comes from: the name of the channel or bot, and the channel's chat id."""
    channel = mapping_of(content.context.get("forwardedNewsletterMessageInfo"))
    bot = mapping_of(content.context.get("forwardedAiBotMessageInfo"))
    name = text_of(channel.get("newsletterName")) or text_of(bot.get("botName"))
    return name, chat_id_of(first_of(channel, "newsletterJid", "newsletterJID", "newsletterId"))


def invite_code_of(content: Content) -> str | None:
    """The code of an invitation to a group."""
    return text_of(content.body.get("inviteCode")) if content.kind == "invite" else None


def invited_channel(content: Content) -> str | None:
    """The chat id of the channel that an invitation is for."""
    body = content.body
    info = mapping_of(first_of(body, "newsletterAdminInviteInfo", "newsletterFollowerInviteInfo")) or body
    channel = chat_id_of(first_of(info, "newsletterJid", "newsletterJID", "newsletterId"))
    return channel if content.kind == "invite" and channel and channel.endswith("@newsletter") else None


def forwarded(content: Content) -> bool:
    return content.context.get("isForwarded") is True


class Quote(NamedTuple):
    """A message that is replied to. `id`: bare; `author`: a chat id; `chat`: its chat, if the engine names it."""

    id: str | None
    author: str | None
    text: str | None
    chat: str | None


def quoted_of(raw: Mapping[str, Any], content: Content) -> Quote | None:
    """The message that this one replies to; None if it is not a reply."""
    reply = mapping_of(raw.get("replyTo"))
    inner = mapping_of(content.context.get("quotedMessage")) or mapping_of(reply.get("_data"))
    asked = mapping_of(content.context.get("questionReplyQuotedMessage"))
    if asked:
        inner = mapping_of(asked.get("quotedResponse")) or mapping_of(asked.get("quotedQuestion"))
    bare = text_of(reply.get("id")) or text_of(first_of(content.context, "stanzaId", "stanzaID"))
    if not reply and not inner and bare is None:
        return None
    author = chat_id_of(reply.get("participant")) or chat_id_of(content.context.get("participant"))
    chat = chat_id_of(first_of(content.context, "remoteJid", "remoteJID"))
    text = text_of(reply.get("body"))
    if text is None or is_picture(text) or is_card(text):
        text = _in_short(inner)
    return Quote(bare, author, text, chat)


def _in_short(message: Mapping[str, Any]) -> str | None:
    """A quoted message in one text: its words, else its file's name, else its kind in brackets."""
    message, _ = _unwrapped(message)
    browser = text_of(message.get("type"))
    name, kind, body = _kind_and_body({} if browser else message, browser, message)
    text = _text(kind, body) or "\n".join(_words(kind, name, body, message if browser else {})) or None
    if text is None and browser:
        own = text_of(message.get("body"))
        text = own if own is not None and not is_picture(own) and not is_card(own) else None
    label = text_of(first_of(body, "fileName", "filename", "displayName", "vcardFormattedName"))
    return text or label or (f"[{kind}]" if kind not in (None, "text", "other") else None)


def reactions_of(raw: Mapping[str, Any]) -> dict[str, list[str]]:
    """Chat ids of those who reacted, by emoji; "me" is the session's owner, "unknown" a person without an id."""
    found: dict[str, list[str]] = {}
    for each in listing_or_empty(mapping_of(raw.get("_data")).get("reactions")):
        emoji = text_of(each.get("text"))
        if emoji:
            found.setdefault(emoji, []).append(_actor(mapping_of(each.get("key"))))
    return found


def votes_of(raw: Mapping[str, Any], options: list[str]) -> dict[str, list[str]]:
    """Voters by poll option, named as in `reactions_of`; empty if the engine lists no votes with the poll.

    Each voter's latest vote counts.
    """
    last: dict[str, tuple[float, list[str]]] = {}
    updates = mapping_of(raw.get("_data")).get("pollUpdates")
    if not isinstance(updates, list):
        return {}
    for each in listing_or_empty(updates):
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
    if found is None:
        found = [_voted(each) for each in _results(body)]
    names = [first_of(each, "optionName", "name") for each in listing_or_empty(found)]
    return [name for name in names if isinstance(name, str)]


def counts_of(body: Mapping[str, Any]) -> dict[str, int]:
    """The votes for each option if a message is the result of a poll; empty for a poll."""
    counts = (
        (first_of(_voted(each), "optionName", "name"), number_of(each.get("optionVoteCount")))
        for each in _results(body)
    )
    return {name: count for name, count in counts if isinstance(name, str) and count is not None}


def _results(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return listing_or_empty(body.get("pollVotes") or mapping_of(body.get("pollVotesSnapshot")).get("pollVotes"))


def _voted(result: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping_of(result.get("option")) or result


def _is_option(chosen: Any, name: str) -> bool:
    """Whether a vote is for this option: `chosen` is its text or its SHA-256 (list of bytes, hex or base64)."""
    digest = hashlib.sha256(name.encode("utf-8", "replace")).digest()
    if isinstance(chosen, dict):
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
