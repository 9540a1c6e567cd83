"""A message's content in the form of WhatsApp's protocol: one object, named after its kind."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from waha_mcp.sandbox.account import Account, Message


def jid(any_id: str) -> str:
    """An id as raw data has it: people end in `@s.whatsapp.net`."""
    return any_id.replace("@c.us", "@s.whatsapp.net")


def noise(*parts: str, size: int = 32) -> str:
    """Base64 of pseudorandom bytes, seeded by the parts: the keys, hashes and secrets of raw data."""
    digest = hashlib.sha512("/".join(parts).encode()).digest()
    return base64.b64encode((digest * (size // 64 + 1))[:size]).decode()


def derived_id(*parts: str) -> str:
    """The bare id of an object that belongs to a message, such as a reaction: the same for the same parts."""
    return hashlib.sha256("".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32].upper()


def option_hash(option: str) -> str:
    """How a poll vote names an option: the SHA-256 of its text."""
    return base64.b64encode(hashlib.sha256(option.encode()).digest()).decode()


def content(account: Account, message: Message) -> dict[str, Any] | None:
    """The protocol's `message` object; None for a deleted message without content."""
    if message.deleted:
        return None
    body = _by_kind(message)
    context = _context(account, message)
    if context:
        (kind,) = body
        if kind == "conversation":
            body = {"extendedTextMessage": {"text": message.text, "previewType": "NONE"}}
            kind = "extendedTextMessage"
        body[kind]["contextInfo"] = context
    body["messageContextInfo"] = {
        "deviceListMetadata": {
            "senderKeyHash": noise("sender", message.author, size=10),
            "senderTimestamp": str(message.time - 86_400),
            "recipientKeyHash": noise("recipient", message.chat, size=10),
            "recipientTimestamp": str(message.time - 43_200),
        },
        "deviceListMetadataVersion": 2,
        "messageSecret": noise("secret", message.id),
    }
    return body


def quoted_content(account: Account, message: Message) -> dict[str, Any]:
    body = _by_kind(message)
    return {"conversation": ""} if message.deleted else body


def _context(account: Account, message: Message) -> dict[str, Any]:
    context: dict[str, Any] = {}
    original = account.messages.get(message.quoted) if message.quoted else None
    if message.quoted and original is not None:
        context |= {
            "stanzaId": original.id,
            "participant": jid(original.author),
            "quotedMessage": quoted_content(account, original),
        }
    if message.mentions:
        context["mentionedJid"] = [jid(each) for each in message.mentions]
    if message.timer:
        context["expiration"] = message.timer
    if message.forwarded:
        context |= {"forwardingScore": 1, "isForwarded": True}
    return context


def _by_kind(message: Message) -> dict[str, Any]:
    extra = message.extra or {}
    match message.kind:
        case "text":
            return {"conversation": message.text or ""}
        case "image" | "video" | "sticker" | "voice" | "audio" | "document":
            return _media(message)
        case "location":
            place = {"degreesLatitude": extra["latitude"], "degreesLongitude": extra["longitude"]}
            return {
                "locationMessage": place
                | {
                    "name": extra.get("name"),
                    "address": extra.get("address"),
                    "jpegThumbnail": noise(message.id, size=96),
                }
            }
        case "contacts":
            cards = [{"displayName": name, "vcard": card} for name, card in extra["cards"]]
            if len(cards) == 1:
                return {"contactMessage": cards[0]}
            return {"contactsArrayMessage": {"displayName": f"{len(cards)} contacts", "contacts": cards}}
        case "poll":
            options = [{"optionName": option, "optionHash": option_hash(option)} for option in extra["options"]]
            count = len(options) if extra.get("multiple") else 1
            return {
                "pollCreationMessageV3": {
                    "encKey": noise("poll", message.id),
                    "name": extra["name"],
                    "options": options,
                    "selectableOptionsCount": count,
                }
            }
        case "reaction":
            return {"reactionMessage": dict(extra)}
        case "event":
            return {"eventMessage": dict(extra)}
        case "list":
            return {"listMessage": dict(extra)}
        case "buttons":
            return {"interactiveMessage": dict(extra)}
        case "button_reply":
            return {"templateButtonReplyMessage": dict(extra) | {"selectedDisplayText": message.text}}
        case "link":
            return {
                "extendedTextMessage": {
                    "text": message.text,
                    "matchedText": extra.get("url"),
                    "title": extra.get("title"),
                    "description": extra.get("description"),
                    "jpegThumbnail": noise(message.id, size=192),
                }
            }
        case _:
            return {"protocolMessage": {"type": "EPHEMERAL_SETTING", "ephemeralExpiration": 0}}


_MEDIA_KINDS = {
    "image": "imageMessage",
    "video": "videoMessage",
    "sticker": "stickerMessage",
    "voice": "audioMessage",
    "audio": "audioMessage",
    "document": "documentMessage",
}


def _media(message: Message) -> dict[str, Any]:
    media = message.media
    assert media is not None, f"{message.kind} message {message.id} has no file"
    path = f"/v/t62.7118-24/{message.time}_{message.id}_n.enc?ccb=11-4&oh=01_Q5Aa&oe=6A0F&_nc_sid=5e03e0"
    body: dict[str, Any] = {
        "url": f"https://mmg.whatsapp.net{path}&mms3=true",
        "mimetype": media.mimetype,
        "fileSha256": noise("sha", message.id),
        "fileLength": str(len(media.data)),
        "mediaKey": noise("key", message.id),
        "fileEncSha256": noise("enc", message.id),
        "directPath": path,
        "mediaKeyTimestamp": str(message.time),
    }
    if message.text:
        body["caption"] = message.text
    if media.seconds is not None:
        body["seconds"] = media.seconds
    if message.kind in ("image", "video", "document"):
        body["jpegThumbnail"] = noise("thumb", message.id, size=420)
    if message.kind in ("image", "video"):
        body |= {"height": 1280, "width": 960}
    if message.kind in ("voice", "audio"):
        body |= {"ptt": message.kind == "voice", "waveform": noise("wave", message.id, size=64)}
    if media.filename is not None:
        body |= {"fileName": media.filename, "title": media.filename}
    return {_MEDIA_KINDS[message.kind]: body}


def poll_updates(message: Message) -> list[dict[str, Any]]:
    """Votes as the engines store them: options by the hash of their text."""
    votes: dict[str, list[str]] = (message.extra or {}).get("votes", {})
    return [
        {
            "pollUpdateMessageKey": {
                "remoteJid": jid(message.chat),
                "fromMe": False,
                "id": derived_id(message.id, voter),
                "participant": jid(voter),
            },
            "vote": {"selectedOptions": [option_hash(option) for option in chosen]},
            "senderTimestampMs": (message.time + 600) * 1000,
        }
        for voter, chosen in votes.items()
    ]


def reactions(account: Account, message: Message) -> list[dict[str, Any]]:
    """Reactions in `_data`, one per person."""
    return [
        {
            "key": {
                "remoteJid": jid(message.chat),
                "fromMe": account.is_me(author),
                "id": derived_id(message.id, author, "r"),
                "participant": jid(author),
            },
            "text": emoji,
            "senderTimestampMs": time * 1000,
        }
        for author, (emoji, time) in (message.reactions or {}).items()
    ]


def pin(message: Message) -> dict[str, Any] | None:
    """Where a message was pinned, in `_data`."""
    if message.pinned is None:
        return None
    key = {"remoteJid": jid(message.chat), "fromMe": message.from_me, "id": message.id}
    return {"type": 1, "key": key, "messageAddOnContextInfo": {"messageAddOnExpiryTime": message.pinned}}


def vcards(message: Message) -> list[str] | None:
    return [card for _, card in message.extra["cards"]] if message.kind == "contacts" and message.extra else None


def raw_key(message: Message) -> dict[str, Any]:
    """The key of a message in raw data."""
    key: dict[str, Any] = {"remoteJid": jid(message.chat), "fromMe": message.from_me, "id": message.id}
    if message.chat.endswith(("@g.us", "@broadcast")):
        key["participant"] = jid(message.author)
    if message.server_id:
        key["server_id"] = str(message.server_id)
    return key
