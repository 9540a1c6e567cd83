"""Files to send: from a URL, from base64, or from the outbox folder."""

from __future__ import annotations

import base64
import mimetypes
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import unquote

import anyio
from pydantic import Field

from waha_mcp.app.urls import parse
from waha_mcp.tools.catalog import ArgumentError, Context
from waha_mcp.tools.params import ContentType, Encoded, LocalFile, Unseen
from waha_mcp.tools.sniff import PROGRAM_NAMES, PROGRAMS, is_text, is_web_page, sniff
from waha_mcp.waha.web_fetch import WebFile

#: Most bytes of a file that is sent; in base64 it stays below WAHA's 50 MiB.
MAX_FILE = 32 * 2**20
#: How many bytes suffice to recognize text that does not begin like an unknown binary format.
_TELLING = 64
#: Most characters of a file name.
MAX_NAME = 200

#: The parameters for a file, of which one is given (`Tool.one_of`).
SOURCES = ("url", "data", "path")

_MIMETYPE = r"[\w.+-]+/[\w.+-]+"

FileData = Annotated[str, Encoded(), Field(description="Its bytes in base64")]
OutboxPath = Annotated[str, LocalFile(), Field(description="In the outbox folder")]
FileName = Annotated[str, Unseen(), Field(max_length=MAX_NAME, description="Name it shows with")]
MimeType = Annotated[
    str, Unseen(), ContentType(), Field(pattern=rf"^{_MIMETYPE}(; ?[\w.+=-]+)*$", description="Such as image/png")
]


async def outgoing_file(
    ctx: Context,
    *,
    url: str | None,
    data: str | None,
    path: str | None,
    kind: str,
    default_type: str,
    filename: str | None = None,
    mimetype: str | None = None,
) -> dict[str, Any]:
    """The field `file` of a WAHA request, from the one of `url`, `data` and `path` that is not None.

    The MIME type is the one given, else that of the content or name if it fits `kind`, else `default_type`: a message
    with the type of another kind would show as broken. The default name is derived from `kind`.

    Raises:
        ArgumentError: its content cannot be sent.
    """
    file: dict[str, Any] = {}
    if url is not None:
        filename = filename or name_in(url)
        if ctx.app.media_fetch == "waha":
            file["url"] = url
        else:
            fetched = ctx.fetched[url]
            file["data"] = base64.b64encode(_sendable(fetched.content, "url")).decode()
            mimetype = _type_of_fetched(fetched, kind, mimetype, filename)
    elif path is not None:
        # Not read again: the bytes sent are those that the policy has read and a person was shown.
        content = ctx.files[path]
        file["data"] = base64.b64encode(content).decode()
        filename = filename or Path(path).name
        mimetype = _real_type(content, kind, "path", mimetype, filename)
    else:
        content, stated = decoded(data or "")
        file["data"] = base64.b64encode(content).decode()
        mimetype = _real_type(content, kind, "data", mimetype or stated, filename)
    guessed = mimetypes.guess_type(filename or "")[0] or ""
    fits = kind == "file" or guessed.startswith(f"{kind}/")
    file["mimetype"] = mimetype or (guessed if guessed and fits else default_type)
    # WAHA's schemas for voice and video always require a name.
    file["filename"] = filename or f"{kind}{mimetypes.guess_extension(file['mimetype'].partition(';')[0]) or ''}"
    return file


def with_kind(values: dict[str, Any], *, kinds: tuple[str, ...]) -> dict[str, Any]:
    """For `Tool.complete`: `kind`, where it is left out, from the first bytes, the MIME type or the file's name.

    Raises:
        ArgumentError: it cannot be determined, it is none of `kinds`, or the bytes are of another kind.
    """
    head, stated = _head(values["data"] or "")
    name = values.get("filename") or values["path"] or name_in(values["url"] or "")
    mimetype = values["mimetype"] or stated
    kind: str | None = values["kind"]
    if kind is None:
        kind = _kind_of(sniff(head) or mimetype or mimetypes.guess_type(name or "")[0])
        if kind is None and values["url"] is None:
            kind = "file"
        if kind == "voice" and values["caption"] is not None:
            kind = "file"
        if kind not in kinds:
            why = "the URL does not say what it is" if kind is None else f"{kind} cannot be sent here"
            raise ArgumentError(f"kind: {why}; give one of {', '.join(kinds)}")
    elif head:
        _real_type(head, kind, "data", mimetype, name)
    return values | {"kind": kind}


def _kind_of(mimetype: str | None) -> str | None:
    """The kind of message for a MIME type. Of audio, only what WhatsApp itself records is a voice note."""
    main = (mimetype or "").lower().partition(";")[0]
    if main in _UNTOLD:
        return None
    if main == "audio/ogg":
        return "voice"
    family = main.partition("/")[0]
    return family if family in ("image", "video") and main != "image/svg+xml" else "file"


def _head(data: str) -> tuple[bytes, str | None]:
    """The first bytes of base64 data, and the MIME type of its `data:` URL; none if it is not valid."""
    start = data[:4_200].lstrip()
    stated = re.match(rf"data:({_MIMETYPE})?(;[^,]*)?,", start)
    text = re.sub(r"\s", "", start[stated.end() :] if stated else start)
    try:
        return base64.b64decode(text[: len(text) // 4 * 4], validate=True), stated[1] if stated else None
    except ValueError:
        return b"", None


def name_in(url: str) -> str | None:
    """The file name at the end of a URL's path, if there is one."""
    if not url:
        return None
    return PurePosixPath(unquote(parse(url).path)).name[-MAX_NAME:] or None


#: Kind of message to the main MIME types allowed for it; WAHA converts voice notes and videos.
_FAMILIES = {"image": ("image",), "video": ("video",), "voice": ("audio", "video"), "sticker": ("image", "video")}


#: MIME types of web pages, and those that tell nothing.
_PAGES = ("text/html", "application/xhtml+xml")
_UNTOLD = ("", "application/octet-stream", "binary/octet-stream")


def _real_type(content: bytes, kind: str, source: str, stated: str | None, filename: str | None) -> str | None:
    """The stated MIME type, else the one of the first bytes if it fits `kind`, else None.

    Raises:
        ArgumentError: a program, or content that contradicts the stated type or the kind of message.
    """
    found = sniff(content)
    if found in PROGRAMS or (filename or "").lower().endswith(PROGRAM_NAMES):
        raise ArgumentError(f"{source}: this is a program, and programs are not sent")
    wanted = _FAMILIES.get(kind)
    if found is None:
        if wanted is not None and source != "url" and len(content) >= _TELLING and is_text(content):
            raise ArgumentError(f"{source}: this is text, which cannot be sent as {kind}; send it as file")
        return stated
    family = found.partition("/")[0]
    if wanted is not None and family not in wanted:
        raise ArgumentError(f"{source}: this is {found}, which cannot be sent as {kind}; send it as file")
    said = (stated or "").partition("/")[0]
    if said in ("image", "audio", "video") and said != family:
        raise ArgumentError(f"mimetype: this is {found}, not {stated}; leave the mimetype out")
    # Content that WAHA converts gets the type of the result, which is the caller's default.
    return stated or (found if family == kind or (kind == "file" and not filename) else None)


def _type_of_fetched(fetched: WebFile, kind: str, stated: str | None, filename: str | None) -> str | None:
    """As `_real_type`, with the server's type if the bytes tell nothing.

    Raises:
        ArgumentError: as `_real_type`, or a web page or other text was received instead of a file of another kind.
    """
    content, said = fetched.content, fetched.mimetype or ""
    real = _real_type(content, kind, "url", stated, filename)
    if (found := sniff(content)) is None:
        page = said in _PAGES or is_web_page(content)
        wanted = kind if kind != "file" else stated or mimetypes.guess_type(filename or "")[0] or ""
        if page and wanted not in ("", "text/plain", *_PAGES):
            raise ArgumentError(f"url: it returned a web page, not {wanted}; give the URL of the file itself")
        if kind != "file" and (said.partition("/")[0] not in _FAMILIES[kind] or is_text(content)):
            what = "text" if is_text(content) else said or "data of unknown type"
            raise ArgumentError(f"url: it returned {what}, not {kind}; send it as file")
        fits = kind == "file" or said.startswith(f"{kind}/")
    else:
        # The bytes are right where the server is wrong about the family.
        fits = kind == "file" and found.partition("/")[0] == said.partition("/")[0]
    return real or (said if fits and said not in _UNTOLD else None)


def decoded(data: str) -> tuple[bytes, str | None]:
    """Decode base64 or a `data:` URL: the bytes and the URL's MIME type.

    Raises:
        ArgumentError: it is neither, empty or larger than `MAX_FILE`.
    """
    head, _, text = data.strip().rpartition(",")
    stated = re.fullmatch(rf"data:({_MIMETYPE})?(;[^,]*)?;base64", head)
    if head and stated is None:
        raise ArgumentError("data: not valid base64; give the bytes in base64, or a data: URL in base64")
    try:
        content = base64.b64decode(re.sub(r"\s", "", text), validate=True)
    except ValueError:
        raise ArgumentError("data: not valid base64; give the bytes in standard base64, with its padding") from None
    return _sendable(content, "data"), stated[1] if stated else None


async def from_outbox(name: str, outbox: Path | None) -> bytes:
    """Read a file inside the outbox folder; paths that lead outside and links are refused.

    Raises:
        ArgumentError: no such file, outside the folder, a link, empty or larger than `MAX_FILE`.
    """
    if outbox is None:
        raise ArgumentError("path: this App has no outbox folder, so no local file can be sent; use url or data")
    try:
        folder = await anyio.Path(outbox).resolve()
        target = await (folder / name).resolve()
        if ".." in PurePosixPath(name.replace("\\", "/")).parts or not target.is_relative_to(folder):
            raise ArgumentError("path: outside the outbox folder; name a file inside it")
        if target != folder / name:
            raise ArgumentError("path: leads through a link; name the file itself")
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
