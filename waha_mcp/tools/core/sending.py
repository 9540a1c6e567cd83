"""Tools that send messages in the toolset `core`."""

from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from waha_mcp.app.actions import Action
from waha_mcp.tools.catalog import SENDS, SETS, ArgumentError, Context, tool
from waha_mcp.tools.core.hearing import replies_to
from waha_mcp.tools.local_files import SOURCES, FileData, FileName, MimeType, OutboxPath, outgoing_file, with_kind
from waha_mcp.tools.params import Chat, LinkPreview, MediaUrl, MessageId, Needs, People, ReplyTo
from waha_mcp.tools.results import confirmed
from waha_mcp.waha.chat_rows import OVERVIEW, unread_of
from waha_mcp.waha.errors import WahaError
from waha_mcp.waha.marks import BareChatId
from waha_mcp.waha.models import Result, Sent, sent_from
from waha_mcp.waha.parsing import chat_id_of, listing, texts_of
from waha_mcp.whatsapp.emoji import emoji_of

Text = Annotated[
    str,
    Field(min_length=1, max_length=65_536, description="WhatsApp's *bold* _italic_ ~strike~ work"),
]
Caption = Annotated[str, Field(max_length=4_096, description="Text below it")]


@tool(
    title="Send a text",
    action=Action.SEND,
    calls=["POST /api/sendText"],
    hints=SENDS,
    afterwards=replies_to,
)
async def send_text(
    chat: Chat,
    text: Text,
    reply_to: ReplyTo | None = None,
    mentions: People | None = None,
    link_preview: LinkPreview = False,
    wait_for_reply: Annotated[
        int,
        Needs(Action.READ, of="chat"),
        Field(ge=0, le=50, description="Seconds to wait for the answer"),
    ] = 0,
    *,
    ctx: Context,
) -> Sent:
    """Send a WhatsApp text to a person or group."""
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


@tool(
    title="Send media",
    action=Action.SEND,
    calls=[operation for operation, _ in _MEDIA.values()],
    hints=SENDS,
    one_of=SOURCES,
    complete=partial(with_kind, kinds=tuple(_MEDIA)),
)
async def send_media(
    chat: Chat,
    kind: Annotated[MediaKind, Field(description="voice: a voice note, file: a document; left out: by its type")]
    | None = None,
    url: MediaUrl | None = None,
    data: FileData | None = None,
    path: OutboxPath | None = None,
    caption: Caption | None = None,
    filename: FileName | None = None,
    mimetype: MimeType | None = None,
    reply_to: ReplyTo | None = None,
    *,
    ctx: Context,
) -> Sent:
    """Send an image, video, voice note or file: exactly one of url, data and path."""
    assert kind is not None
    if kind == "voice" and caption is not None:
        raise ArgumentError("caption: a voice note has none; send the text with send_text")
    operation, default_type = _MEDIA[kind]
    file = await outgoing_file(
        ctx,
        url=url,
        data=data,
        path=path,
        filename=filename,
        mimetype=mimetype,
        kind=kind,
        default_type=default_type,
    )
    answer = await ctx.waha.call(
        operation,
        body={
            "chatId": chat,
            "file": file,
            "caption": caption,
            "reply_to": reply_to,
            # WAHA converts the file to a format that WhatsApp plays.
            "convert": True if kind in ("voice", "video") else None,
        },
    )
    return sent_from(answer, chat)


class Reacted(Result):
    emoji: str = Field(description="Empty: the reaction was taken back")


@tool(title="React", action=Action.SEND, calls=["PUT /api/reaction"], hints=SETS)
async def react(
    message_id: MessageId,
    emoji: Annotated[str, AfterValidator(emoji_of), Field(description="One emoji, or its name; empty takes it back")],
    *,
    ctx: Context,
) -> Reacted:
    """React to a message, or no longer."""
    confirmed(await ctx.waha.call("PUT /api/reaction", body={"messageId": message_id, "reaction": emoji}))
    return Reacted(emoji=emoji)


READ = "POST /api/{session}/chats/{chatId}/messages/read"
#: Where nothing is asked for, WAHA marks 7 days and 30 messages. Some versions mark at most 100 at once all the same.
ALL = {"days": 3650, "messages": 1000}
#: An answer with fewer ids than this was not cut off by such a limit; most requests of one call.
CUT_OFF, MOST_TURNS = 30, 20


class MarkedRead(Result):
    chat: BareChatId
    messages: int | None = Field(None, description="How many were marked; left out where none were, or it is not told")
    left: int | None = Field(None, description="How many WAHA still counts as unread in it, where it does")
    note: str | None = None


@tool(title="Mark as read", action=Action.SEND, calls=[READ], hints=SETS)
async def mark_read(chat: Chat, *, ctx: Context) -> MarkedRead:
    """Mark a chat as read. The senders see the blue ticks."""
    readable = ctx.readable(chat)
    marked: set[str] | None = set()
    whole = False
    # Of a chat that may not be read, not even the number of requests may depend on how many there are.
    for _ in range(MOST_TURNS if readable else 1):
        answer = await ctx.waha.call(READ, path={"chatId": chat}, query=ALL)
        confirmed(answer)
        ids = answer.get("ids") if isinstance(answer, dict) else None
        if marked is None or not isinstance(ids, list):
            # The browser engines name none, and mark the whole chat.
            marked = None
            break
        new = set(texts_of(ids)) - marked
        marked |= new
        whole = len(new) < CUT_OFF
        if whole:
            break
    left = await _still_unread(ctx, chat)
    if not readable:
        # As a chat without messages answers, and with the same requests.
        return MarkedRead(chat=chat, messages=None, left=None)
    if whole and marked is not None and left is not None and len(marked) >= left:
        # Some engines count anew only when the phone says so.
        left = None
    cut_off = not whole and marked is not None and left is None
    return MarkedRead(
        chat=chat,
        messages=len(marked or ()) or None,
        left=left or None,
        note="Older ones may still be unread: call it again." if cut_off else None,
    )


async def _still_unread(ctx: Context, chat: str) -> int | None:
    """How many messages WAHA counts as unread in a chat; None where it does not say, or may not be asked."""
    if Action.READ not in ctx.grant.actions:
        return None
    try:
        rows = listing(await ctx.waha.call(OVERVIEW, query={"ids": [chat], "limit": 10}), "chats")
    except WahaError:
        return None
    same = [row for row in rows if ctx.directory.canonical(chat_id_of(row.get("id")) or "") == chat]
    counts = [count for row in same if (count := unread_of(row)[0]) is not None]
    return sum(counts) if counts else None
