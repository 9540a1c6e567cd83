"""Sending text and files, with the acknowledgements and answers that follow."""

from __future__ import annotations

import base64
import binascii
from functools import partial
from typing import Any

from waha_mcp.sandbox.account import Account, Media, Message
from waha_mcp.sandbox.answers import Crash, undefined
from waha_mcp.sandbox.doings import acknowledge, arrive, show_presence
from waha_mcp.sandbox.handlers.lookups import as_chat_id, field, find_message, known_chat_id
from waha_mcp.sandbox.happenings import Written
from waha_mcp.sandbox.registry import Call, handles
from waha_mcp.sandbox.sample_files import sample

#: Seconds from a send until the server has it, the device has it, and the person who answers has read it.
ACK_TIMES = {1: 0.02, 2: 0.06, 3: 0.12}
#: The fraction of the time until the answer after which the answering person begins to type.
TYPING_FROM = 0.5


def send(
    call: Call,
    *,
    kind: str = "text",
    text: str | None = None,
    media: Media | None = None,
    extra: dict[str, Any] | None = None,
    chat: str | None = None,
    forwarded: bool = False,
) -> Message:
    """Store an own message, and schedule its acknowledgements and the answer, if any."""
    account, body = call.account, call.body
    chat_id = known_chat_id(account, chat or body["chatId"])
    group = account.groups.get(chat_id)
    if chat_id.endswith("@g.us") and (group is None or account.me.id not in group.members):
        raise Crash("you're not a participating member of that group")
    if group is not None and group.messages_admin_only and group.members[account.me.id] == "participant":
        raise Crash("only admins can send messages in this group")
    channel = account.channels.get(chat_id)
    if chat_id.endswith("@newsletter") and (channel is None or channel.role not in ("OWNER", "ADMIN")):
        raise Crash("forbidden")
    hidden = chat_id.endswith("@lid") or (group is not None and group.lids)
    quoted = find_message(account, body["reply_to"]) if body.get("reply_to") else None
    message = Message(
        id=_chosen_id(call),
        chat=chat_id,
        from_me=True,
        author=account.me.lid if hidden and account.me.lid else account.me.id,
        time=int(call.sandbox.now()),
        text=text,
        kind=kind,
        ack=0,
        media=media,
        quoted=quoted.id if quoted else None,
        mentions=_mentions(call, chat_id),
        extra=extra,
        forwarded=forwarded,
        source="api",
    )
    account.add(message)
    call.emit(Written(message))
    _follow(call, message)
    return message


def _chosen_id(call: Call) -> str:
    """The id generated in advance, unless a message already has it."""
    wanted = call.body.get("id")
    if isinstance(wanted, str) and wanted and wanted not in call.account.messages:
        return wanted
    return call.account.new_id()


def _mentions(call: Call, chat_id: str) -> tuple[str, ...]:
    mentioned = call.body.get("mentions") or []
    group = call.account.groups.get(chat_id)
    if "all" in mentioned and group is not None:
        return tuple(each for each in group.members if not call.account.is_me(each))
    return tuple(as_chat_id(each) for each in mentioned)


def _follow(call: Call, message: Message) -> None:
    sandbox, session, account, chat = call.sandbox, call.session, call.account, message.chat
    person, group = account.person(chat), account.groups.get(chat)
    reader = next((each for each in group.members if not account.is_me(each)), chat) if group else chat
    for ack, delay in ACK_TIMES.items():
        if ack == 1 or (ack == 2 and (person or group)) or (person and person.answers):
            sandbox.later(delay, lambda ack=ack: acknowledge(sandbox, session, message, ack, reader))  # type: ignore[misc]
    if person is not None and person.answers:
        typing = partial(show_presence, sandbox, session, account, chat, chat, "typing")
        sandbox.later(sandbox.reply_after * TYPING_FROM, typing)
        sandbox.later(sandbox.reply_after, lambda: arrive(sandbox, session, account, _answer(call, account, message)))


def _answer(call: Call, account: Account, message: Message) -> Message:
    """The text of an automatic answer."""
    if message.kind in ("text", "link") and message.text:
        said = f"Got it: “{message.text}” 👍"
    else:
        said = f"Thanks for the {message.kind}! 👍"
    return Message(
        id=account.new_id(from_me=False),
        chat=message.chat,
        from_me=False,
        author=message.chat,
        time=max(int(call.sandbox.now()), message.time),
        text=said,
        ack=2,
        quoted=message.id,
    )


@handles("ChattingController_sendText", "ChattingController_reply")
def text(call: Call) -> Any:
    body = call.body
    url = next((word for word in body["text"].split() if word.startswith(("http://", "https://"))), None)
    linked = url is not None and body.get("linkPreview") is not False
    message = send(
        call,
        kind="link" if linked else "text",
        text=body["text"],
        extra={"url": url, "title": url, "description": ""} if linked else None,
    )
    return call.engine.sent(call.account, message)


@handles("ChattingController_sendTextGet")
def text_by_get(call: Call) -> Any:
    call.body = {"chatId": call.query["phone"]}
    return call.engine.sent(call.account, send(call, text=call.query["text"]))


@handles("ChattingController_sendImage")
def image(call: Call) -> Any:
    return _send_file(call, "image", "image/jpeg")


@handles("ChattingController_sendFile")
def file(call: Call) -> Any:
    return _send_file(call, "document", "application/octet-stream")


@handles("ChattingController_sendVoice")
def voice(call: Call) -> Any:
    return _send_file(call, "voice", "audio/ogg; codecs=opus")


@handles("ChattingController_sendVideo")
def video(call: Call) -> Any:
    return _send_file(call, "video", "video/mp4")


@handles("ChattingController_sendSticker")
def sticker(call: Call) -> Any:
    return _send_file(call, "sticker", "image/webp")


def _send_file(call: Call, kind: str, usual: str) -> Any:
    media = media_from(field(call, "file"), usual, keep_name=kind == "document")
    if kind in ("voice", "video"):
        media.seconds = max(1, len(media.data) // 4000)
        if call.body.get("convert"):
            media.mimetype = usual
    message = send(call, kind=kind, text=call.body.get("caption"), media=media)
    return call.engine.sent(call.account, message)


def media_from(file: Any, usual: str, *, keep_name: bool = False) -> Media:
    """A file of a request. One given by URL is not fetched: a sample of its type stands in for it.

    Raises:
        Crash: neither `url` nor `data`, or data that is not base64.
    """
    if not isinstance(file, dict):
        raise undefined("file", "url")
    mimetype = str(file.get("mimetype") or usual)
    name = file.get("filename") if keep_name else None
    if file.get("data"):
        try:
            return Media(mimetype, base64.b64decode(file["data"], validate=True), name)
        except (binascii.Error, ValueError, TypeError):
            raise Crash("Invalid base64 string") from None
    if not file.get("url"):
        raise undefined("file.url", "startsWith")
    return Media(mimetype, sample(mimetype), name)


@handles("ChattingController_startTyping", "ChattingController_stopTyping")
def typing(call: Call) -> Any:
    """Shown only to the other side: no data that is read here changes."""
    as_chat_id(call.body["chatId"])
