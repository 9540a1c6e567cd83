"""The tool that converts media to formats that WhatsApp plays."""

import base64
from pathlib import Path
from typing import Annotated, Literal

import anyio
import anyio.to_thread
from pydantic import Field

from waha_mcp.app.actions import Action
from waha_mcp.files import create_atomically
from waha_mcp.tools.catalog import CONFIGURES, ArgumentError, Context, tool
from waha_mcp.tools.local_files import SOURCES, FileData, OutboxPath, outgoing_file
from waha_mcp.tools.params import MediaUrl
from waha_mcp.waha.errors import BadAnswer
from waha_mcp.waha.models import Result
from waha_mcp.waha.parsing import mapping_of, text_of

_KINDS = {
    "voice": ("POST /api/{session}/media/convert/voice", "audio/ogg; codecs=opus", ".ogg"),
    "video": ("POST /api/{session}/media/convert/video", "video/mp4", ".mp4"),
}
_TAKEN = "save_as: the outbox folder already has a {}; give another name"


class Converted(Result):
    path: str = Field(description="Its name in the outbox folder, for send_media")
    mimetype: str
    size: int = Field(description="Bytes")


@tool(
    title="Convert media",
    action=Action.READ,
    calls=[operation for operation, _, _ in _KINDS.values()],
    hints=CONFIGURES,
    toolset="messages",
    reaches="nobody",
    one_of=SOURCES,
)
async def convert_media(
    kind: Annotated[Literal["voice", "video"], Field(description="What it is to be sent as")],
    save_as: Annotated[str, Field(pattern=r"^[\w-]{1,80}$", description="Name of the new file, without its ending")],
    url: MediaUrl | None = None,
    data: FileData | None = None,
    path: OutboxPath | None = None,
    *,
    ctx: Context,
) -> Converted:
    """Convert audio or video once to what WhatsApp plays, into the outbox folder, to send it to many with send_media.

    Give exactly one of url, data and path. For a single send there is no need: send_media converts by itself.
    """
    if ctx.app.outbox is None:
        raise ArgumentError("This App has no outbox folder to save to; send_media converts what it sends by itself")
    operation, mimetype, ending = _KINDS[kind]
    target = anyio.Path(ctx.app.outbox) / f"{save_as}{ending}"
    if await target.exists():
        raise ArgumentError(_TAKEN.format(target.name))
    file = await outgoing_file(ctx, url=url, data=data, path=path, kind=kind, default_type=mimetype)
    answer = mapping_of(await ctx.waha.call(operation, body={k: file[k] for k in ("url", "data") if k in file}))
    try:
        content = base64.b64decode(text_of(answer.get("data")) or "", validate=True)
    except ValueError:
        content = b""
    if not content:
        raise BadAnswer("WAHA's answer holds no converted file: its version may be too new or too old for this tool.")
    try:
        await anyio.to_thread.run_sync(create_atomically, Path(target), content, 0o600)
    except FileExistsError:
        raise ArgumentError(_TAKEN.format(target.name)) from None
    except OSError as error:
        raise ArgumentError(f"The outbox folder cannot be written to ({error.strerror or 'unknown reason'})") from None
    return Converted(path=target.name, mimetype=mimetype, size=len(content))
