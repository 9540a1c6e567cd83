"""Tools that write to chats."""

import base64
import mimetypes
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

import anyio
from pydantic import Field

from waha_mcp.actions import Action
from waha_mcp.tools.catalog import SENDS, SETS, ArgumentError, Context, tool
from waha_mcp.tools.params import Chat, MediaUrl, MessageId, People, ReplyTo
from waha_mcp.waha.models import Result, Sent, sent_from

Text = Annotated[
    str,
    Field(min_length=1, max_length=65_536, description="The text; WhatsApp's *bold* _italic_ ~strike~ work"),
]
Caption = Annotated[str, Field(max_length=4_096, description="Text below it")]

#: Bytes of a file that is sent; as base64 it stays under the 50 MiB that WAHA takes.
MAX_FILE = 32 * 2**20
#: Characters of a file name.
MAX_NAME = 200


@tool(title="Send a text", action=Action.SEND, calls=["POST /api/sendText"], hints=SENDS)
async def send_text(
    chat: Chat,
    text: Text,
    reply_to: ReplyTo | None = None,
    mentions: People | None = None,
    link_preview: Annotated[bool, Field(description="Show a preview of the first link")] = False,
    *,
    ctx: Context,
) -> Sent:
    """Send a WhatsApp text message to one person or group."""
    answer = await ctx.waha.call(
        "POST /api/sendText",
        body={
            "chatId": chat,
            "text": text,
            "reply_to": reply_to,
            "mentions": mentions,
            "linkPreview": link_preview,
        },
    )
    return sent_from(answer, chat)


MediaKind = Literal["image", "video", "voice", "file"]

_MEDIA: dict[str, tuple[str, str]] = {
    "image": ("POST /api/sendImage", "image/jpeg"),
    "video": ("POST /api/sendVideo", "video/mp4"),
    "voice": ("POST /api/sendVoice", "audio/ogg; codecs=opus"),
    "file": ("POST /api/sendFile", "application/octet-stream"),
}


_MIMETYPE = r"[\w.+-]+/[\w.+-]+"


@tool(
    title="Send media",
    action=Action.SEND,
    calls=[operation for operation, _ in _MEDIA.values()],
    hints=SENDS,
)
async def send_media(
    chat: Chat,
    kind: Annotated[MediaKind, Field(description="How it shows; voice is a voice note, file a document")],
    url: MediaUrl | None = None,
    data: Annotated[str, Field(description="Its bytes in base64")] | None = None,
    path: Annotated[str, Field(description="A file in the outbox folder")] | None = None,
    caption: Caption | None = None,
    filename: Annotated[str, Field(max_length=MAX_NAME, description="The name it shows with")] | None = None,
    mimetype: Annotated[str, Field(pattern=rf"^{_MIMETYPE}(; ?[\w.+=-]+)*$", description="Such as image/png")]
    | None = None,
    reply_to: ReplyTo | None = None,
    *,
    ctx: Context,
) -> Sent:
    """Send an image, video, voice note or file to one chat. Give exactly one of url, data and path."""
    if sum(source is not None for source in (url, data, path)) != 1:
        raise ArgumentError("Give exactly one of url, data and path")
    if kind == "voice" and caption is not None:
        raise ArgumentError("caption: a voice note has none; send the text with send_text")
    operation, default_type = _MEDIA[kind]
    file: dict[str, Any] = {}
    if url is not None:
        file["url"] = url
        filename = filename or PurePosixPath(unquote(urlsplit(url).path)).name[-MAX_NAME:] or None
    elif path is not None:
        file["data"] = base64.b64encode(await _from_outbox(path, ctx.app.outbox)).decode()
        filename = filename or Path(path).name
    else:
        content, stated = _decoded(data or "")
        file["data"] = base64.b64encode(content).decode()
        mimetype = mimetype or stated
    guessed = mimetypes.guess_type(filename or "")[0] or ""
    # A type that belongs to another kind of message would show as a broken one.
    fits = kind == "file" or guessed.startswith(f"{kind}/")
    file["mimetype"] = mimetype or (guessed if guessed and fits else default_type)
    # WAHA's schemas for voice and video want a name in every case.
    file["filename"] = filename or f"{kind}{mimetypes.guess_extension(file['mimetype'].partition(';')[0]) or ''}"
    answer = await ctx.waha.call(
        operation,
        body={
            "chatId": chat,
            "file": file,
            "caption": caption,
            "reply_to": reply_to,
            # WAHA turns what WhatsApp would not play into what it plays.
            "convert": True if kind in ("voice", "video") else None,
        },
    )
    return sent_from(answer, chat)


def _decoded(data: str) -> tuple[bytes, str | None]:
    """The bytes of base64 text and, where a `data:` URL is around it, the type that this states."""
    head, _, text = data.strip().rpartition(",")
    stated = re.fullmatch(rf"data:({_MIMETYPE})?(;[^,]*)?;base64", head)
    if head and stated is None:
        raise ArgumentError("data: not valid base64; give the bytes in base64, or a data: URL in base64")
    try:
        content = base64.b64decode(re.sub(r"\s", "", text), validate=True)
    except ValueError:
        raise ArgumentError("data: not valid base64; give the bytes in standard base64, with its padding") from None
    return _sendable(content, "data"), stated[1] if stated else None


async def _from_outbox(name: str, outbox: Path | None) -> bytes:
    """The bytes of a file inside the outbox folder; nothing outside it is ever opened."""
    if outbox is None:
        raise ArgumentError("path: this App has no outbox folder, so no local file can be sent; use url or data")
    try:
        folder = await anyio.Path(outbox).resolve()
        target = await (folder / name).resolve()
        if not target.is_relative_to(folder):
            raise ArgumentError("path: outside the outbox folder; name a file inside it")
        if not await target.is_file():
            raise ArgumentError("path: there is no such file in the outbox folder")
        async with await anyio.open_file(target, "rb") as file:
            return _sendable(await file.read(MAX_FILE + 1), "path")
    except OSError as error:
        raise ArgumentError(f"path: cannot be read ({error.strerror or 'unknown reason'})") from None
    except (ValueError, RuntimeError):  # a NUL in the name; links that go round in circles
        raise ArgumentError("path: there is no such file in the outbox folder") from None


def _sendable(content: bytes, source: str) -> bytes:
    if not content:
        raise ArgumentError(f"{source}: empty")
    if len(content) > MAX_FILE:
        raise ArgumentError(f"{source}: too large; at most {MAX_FILE // 2**20} MiB can be sent")
    return content


class Reacted(Result):
    message_id: str
    emoji: str = Field(description="Empty: the reaction was taken back")


@tool(title="React", action=Action.SEND, calls=["PUT /api/reaction"], hints=SETS)
async def react(
    message_id: MessageId,
    emoji: Annotated[str, Field(max_length=32, description="One emoji; empty takes the reaction back")],
    *,
    ctx: Context,
) -> Reacted:
    """React to a message with an emoji, or take the own reaction back."""
    await ctx.waha.call("PUT /api/reaction", body={"messageId": message_id, "reaction": emoji})
    return Reacted(message_id=message_id, emoji=emoji)


class MarkedRead(Result):
    chat: str
    messages: int | None = Field(None, description="How many were marked; left out where the engine does not say")


@tool(
    title="Mark as read",
    action=Action.SEND,
    calls=["POST /api/{session}/chats/{chatId}/messages/read"],
    hints=SETS,
)
async def mark_read(chat: Chat, *, ctx: Context) -> MarkedRead:
    """Mark a chat's unread messages as read. The senders see the blue ticks."""
    answer = await ctx.waha.call("POST /api/{session}/chats/{chatId}/messages/read", path={"chatId": chat})
    ids = answer.get("ids") if isinstance(answer, dict) else None
    return MarkedRead(chat=chat, messages=len(ids) if isinstance(ids, list) else None)
