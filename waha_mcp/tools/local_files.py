"""Files that go out: from a URL that WAHA fetches, from base64 text, or from the outbox folder."""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import unquote

import anyio
from pydantic import Field

from waha_mcp.app.urls import parse
from waha_mcp.tools.catalog import ArgumentError, Context
from waha_mcp.tools.params import LocalFile
from waha_mcp.tools.sniff import PROGRAM_NAMES, PROGRAMS, sniff

#: Bytes of a file that is sent; as base64 it stays under the 50 MiB that WAHA takes.
MAX_FILE = 32 * 2**20
#: Characters of a file name.
MAX_NAME = 200

_MIMETYPE = r"[\w.+-]+/[\w.+-]+"

FileData = Annotated[str, Field(description="Its bytes in base64")]
OutboxPath = Annotated[str, LocalFile(), Field(description="A file in the outbox folder")]
FileName = Annotated[str, Field(max_length=MAX_NAME, description="The name it shows with")]
MimeType = Annotated[str, Field(pattern=rf"^{_MIMETYPE}(; ?[\w.+=-]+)*$", description="Such as image/png")]


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
    """The `file` of a WAHA request, from exactly one of `url`, `data` and `path`.

    Without a type that is stated or that its name tells, it gets `default_type`; a type that belongs to another
    kind of message would show as a broken one. Without a name it is called after its `kind`.

    Raises:
        ArgumentError: not exactly one source, or one that holds nothing that can be sent.
    """
    if sum(source is not None for source in (url, data, path)) != 1:
        raise ArgumentError("Give exactly one of url, data and path")
    file: dict[str, Any] = {}
    if url is not None:
        file["url"] = url
        filename = filename or PurePosixPath(unquote(parse(url).path)).name[-MAX_NAME:] or None
    elif path is not None:
        content = await from_outbox(path, ctx.app.outbox)
        if ctx.files.get(path) not in (None, hashlib.sha256(content).hexdigest()):
            raise ArgumentError("path: the file was changed meanwhile, so it was not sent; make the call again")
        file["data"] = base64.b64encode(content).decode()
        filename = filename or Path(path).name
        mimetype = _real_type(content, kind, "path", mimetype, filename)
    else:
        content, stated = _decoded(data or "")
        file["data"] = base64.b64encode(content).decode()
        mimetype = _real_type(content, kind, "data", mimetype or stated, filename)
    guessed = mimetypes.guess_type(filename or "")[0] or ""
    fits = kind == "file" or guessed.startswith(f"{kind}/")
    file["mimetype"] = mimetype or (guessed if guessed and fits else default_type)
    # WAHA's schemas for voice and video want a name in every case.
    file["filename"] = filename or f"{kind}{mimetypes.guess_extension(file['mimetype'].partition(';')[0]) or ''}"
    return file


#: What each kind of message may be made of: WAHA converts voice notes and videos.
_FAMILIES = {"image": ("image",), "video": ("video",), "voice": ("audio", "video"), "sticker": ("image", "video")}


def _real_type(content: bytes, kind: str, source: str, stated: str | None, filename: str | None) -> str | None:
    """The type that was stated, else what the first bytes show.

    Raises:
        ArgumentError: a program, or bytes that are not what they are said to be or what the message is made of.
    """
    found = sniff(content)
    if found in PROGRAMS or (filename or "").lower().endswith(PROGRAM_NAMES):
        raise ArgumentError(f"{source}: this is a program, and programs are not sent")
    if found is None:
        return stated
    family = found.partition("/")[0]
    wanted = _FAMILIES.get(kind)
    if wanted is not None and family not in wanted:
        raise ArgumentError(f"{source}: this is {found}, which cannot be sent as {kind}; send it as file")
    said = (stated or "").partition("/")[0]
    if said in ("image", "audio", "video") and said != family:
        raise ArgumentError(f"mimetype: this is {found}, not {stated}; leave the mimetype out")
    # A voice note that is not one yet is stated as what WAHA is to make of it.
    return stated or (found if family == kind or (kind == "file" and not filename) else None)


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


async def from_outbox(name: str, outbox: Path | None) -> bytes:
    """The bytes of a file inside the outbox folder; nothing outside it is ever opened.

    Raises:
        ArgumentError: there is none of that name, or it cannot be sent.
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
