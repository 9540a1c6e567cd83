"""The tool get_media: pictures, voice notes and documents of messages."""

import contextlib
import hashlib
import mimetypes
import os
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
import anyio.to_thread
from pydantic import Field

from waha_mcp.app.actions import Action
from waha_mcp.files import create_atomically
from waha_mcp.tools.catalog import ArgumentError, Context, Hints, tool
from waha_mcp.tools.core.chat_messages import MESSAGE, no_message
from waha_mcp.tools.params import SourceMessageId
from waha_mcp.tools.pictures import NotShown, shown
from waha_mcp.tools.sniff import is_text, sniff, text_of_file
from waha_mcp.waha.errors import NotFound, Refused
from waha_mcp.waha.marks import Author, LongId
from waha_mcp.waha.messages import Media, Message, message_from, refuse_view_once
from waha_mcp.waha.models import Attachment, Result
from waha_mcp.waha.parsing import epoch, mapping_of, one_of, text_of
from waha_mcp.waha.transcription import NotTranscribed, transcribe
from waha_mcp.whatsapp.ids import parse_message_id
from waha_mcp.whatsapp.untrusted import Name, Words

#: Most bytes of a file that is downloaded, and of audio that is sent to the agent.
MOST, MOST_AUDIO = 32 * 2**20, 4 * 2**20
#: Seconds after which a file that did not come is not asked for once more: hosts give a call about 60 s.
SECOND_LOOK = 20.0
_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+")
#: Most characters of a document's text per call.
TEXT_PAGE = 8_000
#: Reads messages of strangers, and may write a file.
FETCHES = Hints(read_only=False, destructive=False, idempotent=True, open_world=True)


class FetchedMedia(Result):
    message_id: LongId
    sender: Annotated[str, Author(message=None)]
    sender_name: Name | None = None
    kind: str
    mimetype: Name | None = None
    filename: Name | None = None
    size: int = Field(description="Bytes")
    seconds: int | None = None
    width: int | None = Field(default=None, description="Pixels of the original")
    height: int | None = None
    text: Words | None = Field(default=None, description="What a text document holds")
    text_left: int | None = Field(default=None, description="Characters that follow; text_from goes on")
    transcript: Words | None = Field(default=None, description="What is said in a voice note")
    saved: str | None = Field(default=None, description="Where it was saved")
    link: str | None = Field(default=None, description="For a person to open in a browser")
    note: str | None = None


@tool(
    title="Look at media",
    action=Action.READ,
    calls=[MESSAGE, "POST /api/keys/media"],
    hints=FETCHES,
    reaches="nobody",
)
async def get_media(
    message_id: SourceMessageId,
    save: Annotated[bool, Field(description="Also into the App's downloads folder")] = False,
    text_from: Annotated[int, Field(ge=0, description="Character to start a long text at")] = 0,
    *,
    ctx: Context,
) -> FetchedMedia:
    """See a message's picture, hear or read its voice note, read its text document."""
    if save and ctx.app.downloads is None:
        raise ArgumentError("save: this App has no downloads folder; ask the user to set downloads in it")
    whole = await ctx.directory.load_if_small()
    raw, unnamed, data, url = await _fetched(ctx, message_id)
    named, _ = await ctx.directory.named(partial(message_from, raw), whole=whole)
    message = named or unnamed
    media = message.media or Media()
    mimetype = sniff(data) or media.mimetype
    seen, attachment = await _look(ctx, raw, data, (mimetype or "").partition(";")[0], text_from)
    if save:
        name = _safe_name(message, mimetype, epoch(raw.get("timestamp")))
        seen["saved"] = await _save(ctx.app.downloads, name, data)
    if ctx.app.media_links:
        seen["link"] = await ctx.waha.media_link(url)
    result = FetchedMedia(
        message_id=message.id,
        sender=message.sender,
        sender_name=message.sender_name,
        kind=message.kind,
        mimetype=mimetype,
        filename=media.filename,
        size=len(data),
        seconds=media.seconds,
        **seen,
    )
    return result.attach(attachment) if attachment else result


async def _fetched(ctx: Context, message_id: str) -> tuple[Mapping[str, Any], Message, bytes, str]:
    """(WAHA's row of the message, the message, its file, the file's URL at WAHA).

    WAHA fetches the file from WhatsApp when it is asked for the message, and has the phone send it once more where
    WhatsApp's own link has expired. It keeps the file for a few minutes only, and leaves out types that its settings
    leave out. So where there is no file at first, the message is asked for once more, with the file's type.

    Raises:
        NotFound: there is no such message, or no file that WAHA can get; says which.
        Refused: see `_with_file`.
    """
    started = time.monotonic()
    wanted: str | None = None
    while True:
        raw = await _with_file(ctx, message_id, wanted)
        message = one_of(raw, "a message", partial(message_from, names=ctx.directory))
        if message is None:
            raise no_message()
        given = mapping_of(raw.get("media"))
        if (url := text_of(given.get("url"))) is not None:
            with contextlib.suppress(NotFound):
                return raw, message, await ctx.waha.download(url, cap=MOST), url
            why = "WAHA no longer keeps the file of this message. Make the call again."
        elif given.get("error"):
            why = (
                "WAHA could not get the file of this message from WhatsApp, which may no longer have it: "
                "try later, when the phone is online, or ask for it to be sent again."
            )
        elif given or message.media is not None or raw.get("hasMedia") is True:
            why = (
                "WAHA has not downloaded the file of this message: it may be set not to, or not for its type. "
                "Ask the user to look at WAHA's settings for media."
            )
        else:
            raise NotFound("This message has no file.")
        if wanted is not None or time.monotonic() - started > SECOND_LOOK:
            raise NotFound(why)
        named = _TYPE.match((message.media and message.media.mimetype) or "")
        wanted = named[0] if named else ""


async def _with_file(ctx: Context, message_id: str, mimetype: str | None) -> Any:
    """WAHA's row of the message, for which WAHA downloads its file; None if the chat may not be read.

    `mimetype`: a type to download although WAHA's settings may leave it out; None and "": as they are.

    Raises:
        Refused: it is view-once media, of which no copy is made: not by WAHA either.
    """
    chat = parse_message_id(message_id).chat
    if not ctx.readable(ctx.directory.canonical(chat)):
        return None
    # The gate has looked it up without its file.
    refuse_view_once(ctx.messages.get(message_id))
    query = {"downloadMedia": True, "downloadMediaMimetypes": [mimetype] if mimetype else None}
    raw = await ctx.waha.call(MESSAGE, path={"chatId": chat, "messageId": message_id}, query=query)
    refuse_view_once(raw)
    return raw


async def _look(
    ctx: Context, raw: Mapping[str, Any], data: bytes, mimetype: str, text_from: int
) -> tuple[dict[str, Any], Attachment | None]:
    """Fields of the result for a file, and its attachment (picture or audio) if it has one."""
    if mimetype.startswith("image/"):
        try:
            picture = await anyio.to_thread.run_sync(shown, data, mimetype)
        except NotShown as why:
            return {"note": f"Not shown: {why}."}, None
        width, height = picture.size or (None, None)
        return {"width": width, "height": height}, Attachment("image", picture.mimetype, picture.data)
    if mimetype.startswith("audio/"):
        heard = await _heard(ctx, raw, data, mimetype)
        # Many clients cannot play sound to a model: they write half a minute out as 55,000 tokens of base64, or fail.
        unheard = "transcript" not in heard and len(data) <= MOST_AUDIO
        return heard, Attachment("audio", mimetype, data) if unheard else None
    if sniff(data) is None and is_text(data):
        text = text_of_file(data)
        left = len(text) - text_from - TEXT_PAGE
        return {"text": text[text_from : text_from + TEXT_PAGE], "text_left": left if left > 0 else None}, None
    return {"note": "Not shown: only pictures, audio and text are. save=true puts it where the user can open it."}, None


async def _heard(ctx: Context, raw: Mapping[str, Any], data: bytes, mimetype: str) -> dict[str, Any]:
    digest = hashlib.sha256(data).digest()
    if ctx.indexing is not None:
        known = await ctx.indexing.transcript(digest, lambda chat: ctx.readable(ctx.directory.canonical(chat)))
        if known is not None:
            # It may have been made of the same sound in another message.
            await ctx.indexing.transcribed(raw, digest, known)
            return {"transcript": known}
    if ctx.app.transcriber is None:
        return {
            "note": "No transcript: the user can set a `transcriber` in the App, which turns voice notes into text."
        }
    ending = mimetypes.guess_extension(mimetype) or ".oga"
    try:
        transcript = await transcribe(ctx.app.transcriber, data, ending)
    except NotTranscribed as why:
        return {"note": f"No transcript: {why}."}
    if ctx.indexing is not None:
        await ctx.indexing.transcribed(raw, digest, transcript)
    return {"transcript": transcript}


def _safe_name(message: Message, mimetype: str | None, when: float | None) -> str:
    """A file name without characters that are special to file systems or shells."""
    stem, ending = os.path.splitext((message.media.filename if message.media else None) or "")
    stem = re.sub(r"[^\w.-]+", "_", stem).strip("._-")[:60] or message.kind
    ending = re.sub(r"[^\w.]", "", ending)[:10] or mimetypes.guess_extension(mimetype or "") or ".bin"
    day = datetime.fromtimestamp(when or 0, UTC).astimezone().strftime("%Y-%m-%d")
    return f"{day}_{parse_message_id(message.id).id[-8:]}_{stem}{ending}"


async def _save(folder: Path | None, name: str, data: bytes) -> str:
    """Write a new file, readable only by the user; its path. An identical existing file is kept.

    Raises:
        Refused: another file has this name, or the folder cannot be written.
    """
    assert folder is not None
    target = folder / name

    def write() -> None:
        try:
            create_atomically(target, data, 0o600)
        except FileExistsError:
            if target.is_symlink() or target.read_bytes() != data:
                raise Refused(
                    f"The downloads folder already has another file {name}: this one was not saved."
                ) from None

    try:
        await anyio.to_thread.run_sync(write)
    except OSError as error:
        raise Refused(f"The downloads folder cannot be written to ({error.strerror or 'unknown reason'}).") from None
    return str(target)
